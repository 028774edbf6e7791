import { tokenContract } from '../contract/token.contract.ts';
import { emulatorOnRpmb } from '../support/token-world.ts';

tokenContract(emulatorOnRpmb);
