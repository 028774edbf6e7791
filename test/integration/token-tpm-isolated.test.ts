import { tokenContract } from '../contract/token.contract.ts';
import { isolated, tpm } from '../support/token-world.ts';

tokenContract(isolated(tpm));
