/** A Director of the Uptane dialect beside an Image repository in TUF 1.0. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { formatState, parseState } from '../../../agent/cycle/state.ts';
import type { EcuInventory } from '../../../agent/uptane/inventory.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { verify, type Verdict } from '../../../agent/uptane/verify.ts';
import type { Body } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { ecdsaKey, ed25519Key } from '../../support/tuf-keys.ts';
import { hashesOf, TufRepository } from '../../support/tuf-repository.ts';
import { TestRepository } from '../../support/test-repository.ts';
import { directorTarget, NOW, PRIMARY, SECONDARY } from '../../support/uptane-world.ts';

const NAME = 'dir/fw.bin';
const CUSTOM = { hardwareIds: [PRIMARY.hardwareId], targetFormat: 'BINARY' };

let director: TestRepository;
let image: TufRepository;
let trusted: Map<string, Uint8Array>;
let requests: string[];

beforeEach(() => {
  director = new TestRepository();
  image = new TufRepository(ecdsaKey);
  trusted = new Map([
    ['director/root', director.file('1.root.json')],
    ['image/root', image.served.get('1.root.json') ?? Buffer.from('')],
  ]);
  director.targets = { [NAME]: directorTarget('firmware', [PRIMARY]) };
  director.publish();
  offer(CUSTOM);
});

function offer(custom: Body, content = 'firmware'): void {
  image.addTarget(NAME, content, 'targets', custom);
  image.publish();
}

function run(inventory: readonly EcuInventory[] = [PRIMARY]): Verdict {
  requests = [];
  const talk = verify({ trusted, inventory, now: NOW, imageFormat: TUF });
  let turn = talk.next();
  while (turn.done !== true) {
    const need = turn.value;
    if (need.need === 'keep') {
      if (need.bytes !== undefined) trusted.set(`${need.repo}/${need.role}`, need.bytes);
      turn = talk.next(undefined);
      continue;
    }
    requests.push(`${need.repo}/${need.file}`);
    const { served } = need.repo === 'director' ? director : image;
    turn = talk.next(served.get(need.file));
  }
  return turn.value;
}

describe('an Image repository in TUF 1.0', () => {
  test('is asked by its own names, the Director by those of the dialect (F7 to F10)', () => {
    const { outcome, targets } = run();
    assert.equal(outcome, 'update');
    assert.deepEqual(requests.slice(-4), [
      'image/2.root.json',
      'image/timestamp.json',
      'image/2.snapshot.json',
      'image/2.targets.json',
    ]);
    assert.equal(targets[0]?.filename, NAME);
    assert.equal(targets[0].imageFile, `dir/${hashesOf('firmware').sha256}.fw.bin`);
  });

  test('names images by their filename without consistent snapshots', () => {
    image = new TufRepository(ed25519Key, false);
    trusted.set('image/root', image.served.get('1.root.json') ?? Buffer.from(''));
    offer(CUSTOM);
    const [target] = run().targets;
    assert.ok(target !== undefined && !('imageFile' in target));
  });

  test('the name to fetch survives a restart in the middle of a download', () => {
    const { targets } = run();
    const plan = { correlationId: undefined, targets };
    const state = { at: 'downloading', plan, attempt: 1 } as const;
    assert.deepEqual(parseState(formatState(state)), state);
  });

  test('an address in custom goes before the name (M3)', () => {
    offer({ ...CUSTOM, uri: 'https://mirror.example/fw' });
    assert.equal(run().targets[0]?.uri, 'https://mirror.example/fw');
  });

  test('has to agree with the Director on bytes, hardware and release (M2, M3, M4)', () => {
    offer({ ...CUSTOM, hardwareIds: ['other'] });
    const hardware = { field: 'hardwareIds', director: PRIMARY.hardwareId, image: 'other' };
    throwsCode(run, 'TARGET_MISMATCH', { filename: NAME, ...hardware });
    offer(CUSTOM, 'firmwarf');
    const [wanted, found] = [hashesOf('firmware').sha256, hashesOf('firmwarf').sha256];
    const bytes = { field: 'sha256', director: wanted, image: found };
    throwsCode(run, 'TARGET_MISMATCH', { filename: NAME, ...bytes });
    offer({ ...CUSTOM, releaseCounter: 4 });
    const installed = { ecu: PRIMARY.serial, filename: 'old', lengthBytes: 1, hashes: new Map() };
    const inventory = [{ ...PRIMARY, installed: { ...installed, releaseCounter: 5 } }];
    const release = { ecu: PRIMARY.serial, filename: NAME, trusted: 5, offered: 4 };
    throwsCode(() => run(inventory), 'RELEASE_COUNTER_ROLLBACK', release);
    offer({ ...CUSTOM, releaseCounter: 5 });
    assert.equal(run(inventory).targets[0]?.releaseCounter, 5);
  });

  test('may delegate for some hardware only (D4)', () => {
    image.targets = {};
    const keys = [ed25519Key()];
    const only = { name: 'supplier', keys, paths: ['dir/*'] };
    image.delegations = [{ ...only, hardwareIds: [SECONDARY.hardwareId] }];
    image.addDelegated('supplier', { keys });
    image.addTarget(NAME, 'firmware', 'supplier', CUSTOM);
    image.publish();
    const missing = { filename: NAME, searched: 'targets' };
    throwsCode(run, 'TARGET_NOT_IN_IMAGE_REPO', missing);
    image.delegations = [{ ...only, hardwareIds: [PRIMARY.hardwareId] }];
    image.publish();
    assert.equal(run().outcome, 'update');
    assert.equal(requests.at(-1), 'image/1.supplier.json');
    assert.ok(trusted.has('image/delegated/supplier'));
  });

  test('is refused as any other: nothing is kept, the attack is named (T3)', () => {
    run();
    image.version.timestamp = 0;
    image.version.snapshot = 0;
    image.publishSnapshotAndTimestamp();
    const before = new Map(trusted);
    const details = { repo: 'image', role: 'timestamp', trusted: 2, offered: 1 } as const;
    throwsCode(run, 'VERSION_ROLLBACK', details);
    assert.deepEqual(trusted, before);
    assert.equal(requests.at(-1), 'image/timestamp.json');
  });
});
