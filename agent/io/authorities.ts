/** CAs that may vouch for a server, from where the settings say: a file, or the token. */
import { PKCS11_PREFIX } from '../config-pkcs11-uri.ts';
import { readTextFile } from './text-file.ts';
import { readNamedCertificate } from './token/named-objects.ts';
import { openToken, type TokenSettings } from './token/token.ts';

/**
 * @param value - of the setting: an absolute path, or a PKCS#11 URI
 * @returns PEM; `undefined` if the setting is unset, and the system's CAs are meant
 * @throws OtaError FILE_UNREADABLE; TOKEN_OBJECT, CERTIFICATE_INVALID and what `openToken` throws
 */
export async function readAuthorities(
  setting: 'gateway.ca' | 'provisioning.est_ca',
  value: string | undefined,
  token: TokenSettings,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  if (value === undefined) return undefined;
  if (!value.startsWith(PKCS11_PREFIX)) {
    const remedy = `set ${setting} to the PEM file of the CA that signed the server`;
    return readTextFile(value, 'the CA of the server', remedy);
  }
  const opened = openToken(token, 'read-only', env);
  try {
    return readNamedCertificate(opened, setting, value);
  } finally {
    opened.close();
  }
}
