import { tokenContract } from '../contract/token.contract.ts';
import { softHsm } from '../support/token-world.ts';

tokenContract(softHsm);
