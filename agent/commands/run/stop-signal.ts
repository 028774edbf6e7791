/** SIGTERM and SIGINT, as a signal that is aborted. */

/** Power-fail safety makes stopping simple: a cycle that does not end in time is ended with its process. */
export const WORK_GRACE_MS = 500;
/** Of whoever waits for it. */
export const WAIT_GRACE_MS = 700;

/** @param graceMs - then the process ends, however far it is */
export function stopSignal(graceMs: number): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) return;
    controller.abort();
    setTimeout(() => process.exit(0), graceMs).unref();
  };
  // Each of them may come twice: from systemd, which tells every process, and from whoever started this one.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
  return controller.signal;
}
