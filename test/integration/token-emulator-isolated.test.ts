import { tokenContract } from '../contract/token.contract.ts';
import { isolated, emulator } from '../support/token-world.ts';

tokenContract(isolated(emulator));
