/** The way round a token's key generation: keys from files. */
import { execFileSync } from 'node:child_process';
import type { KeyObject } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { LABEL, USER_PIN, type TokenWorld } from './token-world.ts';

/** tpm2-pkcs11 takes private keys from its own tool only. */
export function importIntoTpm(world: TokenWorld, privateKey: KeyObject): void {
  const path = join(world.directory, 'import.pem');
  writeFileSync(path, privateKey.export({ type: 'sec1', format: 'pem' }));
  const store = ['--path', world.env['TPM2_PKCS11_STORE'] ?? ''];
  const key = ['--privkey', path, '--algorithm', 'ecc'];
  const name = ['--label', LABEL, '--key-label', 'ota-agent-uptane', '--id', '03'];
  const args = ['import', ...store, ...name, ...key, '--userpin', USER_PIN];
  execFileSync('tpm2_ptool', args, { stdio: 'pipe', env: { ...process.env, ...world.env } });
}
