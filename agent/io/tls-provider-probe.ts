/**
 * The process that tries a provider's key: standard input has a `Probe`.
 *
 * It may crash or hang; `tls-provider.ts` only looks at how it ends.
 */
import { createPrivateKey, randomBytes, sign, verify, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

import type { Probe } from './tls-provider.ts';
import { openModule } from './token/module.ts';

try {
  const input = JSON.parse(readFileSync(0, 'utf8')) as Probe;
  openModule({ module: input.module, login: 'none' });
  const challenge = randomBytes(32);
  const signature = sign('sha256', challenge, createPrivateKey(input.key));
  const { publicKey } = new X509Certificate(input.certificate);
  if (!verify('sha256', challenge, publicKey, signature)) {
    throw new Error('the key is not that of the certificate');
  }
  createSecureContext({ key: input.key, cert: input.certificate });
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
