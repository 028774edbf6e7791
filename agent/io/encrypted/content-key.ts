/** The key of an encrypted image: unwrapped by the token, and only for this device and this image. */
import type { Fields } from '../../decode.ts';
import { isOtaError, OtaError } from '../../errors.ts';
import type { Encrypted } from '../../uptane/encrypted.ts';
import type { Target } from '../../uptane/plan.ts';
import { JweRefused, openJwe } from '../secrets/jwe.ts';
import type { SecretsKey } from '../secrets/receive.ts';

const KEY_BYTES = 32;

export interface Recipient {
  readonly deviceId: string;
  /**
   * @returns `undefined` where this device has no key that anybody could encrypt to
   * @throws OtaError TOKEN_*
   */
  readonly key: () => SecretsKey | undefined;
}

/**
 * @returns 32 bytes, which the caller overwrites after use
 * @throws OtaError IMAGE_DECRYPTION_FAILED with `part` key
 * @throws OtaError TOKEN_*
 */
export function openContentKey(
  target: Target,
  { key: wrapped }: Encrypted,
  recipient: Recipient,
): Uint8Array {
  try {
    const key = recipient.key();
    if (key === undefined) {
      throw new JweRefused('this device has no key to encrypt to yet: run ota-agent secrets');
    }
    const { header, content } = openJwe(wrapped, key);
    demandClaims(header, target, recipient.deviceId);
    if (content.byteLength === KEY_BYTES) return content;
    throw new JweRefused(`the key has ${String(content.byteLength)} bytes, want 32`);
  } catch (cause) {
    const problem = problemOf(cause);
    if (problem === undefined) throw cause;
    const { filename } = target;
    throw new OtaError('IMAGE_DECRYPTION_FAILED', { filename, part: 'key', problem }, { cause });
  }
}

/** Else a key that was made for one image could be passed off as that of another. */
function demandClaims(header: Fields, { hashes }: Target, deviceId: string): void {
  const sub = header.string('sub');
  if (sub !== deviceId) throw new JweRefused(`it is for ${sub}, and this device is ${deviceId}`);
  const image = header.object('image');
  const named = [...hashes].filter(([algorithm]) => image.has(algorithm));
  if (named.length === 0) throw new JweRefused('it names no hash of the image');
  const other = named.find(([algorithm, hash]) => image.string(algorithm) !== hash);
  if (other !== undefined) throw new JweRefused(`it is for an image with another ${other[0]}`);
}

function problemOf(error: unknown): string | undefined {
  if (error instanceof JweRefused) return error.message;
  if (!isOtaError(error) || error.code !== 'METADATA_MALFORMED') return undefined;
  return `${error.details.path} must be ${error.details.want}`;
}
