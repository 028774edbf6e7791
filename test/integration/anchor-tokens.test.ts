import { anchorContract } from '../contract/anchor.contract.ts';
import { emulator, emulatorOnRpmb, softHsm } from '../support/token-world.ts';

anchorContract(softHsm, 'on the disk');
anchorContract(emulator, 'in the TEE');
anchorContract(emulatorOnRpmb, 'in the TEE');
