import { tokenContract } from '../contract/token.contract.ts';
import { isolated, softHsm } from '../support/token-world.ts';

tokenContract(isolated(softHsm));
