import { tokenContract } from '../contract/token.contract.ts';
import { emulator } from '../support/token-world.ts';

tokenContract(emulator);
