import { anchorContract } from '../contract/anchor.contract.ts';
import { emulator, emulatorOnRpmb, isolated, softHsm, tpm } from '../support/token-world.ts';

anchorContract(softHsm, { protection: 'on the disk', isSmall: false });
anchorContract(emulator, { protection: 'in the TEE', isSmall: false });
anchorContract(isolated(tpm), { protection: 'on the disk', isSmall: false });
anchorContract(emulatorOnRpmb, { protection: 'in the TEE', isSmall: true });
