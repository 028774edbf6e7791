import { emulator } from '../support/token-world.ts';
import { provisionCertificateContract } from './provision-certificates.contract.ts';
import { provisionContract } from './provision.contract.ts';

provisionContract(emulator);
provisionCertificateContract(emulator);
