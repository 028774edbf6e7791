import { softHsm } from '../support/token-world.ts';
import { provisionEnrolmentContract } from './provision-enrolment.contract.ts';

provisionEnrolmentContract(softHsm);
