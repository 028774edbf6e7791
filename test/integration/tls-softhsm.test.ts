import { softHsm } from '../support/token-world.ts';
import { tlsContract } from './tls.contract.ts';

tlsContract(softHsm);
