/** Encrypted images as a Director that errs, or that an attacker has, would send them: all is signed. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';

import type { FaultName } from '../faults.ts';
import { encrypt, type SecretsKey } from '../gateway/encrypt.ts';
import { isMap, type JsonMap } from '../json/canonical-json.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { ImageFiles } from '../state/image-files.ts';
import type { Parameters } from './row.ts';

export interface EncryptionForge {
  readonly parameters: Parameters;
  readonly files?: ImageFiles;
  /** Whom the images are encrypted to. */
  readonly recipient?: SecretsKey | undefined;
}

export interface CipherText {
  readonly sha256: string;
  readonly lengthBytes: number;
}

type EncryptionSpoiler = (encryption: JsonMap, forge: Required<EncryptionForge>) => JsonMap;

const TAG_BYTES = 16;

export const ENCRYPTION_SPOILERS = {
  'encryption-other-key': (encryption, { recipient }) =>
    rewrapped(encryption, recipient, (claims) => claims),
  'encryption-other-device': (encryption) =>
    rewrapped(encryption, anotherDevice(), (claims) => claims),
  'encryption-other-image': (encryption, { recipient }) =>
    rewrapped(encryption, recipient, (claims) => ({
      ...claims,
      image: { sha256: '0'.repeat(64) },
    })),
  'encryption-chunk-flipped': (encryption, forge) =>
    respoiled(encryption, forge, (cipher, [start]) => {
      cipher.writeUInt8(cipher.readUInt8(start) ^ 1, start);
      return cipher;
    }),
  'encryption-chunks-swapped': (encryption, forge) =>
    respoiled(encryption, forge, (cipher, [start, end]) => {
      const next = end + (end - start);
      const [first, second] = [cipher.subarray(start, end), cipher.subarray(end, next)];
      return Buffer.concat([cipher.subarray(0, start), second, first, cipher.subarray(next)]);
    }),
  'encryption-truncated': (encryption, forge) =>
    respoiled(encryption, forge, (cipher) => {
      const chunk = Number(encryption['chunkBytes']) + TAG_BYTES;
      return cipher.subarray(0, Math.floor((cipher.length - 1) / chunk) * chunk);
    }),
  'encryption-appended': (encryption, forge) =>
    respoiled(encryption, forge, (cipher, chunk) =>
      Buffer.concat([cipher, cipher.subarray(...chunk)]),
    ),
} satisfies Partial<Record<FaultName, EncryptionSpoiler>>;

/** A target with its encryption spoiled; one that is not encrypted stays as it is. */
export function withEncryption(
  entry: JsonMap,
  spoil: EncryptionSpoiler,
  { parameters, files, recipient }: EncryptionForge,
): JsonMap {
  const { custom } = entry;
  const encryption = isMap(custom) ? custom['encryption'] : undefined;
  if (!isMap(custom) || !isMap(encryption) || files === undefined) return entry;
  const spoiled = spoil(encryption, { parameters, files, recipient });
  return { ...entry, custom: { ...custom, encryption: spoiled } };
}

/** What the Director's Targets, as they go out, list in the place of an image. */
export function listedCipherText(targets: string, filename: string): CipherText | undefined {
  const path = ['targets', filename, 'custom', 'encryption'];
  const found = path.reduce<JsonMap[string] | undefined>(
    (value, name) => (value !== undefined && isMap(value) ? value[name] : undefined),
    new JsonReader(parseJson(targets)).raw('signed'),
  );
  if (found === undefined || !isMap(found) || !isMap(found['hashes'])) return undefined;
  return { sha256: text(found['hashes'], 'sha256'), lengthBytes: Number(found['length']) };
}

function rewrapped(
  encryption: JsonMap,
  recipient: SecretsKey | undefined,
  claim: (claims: JsonMap) => JsonMap,
): JsonMap {
  if (recipient === undefined) return encryption;
  const [header = ''] = text(encryption, 'key').split('.');
  const { sub = '', image = {} } = JSON.parse(
    Buffer.from(header, 'base64url').toString(),
  ) as JsonMap;
  return { ...encryption, key: encrypt(randomBytes(32), recipient, claim({ sub, image })) };
}

function anotherDevice(): SecretsKey {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = publicKey.export({ format: 'jwk' }) as Readonly<Record<string, string>>;
  return { kid: 'of-another-device', jwk };
}

/** @param spoil - gets all of the cipher text, and where the chunk of the parameters is */
function respoiled(
  encryption: JsonMap,
  { parameters, files }: Required<EncryptionForge>,
  spoil: (cipher: Buffer, chunk: readonly [number, number]) => Buffer,
): JsonMap {
  const { hashes } = encryption;
  if (hashes === undefined || !isMap(hashes)) return encryption;
  const cipher = files.readMade(text(hashes, 'sha256'));
  // It goes when the device has ended its update.
  if (cipher === undefined) return encryption;
  const chunkBytes = Number(encryption['chunkBytes']) + TAG_BYTES;
  const start = Number(parameters['chunk'] ?? 0) * chunkBytes;
  const { sha256, sha512, lengthBytes } = files.addSpoiled(
    spoil(cipher, [start, start + chunkBytes]),
  );
  return { ...encryption, hashes: { sha256, sha512 }, length: lengthBytes };
}

function text(members: JsonMap, name: string): string {
  const value = members[name];
  return typeof value === 'string' ? value : '';
}
