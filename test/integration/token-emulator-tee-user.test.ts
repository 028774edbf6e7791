import { tokenContract } from '../contract/token.contract.ts';
import { emulatorForUser } from '../support/token-world.ts';

tokenContract(emulatorForUser);
