/** TAs that panic at the command a test names. */
import { TaPanic, type TaInstance, type TrustedApp } from '../ta.ts';

interface Planned {
  readonly code: number;
  /** Commands until it happens. */
  left: number;
}

export class TaFaultPlan {
  readonly #planned = new Map<string, Planned>();

  /** @param nth - counted from 1, from now */
  panicAt(uuid: string, nth: number, code: number): void {
    this.#planned.set(uuid, { left: nth, code });
  }

  clear(): void {
    this.#planned.clear();
  }

  /** The same TA, which the plan can make panic before it does a command. */
  wrap(app: TrustedApp): TrustedApp {
    const { uuid, flags } = app;
    return { uuid, flags, create: () => this.#wrapInstance(uuid, app.create()) };
  }

  #wrapInstance(uuid: string, ta: TaInstance): TaInstance {
    return {
      open: (...request) => ta.open(...request),
      invoke: (...request) => {
        this.#count(uuid);
        return ta.invoke(...request);
      },
      close: (session) => {
        ta.close(session);
      },
      destroy: () => {
        ta.destroy();
      },
      reclaim: () => ta.reclaim?.(),
    };
  }

  #count(uuid: string): void {
    const planned = this.#planned.get(uuid);
    if (planned === undefined) return;
    planned.left -= 1;
    if (planned.left > 0) return;
    this.#planned.delete(uuid);
    throw new TaPanic(planned.code, 'the control socket says so');
  }
}
