/** How much memory this process needs for something, as the kernel counts it. */
import { readFileSync, writeFileSync } from 'node:fs';

/** `maxRSS` would do, were it not handed down from the process that started this one. */
const PEAK = /^VmHWM:\s+(\d+) kB$/mu;
/** Sets the peak to what is resident now; proc_pid_clear_refs(5). */
const RESET_PEAK = '5';

/** @returns the highest resident memory while `act` ran, above what was resident before; in bytes */
export async function peakBytesOf(act: () => unknown): Promise<number> {
  writeFileSync('/proc/self/clear_refs', RESET_PEAK);
  const before = process.memoryUsage.rss();
  await act();
  return Number(PEAK.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024 - before;
}
