/** The process around the client: the system's clock, which a suite may fake, and exit codes 0 and 1. */
import type { Instant } from '../../../agent/uptane/time.ts';
import { runTufClient } from './client.ts';

try {
  await runTufClient(process.argv.slice(2), Date.now() as Instant);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
