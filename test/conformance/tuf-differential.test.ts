/**
 * Random TUF repositories over several cycles, judged by ours and by the Updater of tuf-js.
 *
 * Both keep what they believe from cycle to cycle. They have to agree on every verdict and on every
 * target found, but for the differences in the table below, each of which is on purpose.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError } from '../../agent/errors.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { TufMemory } from '../support/tuf-memory.ts';
import { change, CHANGES, WANTED, type Change } from '../support/tuf-random.ts';
import { TufRepository } from '../support/tuf-repository.ts';
import { TufUpdater } from '../support/tuf-updater.ts';

/** `refused`, `nothing` where no role has the target, or the target's digest. */
type Verdict = string;

interface Judged {
  /** Every change so far, this cycle's last. */
  readonly changes: readonly Change[];
  readonly ours: Verdict;
  readonly theirs: Verdict;
}

interface Difference {
  readonly why: string;
  explains(judged: Judged): boolean;
}

const had = ({ changes }: Judged, ...names: readonly Change['name'][]): boolean =>
  changes.some(({ name }) => names.includes(name));
const weRefuse = ({ ours }: Judged): boolean => ours === 'refused';

const DIFFERENCES: readonly Difference[] = [
  {
    why: 'tuf-js counts key ids: one key under two ids meets a threshold of two (R3)',
    explains: (judged) => weRefuse(judged) && had(judged, 'alias-key'),
  },
  {
    why: 'tuf-js re-orders roles with names of integers, and then finds their signature wrong',
    explains: (judged) => judged.theirs === 'refused' && had(judged, 'integer-roles'),
  },
  {
    why: 'tuf-js takes the last of two equal names in JSON',
    explains: (judged) => weRefuse(judged) && had(judged, 'name-twice'),
  },
  {
    why: 'tuf-js uses its kept Snapshot whatever hash is listed today (S2)',
    explains: (judged) => weRefuse(judged) && had(judged, 'relist-hash'),
  },
  {
    why: 'after a rotation tuf-js forgets only the file of that role; TUF says both (R7, §5.3.11)',
    explains: (judged) =>
      judged.theirs === 'refused' &&
      had(judged, 'rotate', 'rotate-only', 'rotate-and-reset', 'threshold', 'alias-key') &&
      had(judged, 'rotate-and-reset', 'version-back', 'same-timestamp', 'drop-role'),
  },
];

async function judge(memory: TufMemory, updater: TufUpdater): Promise<[Verdict, Verdict]> {
  memory.now = Date.now() as Instant;
  return [ourVerdict(memory), await updater.judge(WANTED)];
}

function ourVerdict(memory: TufMemory): Verdict {
  try {
    return memory.refresh([WANTED])[0]?.hashes.get('sha256') ?? '';
  } catch (error) {
    if (!isOtaError(error)) throw error;
    return error.code === 'TARGET_NOT_IN_IMAGE_REPO' ? 'nothing' : 'refused';
  }
}

async function compare(changes: readonly Change[], seen: Set<string>): Promise<void> {
  const repository = new TufRepository();
  await using updater = new TufUpdater(repository);
  const memory = new TufMemory(repository);
  for (const [index, step] of changes.entries()) {
    change(repository, step);
    const [ours, theirs] = await judge(memory, updater);
    seen.add(`${ours.length === 64 ? 'found' : ours} ${theirs.length === 64 ? 'found' : theirs}`);
    if (ours === theirs) continue;
    const judged = { changes: changes.slice(0, index + 1), ours, theirs };
    const explained = DIFFERENCES.some((difference) => difference.explains(judged));
    assert.ok(explained, JSON.stringify(judged));
    // From here on they believe different things.
    return;
  }
}

/** Another campaign than that of every day: OTA_TUF_SEED and OTA_TUF_RUNS. */
const CAMPAIGN = {
  seed: Number(process.env['OTA_TUF_SEED'] ?? 20_261_126),
  numRuns: Number(process.env['OTA_TUF_RUNS'] ?? 200),
};

describe('ours and tuf-js', () => {
  test('agree on random repositories over several cycles, but for the listed differences', async () => {
    const seen = new Set<string>();
    const step = fc.record({
      name: fc.constantFrom(...CHANGES),
      role: fc.constantFrom('root', 'timestamp', 'snapshot', 'targets'),
      seed: fc.nat(1000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), (changes) =>
        compare(changes, seen),
      ),
      { ...CAMPAIGN, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false },
    );
    for (const verdict of ['refused refused', 'nothing nothing', 'found found']) {
      assert.ok(seen.has(verdict), `never seen: ${verdict}`);
    }
  });

  const proofs: readonly (readonly [string, readonly Change[]])[] = [
    ['alias-key', [{ name: 'alias-key', role: 'timestamp', seed: 0 }]],
    ['integer-roles', [{ name: 'integer-roles', role: 'targets', seed: 0 }]],
    ['name-twice', [{ name: 'name-twice', role: 'timestamp', seed: 0 }]],
    [
      'relist-hash',
      [
        { name: 'publish', role: 'root', seed: 0 },
        { name: 'relist-hash', role: 'timestamp', seed: 0 },
      ],
    ],
    [
      'rotate-and-reset',
      [
        { name: 'publish', role: 'root', seed: 0 },
        { name: 'rotate-and-reset', role: 'snapshot', seed: 0 },
      ],
    ],
  ];
  for (const [name, changes] of proofs) {
    test(`differ in ${name}, as the table says`, async () => {
      const seen = new Set<string>();
      await compare(changes, seen);
      assert.ok(
        [...seen].some((verdicts) => new Set(verdicts.split(' ')).size === 2),
        [...seen].join(),
      );
    });
  }
});
