import { tokenContract } from '../contract/token.contract.ts';
import { emulatorForGroup } from '../support/token-world.ts';

tokenContract(emulatorForGroup);
