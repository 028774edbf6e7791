import { softHsm } from '../support/token-world.ts';
import { provisionCertificateContract } from './provision-certificates.contract.ts';
import { provisionContract } from './provision.contract.ts';

provisionContract(softHsm);
provisionCertificateContract(softHsm);
