/** Keys, signatures and thresholds of TUF repositories (TUF specification §4.2 and §5; R3, T2, S3, G3). */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { describe, test } from 'node:test';

import { TufBench } from '../support/tuf-client-driver.ts';
import {
  compressed,
  crossedKey,
  ecdsaKey,
  ed25519Key,
  renamed,
  rsaKey,
  tufEnvelope,
  type Body,
  type TufKey,
} from '../support/tuf-keys.ts';
import { TufRepository } from '../support/tuf-repository.ts';

const IMAGE = { repo: 'image' } as const;

/** The bare form that older repositories write. */
function bare(key: TufKey): TufKey {
  const { keyval } = key.entry as { keyval: { public: string } };
  const { x = '', y = '' } = createPublicKey(keyval.public).export({ format: 'jwk' });
  const point = `04${[x, y].map((part) => Buffer.from(part, 'base64url').toString('hex')).join('')}`;
  return renamed(key, key.id, { ...key.entry, keyval: { public: point } });
}

/** Ed25519, in PEM where the specification has hex. */
function pem(key: TufKey): TufKey {
  const { keyval } = key.entry as { keyval: { public: string } };
  const der = Buffer.from(`302a300506032b6570032100${keyval.public}`, 'hex');
  const text = createPublicKey({ key: der, format: 'der', type: 'spki' });
  const spki = text.export({ type: 'spki', format: 'pem' }).toString();
  return renamed(key, key.id, { ...key.entry, keyval: { public: spki } });
}

describe('key types', () => {
  const kinds: readonly (readonly [string, () => TufKey])[] = [
    ['ed25519', ed25519Key],
    ['ed25519 in PEM', () => pem(ed25519Key())],
    ['ecdsa P-256', ecdsaKey],
    ['ecdsa P-256 under the name of its scheme', () => ecdsaKey('p256', 'ecdsa-sha2-nistp256')],
    ['ecdsa P-256 as a bare point', () => bare(ecdsaKey())],
    ['ecdsa P-384', () => ecdsaKey('p384')],
    ['ecdsa P-384 as a bare point', () => bare(ecdsaKey('p384', 'ecdsa-sha2-nistp384'))],
    ['rsassa-pss-sha256', rsaKey],
    ['rsassa-pss-sha384', () => rsaKey('sha384')],
    ['rsassa-pss-sha512', () => rsaKey('sha512')],
  ];
  for (const [kind, newKey] of kinds) {
    test(`${kind} signs for every role`, async () => {
      await using bench = await TufBench.open(new TufRepository(newKey));
      await bench.refresh();
      bench.repository.keys.timestamp = [newKey()];
      bench.repository.publishRoot();
      const details = { ...IMAGE, role: 'timestamp', valid: 0, threshold: 1 };
      await bench.refuses('THRESHOLD_NOT_MET', details, ['root.json']);
      bench.repository.publish();
      await bench.refresh();
    });
  }

  const unusable: readonly (readonly [string, (key: TufKey) => Body])[] = [
    ['of an unknown type', ({ entry }) => ({ ...entry, keytype: 'sphincs' })],
    ['of an unknown scheme', ({ entry }) => ({ ...entry, scheme: 'ed448' })],
    ['whose type and scheme disagree', ({ entry }) => ({ ...entry, keytype: 'rsa' })],
    ['that is no key', ({ entry }) => ({ ...entry, keyval: { public: 'zz' } })],
    ['on another curve', ({ entry }) => ({ ...entry, keyval: ecdsaKey('p384').entry['keyval'] })],
    ['without its public part', ({ entry }) => ({ ...entry, keyval: {} })],
    ['of the Uptane dialect', ({ entry }) => ({ ...entry, keytype: 'ED25519' })],
  ];
  for (const [what, edit] of unusable) {
    test(`a key ${what} is tolerated and never counts (R8)`, async () => {
      await using bench = await TufBench.open();
      const { repository } = bench;
      const [good, other] = [ecdsaKey(), ecdsaKey()];
      repository.keys.timestamp = [good, renamed(other, 'unusable', edit(other))];
      repository.publishRoot();
      repository.publishTimestamp();
      await bench.refresh();
      repository.threshold.timestamp = 2;
      repository.publishRoot();
      repository.publishTimestamp();
      const details = { ...IMAGE, role: 'timestamp', valid: 1, threshold: 2 };
      await bench.refuses('THRESHOLD_NOT_MET', details, ['root.json']);
    });
  }

  test('a key that signs by the scheme of another curve never counts (R8)', async () => {
    await using bench = await TufBench.open();
    bench.repository.keys.timestamp = [crossedKey()];
    bench.repository.publishRoot();
    bench.repository.publishTimestamp();
    const details = { ...IMAGE, role: 'timestamp', valid: 0, threshold: 1 };
    await bench.refuses('THRESHOLD_NOT_MET', details, ['root.json']);
  });

  test('an RSA key of less than 2048 bits never counts (R8)', async () => {
    await using bench = await TufBench.open();
    bench.repository.keys.timestamp = [rsaKey('sha256', 1024)];
    bench.repository.publishRoot();
    bench.repository.publishTimestamp();
    const details = { ...IMAGE, role: 'timestamp', valid: 0, threshold: 1 };
    await bench.refuses('THRESHOLD_NOT_MET', details, ['root.json']);
  });
});

describe('thresholds', () => {
  for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
    test(`${role} needs as many different keys as the root says (T2, S3, G3)`, async () => {
      await using bench = await TufBench.open();
      const { repository } = bench;
      const keys = [ed25519Key(), ecdsaKey(), ed25519Key()];
      repository.keys[role] = keys;
      repository.threshold[role] = 2;
      repository.publishRoot();
      repository.keys[role] = keys.slice(0, 1);
      repository.publish();
      const kept = {
        timestamp: ['root.json'],
        snapshot: ['root.json', 'timestamp.json'],
        targets: ['root.json', 'timestamp.json', 'snapshot.json'],
      };
      const details = { ...IMAGE, role, valid: 1, threshold: 2 };
      await bench.refuses('THRESHOLD_NOT_MET', details, kept[role]);
      repository.keys[role] = keys.slice(1);
      repository.publish();
      await bench.refresh();
    });
  }

  test('one key under two ids counts once (R3), which tuf-js alone would not see', async () => {
    await using bench = await TufBench.open();
    const key = ed25519Key();
    bench.repository.keys.timestamp = [key, renamed(key, 'alias')];
    bench.repository.threshold.timestamp = 2;
    bench.repository.publishRoot();
    bench.repository.publishTimestamp();
    const details = { ...IMAGE, role: 'timestamp', valid: 1, threshold: 2 };
    await bench.refuses('THRESHOLD_NOT_MET', details, ['root.json']);
  });

  test('one point in two encodings is one key (R3)', async () => {
    await using bench = await TufBench.open();
    const key = ecdsaKey();
    bench.repository.keys.timestamp = [key, compressed(key)];
    bench.repository.threshold.timestamp = 2;
    bench.repository.publishRoot();
    bench.repository.publishTimestamp();
    const details = { ...IMAGE, role: 'timestamp', valid: 1, threshold: 2 };
    await bench.refuses('THRESHOLD_NOT_MET', details, ['root.json']);
  });

  test('a key id stands once among signatures, and once in a role (§4.2.1)', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    const key = repository.keys.timestamp[0] ?? ed25519Key();
    repository.keys.timestamp = [key, key];
    repository.version.timestamp = 2;
    repository.publishTimestamp();
    const twice = { path: 'image/timestamp.signatures', want: 'each key id once' };
    await bench.refuses('METADATA_MALFORMED', twice);
    repository.publishRoot();
    const listed = { path: 'image/root.signed.roles.timestamp.keyids', want: 'each key once' };
    await bench.refuses('METADATA_MALFORMED', listed);
  });

  test('a threshold of nobody is refused (R8)', async () => {
    await using bench = await TufBench.open();
    bench.repository.threshold.snapshot = 0;
    bench.repository.publishRoot();
    const details = {
      path: 'image/root.signed.roles.snapshot.threshold',
      want: 'an integer of at least 1',
    };
    await bench.refuses('METADATA_MALFORMED', details);
  });

  test('a signature of other keys, of nobody, or of no form does not count', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    const key = repository.keys.timestamp[0] ?? ed25519Key();
    const details = { ...IMAGE, role: 'timestamp', valid: 0, threshold: 1 };
    const bad: readonly (readonly TufKey[])[] = [
      [],
      [ed25519Key()],
      [renamed(ed25519Key(), key.id)],
      [{ ...key, sign: () => '' }],
      [{ ...key, sign: () => 'not hex' }],
      [{ ...key, sign: (payload) => `${key.sign(payload)}00` }],
      [{ ...key, sign: (payload) => key.sign(payload).slice(0, -1) }],
    ];
    for (const signers of bad) {
      repository.keys.timestamp = signers;
      repository.publishTimestamp();
      await bench.refuses('THRESHOLD_NOT_MET', details);
    }
    repository.keys.timestamp = [key, { ...ed25519Key(), sign: () => '' }];
    repository.publishTimestamp();
    await bench.refresh();
  });

  test('what is signed is the OLPC form: line feeds as they are, quotes escaped', async () => {
    await using bench = await TufBench.open();
    const { repository } = bench;
    repository.addTarget('line\nfeed "quoted" \\ é 🚀', 'content');
    repository.publish();
    await bench.refresh();
    const document = JSON.parse(Buffer.from(repository.current('targets')).toString()) as {
      signed: Body;
    };
    const key = repository.keys.targets[0] ?? ed25519Key();
    const escaped = JSON.stringify(document.signed);
    const forged = { ...key, sign: () => key.sign(Buffer.from(escaped)) };
    repository.version.targets += 1;
    repository.replace('targets', tufEnvelope({ ...document.signed, version: 3 }, [forged]));
    repository.publishSnapshotAndTimestamp();
    const details = { ...IMAGE, role: 'targets', valid: 0, threshold: 1 };
    await bench.refuses('THRESHOLD_NOT_MET', details, ['timestamp.json', 'snapshot.json']);
  });
});

describe('JSON', () => {
  const hostile: readonly (readonly [string, (text: string) => string, string])[] = [
    ['a name given twice', (text) => text.replace('{', '{"signed":1,'), 'each name once'],
    [
      'an unsafe integer',
      (text) => text.replace('{', '{"n":9007199254740993,'),
      'an integer within',
    ],
    ['a lone surrogate', (text) => text.replace('{', '{"s":"\\ud800",'), 'no lone surrogate'],
    ['text after its end', (text) => `${text} x`, 'nothing more'],
  ];
  for (const [what, edit, want] of hostile) {
    test(`${what} is refused before anything is believed`, async () => {
      await using bench = await TufBench.open();
      const text = Buffer.from(bench.repository.current('timestamp')).toString();
      bench.repository.replace('timestamp', Buffer.from(edit(text)));
      const before = bench.kept();
      await assert.rejects(bench.refresh(), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'METADATA_MALFORMED');
        assert.ok(error.message.includes(want), error.message);
        return true;
      });
      assert.deepEqual(bench.kept(), before);
    });
  }
});
