/** Bins and roles that have to agree in TUF metadata: found, verified, and judged by tuf-js where it can. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import { throwsCode } from '../../support/expect-code.ts';
import { ed25519Key, keysObject, type Body, type TufKey } from '../../support/tuf-keys.ts';
import { TufMemory } from '../../support/tuf-memory.ts';
import { hashesOf, TufRepository } from '../../support/tuf-repository.ts';

const IMAGE = { repo: 'image' } as const;
const FILENAME = 'dir/fw.bin';
/** Ours accepts it, tuf-js does not: shows who was asked. */
const DISPUTED: Body = { length: 4, hashes: { ...hashesOf('file'), other: 1 } };
const FILE: Body = { length: 4, hashes: hashesOf('file') };

/** Top-level Targets with these delegations, and everything above them. */
function publish(repository: TufRepository, keys: readonly TufKey[], more: Body): TufMemory {
  repository.version.targets += 1;
  const delegations = { keys: keysObject(keys), ...more };
  repository.publishTargets((body) => ({ ...body, delegations }));
  repository.publishSnapshotAndTimestamp();
  return new TufMemory(repository);
}

function role(name: string, keys: readonly TufKey[]): Body {
  return { name, keyids: keys.map(({ id }) => id), threshold: 1 };
}

describe('bins (TAP 15)', () => {
  const keys = [ed25519Key()];
  const digest = createHash('sha256').update(FILENAME).digest();
  // Nine bits need three digits, of which the first is 0 or 1.
  const bin = `bin-${(digest.readUInt16BE() >> 7).toString(16).padStart(3, '0')}`;
  const ids = keys.map(({ id }) => id);
  const bins = {
    succinct_roles: { keyids: ids, threshold: 1, bit_length: 9, name_prefix: 'bin' },
  };

  test('a file is looked for in its bin and nowhere else (TAP 15, D3, D4)', () => {
    const repository = new TufRepository();
    repository.addDelegated(bin, { keys, targets: { [FILENAME]: FILE } });
    const memory = publish(repository, keys, bins);
    assert.equal(memory.refresh([FILENAME])[0]?.lengthBytes, 4);
    assert.ok(memory.trusted.has(`image/delegated/${bin}`));
    repository.role(bin).targets = {};
    const details = { filename: FILENAME, searched: `targets,${bin}` };
    const emptied = publish(repository, keys, bins);
    throwsCode(() => emptied.refresh([FILENAME]), 'TARGET_NOT_IN_IMAGE_REPO', details);
  });

  test('a bin is signed with the keys of all bins, and listed in the Snapshot (TAP 15, G2, G3)', () => {
    const repository = new TufRepository();
    repository.addDelegated(bin, { keys: [ed25519Key()], targets: { [FILENAME]: FILE } });
    const name = { ...IMAGE, role: `delegated/${bin}` };
    const unsigned = publish(repository, keys, bins);
    const details = { ...name, valid: 0, threshold: 1 };
    throwsCode(() => unsigned.refresh([FILENAME]), 'THRESHOLD_NOT_MET', details);
    repository.delegated.clear();
    const unlisted = publish(repository, keys, bins);
    throwsCode(() => unlisted.refresh([FILENAME]), 'SNAPSHOT_ROLE_MISSING', name);
  });

  test('tuf-js judges bins, too (TAP 15)', () => {
    const repository = new TufRepository();
    repository.addDelegated(bin, { keys, targets: { [FILENAME]: DISPUTED } });
    const memory = publish(repository, keys, bins);
    assert.throws(() => memory.refresh([FILENAME]), { code: 'METADATA_MALFORMED' });
    assert.ok(!memory.trusted.has(`image/delegated/${bin}`));
  });
});

describe('roles that have to agree (TAP 3)', () => {
  const [a, b] = [[ed25519Key()], [ed25519Key()]];
  const entry = {
    paths: ['dir/*'],
    terminating: true,
    min_roles_in_agreement: 2,
    roles: [role('a', a), role('b', b)],
  };

  test('agree on a file, of which tuf-js is not asked (D5)', () => {
    const repository = new TufRepository();
    repository.addDelegated('a', { keys: a, targets: { [FILENAME]: DISPUTED } });
    repository.addDelegated('b', { keys: b, targets: { [FILENAME]: FILE } });
    const memory = publish(repository, [...a, ...b], { roles: [entry] });
    assert.equal(memory.refresh([FILENAME])[0]?.lengthBytes, 4);
  });

  test('or do not (D5)', () => {
    const repository = new TufRepository();
    repository.addDelegated('a', { keys: a, targets: { [FILENAME]: FILE } });
    repository.addDelegated('b', { keys: b });
    const memory = publish(repository, [...a, ...b], { roles: [entry] });
    const details = { filename: FILENAME, roles: 'a,b', agreeing: 1, needed: 2 };
    throwsCode(() => memory.refresh([FILENAME]), 'ROLES_DISAGREE', details);
  });

  test('one role may be in several entries, with the keys of each (D5, G3)', () => {
    const repository = new TufRepository();
    repository.addDelegated('a', { keys: a, targets: { [FILENAME]: FILE } });
    repository.addDelegated('b', { keys: b });
    const open = { ...entry, terminating: false };
    const alone = (keys: readonly TufKey[]): Body => ({
      ...role('a', keys),
      paths: ['*/*'],
      terminating: false,
    });
    const found = publish(repository, [...a, ...b], { roles: [open, alone(a)] });
    assert.equal(found.refresh([FILENAME]).length, 1);
    const refused = publish(repository, [...a, ...b], { roles: [open, alone(b)] });
    const details = { ...IMAGE, role: 'delegated/a', valid: 0, threshold: 1 };
    throwsCode(() => refused.refresh([FILENAME]), 'THRESHOLD_NOT_MET', details);
  });
});
