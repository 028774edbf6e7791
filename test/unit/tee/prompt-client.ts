/** A client of TAs that answer at once; that one does not fails the test. */
import type { Outcome, Pending } from '../../tee/secure-world/world/instance.ts';
import { isPending, WorldClient, type OpenOutcome } from '../../tee/secure-world/world/world.ts';

export class PromptClient extends WorldClient {
  override open(...request: Parameters<WorldClient['open']>): OpenOutcome {
    return atOnce(super.open(...request));
  }

  override invoke(...request: Parameters<WorldClient['invoke']>): Outcome {
    return atOnce(super.invoke(...request));
  }
}

function atOnce<T extends Outcome>(answered: T | Pending<T>): T {
  if (isPending(answered)) throw new Error('the TA takes its time');
  return answered;
}
