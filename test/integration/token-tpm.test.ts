import { tokenContract } from '../contract/token.contract.ts';
import { tpm } from '../support/token-world.ts';

tokenContract(tpm);
