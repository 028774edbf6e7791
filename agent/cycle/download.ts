/** Plan to staging: every image complete, synced and proven before any of them is installed. */
import { isOtaError, OtaError, type FailureCode } from '../errors.ts';
import type { OpenImage, Ports, Repositories } from '../ports.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import { stoppable } from './brake.ts';
import { queueEvent } from './events.ts';
import { failureOf, ofTarget } from './failure.ts';
import type { Event, Plan } from './machine.ts';

const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 30_000;

/** @returns what became of it; a request of a person comes before any failure that it caused */
export async function download(plan: Plan, attempt: number, ports: Ports): Promise<Event> {
  const { brake } = ports;
  try {
    if (attempt > 1) await Promise.race([ports.clock.sleep(backoffMs(attempt)), brake.pulled]);
    if (brake.asked === undefined) await downloadAll(plan, ports);
    if (brake.asked === undefined) return { type: 'downloaded' };
  } catch (error) {
    // Whatever broke because of a request is no failure.
    if (brake.asked === undefined) return downloadFailed(error, attempt, ports);
  }
  return stopped(plan, ports);
}

function downloadFailed(error: unknown, attempt: number, { limits }: Ports): Event {
  const failure = failureOf(error);
  const advice = advise(failure.code, attempt, limits.downloadAttempts);
  return { type: 'download-failed', failure, advice };
}

async function stopped(plan: Plan, ports: Ports): Promise<Event> {
  const isPause = ports.brake.asked === 'pause';
  ports.brake.release();
  const type = isPause ? 'EcuDownloadPaused' : 'EcuDownloadAborted';
  for (const target of plan.targets) await queueEvent(ports, type, { plan, target });
  return { type: isPause ? 'pause-requested' : 'abort-requested' };
}

/** Nothing is downloaded for an update of which a part could not be installed, or would not fit. */
async function downloadAll(plan: Plan, ports: Ports): Promise<void> {
  await ports.staging.sweep(plan.targets);
  for (const target of plan.targets) {
    await ofTarget(target, () => ports.installers.of(target.ecu).check(target));
  }
  const staged = plan.targets.filter(({ ecu }) => ports.installers.of(ecu).takes === 'staged');
  await ports.staging.demandSpace(staged);
  for (const target of plan.targets) {
    await ofTarget(target, () => downloadOne(target, plan, ports));
  }
}

/** Bytes that were wrong are not asked for again at the place that served them, if there is another. */
async function downloadOne(target: TrustedTarget, plan: Plan, ports: Ports): Promise<void> {
  await queueEvent(ports, 'EcuDownloadStarted', { plan, target });
  let success = false;
  try {
    const installer = ports.installers.of(target.ecu);
    const place = installer.takes === 'stream' ? installer : ports.staging;
    await place.receive(target, imageOf(target, plan, ports), (done, total) => {
      ports.reporter.progress('download', target.filename, done, total);
    });
    success = true;
  } catch (error) {
    if (isOtaError(error) && WRONG_BYTES.has(error.code)) {
      repositoriesOf(plan, ports).distrust(target);
    }
    throw error;
  } finally {
    await queueEvent(ports, 'EcuDownloadCompleted', { plan, target, success });
  }
}

/** The way to an image's bytes, as long as nobody stops it. */
function imageOf(target: TrustedTarget, plan: Plan, ports: Ports): OpenImage {
  return (offsetBytes) =>
    stoppable(repositoriesOf(plan, ports).openImage(target, offsetBytes), ports.brake);
}

/** Where the images of a plan are. */
export function repositoriesOf({ offline }: Plan, { media, repositories }: Ports): Repositories {
  if (offline === undefined) return repositories;
  if (media !== undefined) return media.open(offline.source);
  throw new OtaError('MEDIUM_FAILED', { path: offline.source, cause: 'media are not looked at' });
}

/** Wrong bytes are the repository's fault and end the update; a bad way or a full disk may get better. */
const WRONG_BYTES: ReadonlySet<FailureCode> = new Set([
  'IMAGE_TOO_LARGE',
  'IMAGE_TRUNCATED',
  'IMAGE_HASH_MISMATCH',
  'IMAGE_MALFORMED',
  'IMAGE_DECRYPTION_FAILED',
]);
/** What ends the update after some tries. The Director has to hear of a device that cannot install. */
const ENDS: ReadonlySet<FailureCode> = new Set([...WRONG_BYTES, 'INSTALL_FAILED']);
const NOT_BETTER_SOON: ReadonlySet<FailureCode> = new Set(['SPACE_INSUFFICIENT', 'STORAGE_FAILED']);

function advise(
  code: FailureCode,
  attempt: number,
  maxAttempts: number,
): 'retry' | 'postpone' | 'give-up' {
  if (NOT_BETTER_SOON.has(code)) return 'postpone';
  if (attempt < maxAttempts) return 'retry';
  return ENDS.has(code) ? 'give-up' : 'postpone';
}

/** How long to wait before an attempt, from the second on. */
export function backoffMs(attempt: number): number {
  return Math.min(FIRST_BACKOFF_MS * 2 ** (attempt - 2), LONGEST_BACKOFF_MS);
}
