/** The pure parsers of the secure world: attribute lists, mechanism parameters, records, directories. */
import { CKA } from '../tee/secure-world/pkcs11/abi-attributes.ts';
import { MECHANISMS } from '../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO } from '../tee/secure-world/pkcs11/abi.ts';
import { ArgReader } from '../tee/secure-world/pkcs11/args.ts';
import { Attributes, readAttributeList } from '../tee/secure-world/pkcs11/attributes.ts';
import { importedAttributes } from '../tee/secure-world/pkcs11/create.ts';
import { readIntegers, readOctetString } from '../tee/secure-world/pkcs11/der.ts';
import { TaFailure } from '../tee/secure-world/pkcs11/failure.ts';
import { mechanismOf } from '../tee/secure-world/pkcs11/mechanisms/served.ts';
import { P11Object } from '../tee/secure-world/pkcs11/object.ts';
import { sanitize } from '../tee/secure-world/pkcs11/template.ts';
import {
  decodeRecord,
  encodeRecord,
  FACTORY_RECORD,
} from '../tee/secure-world/pkcs11/token-record.ts';
import { DirectoryIndex } from '../tee/secure-world/storage/ree-fs/dirfile.ts';
import { StorageFailure } from '../tee/secure-world/storage/trusted-storage.ts';
import { attributes, P256, u32 } from '../unit/tee/pkcs11/ta-client.ts';
import { holds } from './invariant.ts';
import { edgeOr, mutateBytes, withWord } from './mutate.ts';
import type { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';
import { findTemplate } from './template-bytes.ts';

/** Each takes the bytes after the first, which chooses it. */
const PARSERS: readonly ((bytes: Uint8Array) => string)[] = [
  list,
  template,
  object,
  mechanismParameter,
  record,
  directory,
  der,
];

export const attributeLists: FuzzTarget = {
  name: 'attribute-lists',
  *seeds() {
    for (const [parser, bytes] of seedBytes()) {
      yield Uint8Array.from(Buffer.concat([Buffer.of(parser), bytes]));
    }
  },
  run(input) {
    const [choice = 0] = input;
    const index = choice % PARSERS.length;
    const parse = PARSERS[index] ?? list;
    try {
      return [`${String(index)} ${parse(input.subarray(1))}`];
    } catch (failure) {
      if (failure instanceof TaFailure) return [`${String(index)} ${failure.message}`];
      throw failure;
    }
  },
  mutate: mutateArguments,
};

function list(bytes: Uint8Array): string {
  const reader = new ArgReader(bytes);
  const entries = readAttributeList(reader);
  const read = new Attributes(entries);
  const again = new Attributes(readAttributeList(new ArgReader(read.serialize())));
  holds(same(again.serialize(), read.serialize()), 'a list is not what it was after a round trip');
  const used = entries.reduce((sum, { value }) => sum + 8 + value.byteLength, 8);
  holds(used + reader.leftBytes === bytes.byteLength, 'bytes of a list were lost');
  return String(Math.min(entries.length, 9));
}

function template(bytes: Uint8Array): string {
  const clean = sanitize(readAttributeList(new ArgReader(bytes)), 'default');
  holds(
    same(sanitize([...clean], 'default').serialize(), clean.serialize()),
    'sanitizing is not idempotent',
  );
  return String(Math.min(clean.count, 9));
}

function object(bytes: Uint8Array): string {
  const made = importedAttributes(readAttributeList(new ArgReader(bytes)), 'default');
  holds(!made.boolean(CKA.LOCAL), 'an imported object says that it was made here');
  holds(!made.boolean(CKA.ALWAYS_SENSITIVE), 'an imported object says that nobody saw it');
  return `${String(made.objectClass)} ${String(made.keyType)}`;
}

function mechanismParameter(bytes: Uint8Array): string {
  const [which = 0, how = 0] = bytes;
  const info = MECHANISMS[which % MECHANISMS.length];
  const mechanism = info && mechanismOf(info.id);
  if (mechanism === undefined) return 'not served';
  const parameter = bytes.subarray(2);
  const starts = [mechanism.sign, mechanism.verify, mechanism.encrypt, mechanism.decrypt];
  const start = starts[how % starts.length];
  const key = KEYS.get(mechanism.keyTypes[0] ?? -1);
  if (start === undefined || key === undefined) return 'no key';
  const machine = start({ parameter, key, mode: 'default' });
  if (machine.does === 'sign' || machine.does === 'verify') {
    holds(machine.signatureBytes <= 1024, 'a signature of unlikely size');
  }
  return `${String(info?.id)} ${machine.does}`;
}

/** Bad bytes are a panic by contract: the record is the TA's own, and storage has authenticated it. */
function record(bytes: Uint8Array): string {
  let decoded;
  try {
    decoded = decodeRecord(bytes);
  } catch (error) {
    const isContract = error instanceof Error && error.message.startsWith('token record');
    if (isContract) return 'refused';
    throw error;
  }
  const encoded = encodeRecord(decoded);
  holds(same(encoded, bytes.subarray(0, encoded.byteLength)), 'a record is not what was decoded');
  return String(Math.min(decoded.objectIds.length, 4));
}

function directory(bytes: Uint8Array): string {
  try {
    const index = new DirectoryIndex('dirf.db', bytes);
    const free = index.freeFileNumbers().next().value;
    holds(!index.fileNumbers.has(free), 'a file number that is taken');
    return String(Math.min(index.fileNumbers.size, 4));
  } catch (error) {
    if (error instanceof StorageFailure) return 'refused';
    throw error;
  }
}

function der(bytes: Uint8Array): string {
  const octets = readOctetString(bytes);
  holds(octets === undefined || octets.byteLength <= bytes.byteLength, 'more than there was');
  return `${String(readIntegers(bytes)?.length)} ${String(octets !== undefined)}`;
}

const SECRET = Buffer.alloc(32, 7);

/** One key for each type, for both halves of a pair. */
const KEYS: ReadonlyMap<number, P11Object> = new Map(
  [CKK.AES, CKK.GENERIC_SECRET, CKK.SHA256_HMAC, CKK.RSA, CKK.EC, CKK.EC_EDWARDS].map((type) => [
    type,
    new P11Object(
      new Attributes([
        { id: CKA.KEY_TYPE, value: u32(type) },
        { id: CKA.VALUE, value: SECRET },
        { id: CKA.EC_PARAMS, value: P256 },
        { id: CKA.EC_POINT, value: SECRET },
        { id: CKA.MODULUS, value: Buffer.alloc(128, 0xc7) },
        { id: CKA.PUBLIC_EXPONENT, value: Buffer.of(1, 0, 1) },
        { id: CKA.PRIVATE_EXPONENT, value: Buffer.of(3) },
      ]),
    ),
  ]),
);

function* seedBytes(): Iterable<readonly [number, Uint8Array]> {
  const inner = attributes([CKA.SENSITIVE, true], [CKA.LABEL, 'inner']);
  const nested = [0, 1, 2, 3, 4].reduce((deep) => attributes([CKA.UNWRAP_TEMPLATE, deep]), inner);
  const lists = [
    attributes(),
    attributes([CKA.CLASS, CKO.DATA], [CKA.VALUE, SECRET]),
    attributes(
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.VALUE, SECRET],
      [CKA.WRAP_TEMPLATE, inner],
    ),
    attributes(
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [CKA.KEY_TYPE, CKK.EC],
      [CKA.EC_PARAMS, P256],
      [CKA.EC_POINT, SECRET],
      [CKA.VALUE, SECRET],
    ),
    attributes([CKA.CLASS, CKO.CERTIFICATE], [CKA.CERTIFICATE_TYPE, 0], [CKA.SUBJECT, inner]),
    nested,
  ];
  for (const parser of [0, 1, 2]) for (const bytes of lists) yield [parser, bytes];
  for (const which of MECHANISMS.keys()) {
    for (const parameter of PARAMETERS) yield [3, Buffer.concat([Buffer.of(which, 0), parameter])];
  }
  yield [4, encodeRecord(FACTORY_RECORD)];
  yield [4, encodeRecord({ ...FACTORY_RECORD, objectIds: [SECRET.subarray(0, 16)] })];
  yield [5, Buffer.alloc(240)];
  yield [5, Buffer.alloc(120, 1).fill(Buffer.of(4, 0, 0, 0), 80, 84)];
  yield [6, Buffer.from('3009020100020203e8020103', 'hex')];
  yield [6, Buffer.concat([Buffer.of(4, 32), SECRET])];
}

/** One of each form that a mechanism may want. */
const PARAMETERS: readonly Uint8Array[] = [
  new Uint8Array(),
  u32(8),
  Buffer.alloc(16, 1),
  Buffer.concat([u32(1), Buffer.alloc(16, 1)]),
  Buffer.concat([u32(12), Buffer.alloc(12), u32(3), Buffer.alloc(3), u32(96)]),
  u32(0x250, 2, 32),
  u32(0x250, 2, 1, 0),
  u32(0, 0),
];

function mutateArguments(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  if (random.oneIn(3)) return mutateBytes(input, random, other);
  if (random.oneIn(4)) {
    const at = 1 + 4 * random.below(input.length / 4);
    return withWord(input, at, edgeOr(random, Object.values(CKA)));
  }
  const found = findTemplate(input);
  if (found === undefined) return mutateBytes(input, random, other);
  const entries = [...found.entries];
  const at = random.below(entries.length + 1);
  const id = random.pick(Object.values(CKA));
  const given = entries[at]?.[1] ?? Uint8Array.of(1);
  const value = random.oneIn(2) ? mutateBytes(given, random, given) : u32(random.below(64));
  entries.splice(at, random.below(2), [random.oneIn(2) ? (entries[at]?.[0] ?? id) : id, value]);
  return Uint8Array.from(
    Buffer.concat([input.subarray(0, found.at), attributes(...entries)]),
  ).subarray(0, 4096);
}

function same(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
