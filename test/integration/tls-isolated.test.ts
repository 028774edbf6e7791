import { isolated, softHsm } from '../support/token-world.ts';
import { tlsContract } from './tls.contract.ts';

tlsContract(isolated(softHsm));
