/** Plan to staging: every image complete, synced and proven before any of them is installed. */
import type { FailureCode } from '../errors.ts';
import type { Ports } from '../ports.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import { queueEvent } from './events.ts';
import { failureOf } from './failure.ts';
import type { Event, Plan } from './machine.ts';

const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 30_000;

export async function download(plan: Plan, attempt: number, ports: Ports): Promise<Event> {
  if (attempt > 1) await ports.clock.sleep(backoffMs(attempt));
  try {
    await ports.staging.sweep(plan.targets);
    for (const target of plan.targets) await downloadOne(target, plan, ports);
    return { type: 'downloaded' };
  } catch (error) {
    const failure = failureOf(error);
    const advice = advise(failure.code, attempt, ports.limits.downloadAttempts);
    return { type: 'download-failed', failure, advice };
  }
}

async function downloadOne(target: TrustedTarget, plan: Plan, ports: Ports): Promise<void> {
  await ports.installer.check(target);
  await queueEvent(ports, 'EcuDownloadStarted', { plan, target });
  let success = false;
  try {
    const place = ports.installer.takes === 'stream' ? ports.installer : ports.staging;
    await place.receive(
      target,
      (offsetBytes) => ports.repositories.openImage(target, offsetBytes),
      (done, total) => {
        ports.reporter.progress('download', target.filename, done, total);
      },
    );
    success = true;
  } finally {
    await queueEvent(ports, 'EcuDownloadCompleted', { plan, target, success });
  }
}

/** Wrong bytes are the repository's fault and end the update; a bad way or a full disk may get better. */
const WRONG_BYTES: ReadonlySet<FailureCode> = new Set([
  'IMAGE_TOO_LARGE',
  'IMAGE_TRUNCATED',
  'IMAGE_HASH_MISMATCH',
  'IMAGE_DECRYPTION_FAILED',
]);
const NOT_BETTER_SOON: ReadonlySet<FailureCode> = new Set([
  'SPACE_INSUFFICIENT',
  'STORAGE_FAILED',
  'INSTALL_FAILED',
]);

function advise(
  code: FailureCode,
  attempt: number,
  maxAttempts: number,
): 'retry' | 'postpone' | 'give-up' {
  if (NOT_BETTER_SOON.has(code)) return 'postpone';
  if (attempt < maxAttempts) return 'retry';
  return WRONG_BYTES.has(code) ? 'give-up' : 'postpone';
}

function backoffMs(attempt: number): number {
  return Math.min(FIRST_BACKOFF_MS * 2 ** (attempt - 2), LONGEST_BACKOFF_MS);
}
