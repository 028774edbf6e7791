import { tpm } from '../support/token-world.ts';
import { tlsContract } from './tls.contract.ts';

tlsContract(tpm);
