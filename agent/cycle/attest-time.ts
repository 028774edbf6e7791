/** Asks for a signed time, so that the rest of the cycle judges by it. */
import { isOtaError, type FailureRow } from '../errors.ts';
import type { Ports } from '../ports.ts';
import { timeRequest, verifyTime } from '../uptane/attested-time.ts';
import { noteAttack } from './note-attack.ts';

/**
 * Loads the time from a secure source, where one is configured.
 *
 * An answer that is refused counts as none, and the cycle goes on with the latest time known:
 * whoever can spoil an answer can also drop it, and must not be able to keep a device from its
 * updates either way. An attack is remembered for the next manifest.
 *
 * Source: Uptane Standard 2.1 §5.4.2.2, §5.4.4.2 step 1.
 */
export async function attestTime(ports: Ports): Promise<void> {
  const { clock, store, timeServer } = ports;
  if (timeServer === undefined) return;
  const { authority } = timeServer;
  const nonce = clock.uuid();
  const latestKnown = await store.latestKnownTime();
  try {
    const answer = await timeServer.askTime(timeRequest(nonce));
    clock.attest(verifyTime(answer, { nonce, authority, latestKnown }));
  } catch (error) {
    if (!isOtaError(error) || !NO_ANSWER.has(error.handling.kind)) throw error;
    ports.reporter.refused(error);
    await noteAttack(error.code, store);
  }
}

/** Not a token that failed: without one nothing else in the cycle works either. */
const NO_ANSWER: ReadonlySet<FailureRow['kind']> = new Set(['attack', 'repository', 'transport']);
