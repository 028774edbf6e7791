/** Every check, in the order of the report; what another stands on comes before it. */
import type { Check } from './check.ts';
import { CLOCK } from './clock.ts';
import { CONFIGURATION } from './configuration.ts';
import { GATEWAY_CHECKS } from './gateway.ts';
import { IDENTITY_CHECKS } from './identity.ts';
import { INSTALLER } from './installer.ts';
import { SEAL } from './seal.ts';
import { SERVICE } from './service.ts';
import { STORAGE_CHECKS } from './storage.ts';
import { TOKEN_CHECKS } from './token.ts';
import { TRUST_CHECKS } from './trust.ts';

export const CHECKS: readonly Check[] = [
  CONFIGURATION,
  ...STORAGE_CHECKS,
  CLOCK,
  ...TOKEN_CHECKS,
  ...IDENTITY_CHECKS,
  ...GATEWAY_CHECKS,
  ...TRUST_CHECKS,
  SEAL,
  INSTALLER,
  SERVICE,
];
