/** How people stop a download that is under way, from outside the turn of the cycle. */
import type { Brake } from '../ports.ts';

/** The stream that a person stopped. Never shown: whoever asked for it knows. */
class Stopped extends Error {}

export function openBrake(): Brake {
  let asked: Brake['asked'];
  let pull = Promise.withResolvers<undefined>();
  return {
    get asked() {
      return asked;
    },
    get pulled() {
      return pull.promise;
    },
    ask: (what) => {
      asked = what;
      pull.resolve(undefined);
    },
    release: () => {
      if (asked === undefined) return;
      asked = undefined;
      pull = Promise.withResolvers<undefined>();
    },
  };
}

/** Passes chunks through until the brake is pulled; a sender that is silent then is not waited for. */
export async function* stoppable(
  body: AsyncIterable<Uint8Array>,
  brake: Brake,
): AsyncGenerator<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      if (brake.asked !== undefined) throw new Stopped();
      const step = await Promise.race([chunks.next(), brake.pulled]);
      if (step === undefined) throw new Stopped();
      if (step.done === true) return;
      yield step.value;
    }
  } finally {
    // Not awaited: a sender that hangs would hang us here.
    chunks.return?.().catch(() => undefined);
  }
}
