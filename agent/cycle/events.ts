/** Events for the Director: queued on disk as they happen, delivered when there is a way. */
import { isOtaError } from '../errors.ts';
import type { LocalPorts, Ports } from '../ports.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import { formatInstant } from '../uptane/time.ts';
import type { Plan } from './machine.ts';

/** Directors keep events of types that they do not know. */
type EventType =
  | 'EcuDownloadStarted'
  | 'EcuDownloadCompleted'
  | 'EcuDownloadPaused'
  | 'EcuDownloadResumed'
  | 'EcuDownloadAborted'
  | 'EcuInstallationStarted'
  | 'EcuInstallationApplied'
  | 'EcuInstallationCompleted';

const BATCH = 50;

/** @param success - for the types that say how something ended */
export function queueEvent(
  ports: LocalPorts,
  type: EventType,
  { plan, target, success }: { plan: Plan; target: TrustedTarget; success?: boolean },
): Promise<void> {
  const correlation = plan.correlationId === undefined ? {} : { correlationId: plan.correlationId };
  return ports.store.queueEvent({
    id: ports.clock.uuid(),
    deviceTime: formatInstant(ports.clock.now()),
    eventType: { id: type, version: 0 },
    event: { ...correlation, ecu: target.ecu, ...(success === undefined ? {} : { success }) },
  });
}

/** Delivers what is queued. Events are news, not duties: a bad way leaves them for the next time. */
export async function flushEvents(ports: Ports): Promise<void> {
  try {
    for (;;) {
      const events = await ports.store.queuedEvents(BATCH);
      if (events.length === 0) return;
      const taken = await ports.director.postEvents(events);
      await ports.store.dropEvents(events.slice(0, taken).map(({ id }) => id));
    }
  } catch (error) {
    if (!isOtaError(error) || error.handling.kind !== 'transport') throw error;
    ports.reporter.refused(error);
  }
}
