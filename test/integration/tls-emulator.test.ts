import { emulator } from '../support/token-world.ts';
import { tlsContract } from './tls.contract.ts';

tlsContract(emulator);
