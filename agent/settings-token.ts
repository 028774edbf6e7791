/** The settings of the token, and of what is made in it. */
import * as z from 'zod';

import { age, path, pkcs11Uri, wholeNumber } from './settings-values.ts';

export const tokenSection = z
  .strictObject({
    module: path.default('/usr/lib/libckteec.so.0').describe('PKCS#11 shared library'),
    isolation: z
      .enum(['none', 'p11-kit'])
      .default('none')
      .describe('Where the library runs; `p11-kit`: in a process of its own, which may crash'),
    uri: pkcs11Uri('token').default('pkcs11:token=ota-agent').describe('Token to use'),
    login: z
      .enum(['pin', 'tee-user', 'tee-group', 'none'])
      .default('pin')
      .describe('How to log in; `tee-*`: OP-TEE knows the user or group of the process, no PIN'),
    tee_group: wholeNumber(0, 0xffff_fffe)
      .optional()
      .describe("Group number for login `tee-group`. Unset: the agent's own group"),
    pin_file: path
      .optional()
      .describe('File with the user PIN. Unset: the systemd credential `pin`'),
    so_pin_file: path
      .optional()
      .describe('File with the SO PIN. Unset: the systemd credential `so-pin`'),
    anchor: z
      .enum(['auto', 'off'])
      .default('auto')
      .describe('`auto`: what must not go back is also sealed in the token, where it can be'),
    tls_backend: z
      .enum(['auto', 'engine', 'provider', 'file'])
      .default('auto')
      .describe('How TLS reaches the key in the token; `file` for development only: it is none'),
  })
  .prefault({});

export const identitySection = z
  .strictObject({
    tls_key_type: z
      .enum(['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072'])
      .default('ec-p256')
      .describe('TLS key to generate in the token'),
    uptane_key_type: z
      .enum(['rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519', 'ec-p256'])
      .default('rsa-2048')
      .describe('Uptane key to generate in the token; the Director of OTA-CE refuses `ec-p256`'),
    allow_imported: z
      .boolean()
      .default(false)
      .describe('Accept keys that were made outside the token: there may be copies'),
    tls_key_file: path
      .optional()
      .describe('TLS key (PEM) of `token.tls_backend = "file"`, or one that is to be imported'),
    tls_certificate_file: path
      .optional()
      .describe('Its certificate (PEM), with the CAs between, if there are any'),
    renew_at: z
      .number()
      .min(0.1)
      .max(0.9)
      .default(0.67)
      .describe('Share of its life after which the certificate is renewed, before jitter')
      .meta({ title: 'number from 0.1 to 0.9' }),
    tls_key_max_age: age.optional().describe('Age at which the TLS key is rotated. Unset: never'),
    uptane_key_max_age: age
      .optional()
      .describe('Age at which the Uptane key is rotated. Unset: never'),
    tls_key: pkcs11Uri('private key')
      .optional()
      .describe('TLS key that is in the token already. Unset: one of ours, generated'),
    tls_certificate: pkcs11Uri('certificate')
      .optional()
      .describe('Certificate in the token. Unset: the one of the TLS key'),
    uptane_key: pkcs11Uri('private key')
      .optional()
      .describe('Uptane key that is in the token already. Unset: one of ours, generated'),
  })
  .prefault({});
