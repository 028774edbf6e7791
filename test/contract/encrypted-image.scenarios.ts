/** What a device does with the key that images are encrypted to, in a process of its own. */
import { openPlain } from '../../agent/io/encrypted/open-plain.ts';
import { openToken, type TokenSettings } from '../../agent/io/token/token.ts';
import { findSecretsKey } from '../../provisioning/secrets-key.ts';
import { DEVICE_ID, gather, pieces } from '../support/encrypted-image.ts';
import { targetFor } from '../support/targets.ts';

interface Args {
  readonly settings: TokenSettings;
}

interface Sent extends Args {
  /** In Base64, as is `cipher`. */
  readonly content: string;
  readonly cipher: string;
  readonly key: string;
  readonly chunkBytes: number;
}

/** An image as it was encrypted to the key that is in the token, opened with that key. */
export async function openImageInToken(all: Sent): Promise<string> {
  const token = openToken(all.settings, 'read-only', process.env);
  const cipher = Buffer.from(all.cipher, 'base64');
  const { key, chunkBytes } = all;
  // Without hashes of the cipher text: it is the chunks that are judged here.
  const encrypted = { key, chunkBytes, lengthBytes: cipher.length, hashes: new Map() };
  const target = targetFor(Buffer.from(all.content, 'base64'), { encrypted });
  const recipient = { deviceId: DEVICE_ID, key: () => findSecretsKey(token) };
  const open = (offset: number): AsyncIterable<Uint8Array> => pieces(cipher.subarray(offset));
  try {
    const plain = await gather(openPlain(target, encrypted, recipient, open)(0));
    return plain.toString('base64');
  } finally {
    token.close();
  }
}

/** Before `ota-agent secrets` has made one. */
export function hasSecretsKey({ settings }: Args): boolean {
  const token = openToken(settings, 'read-only', process.env);
  const key = findSecretsKey(token);
  token.close();
  return key !== undefined;
}
