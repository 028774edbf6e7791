/** `npm run fleet`: README.md says what it simulates and what it does not. */
import { constants } from 'node:os';

import { parseArguments, USAGE, UsageError } from './arguments.ts';
import { runFleet } from './run.ts';
import { summaryLines } from './summary.ts';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** By Ctrl-C; a second one ends it at once. */
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    interrupted.abort();
    process.exitCode = 128 + constants.signals[signal];
  });
}

try {
  const options = parseArguments(process.argv.slice(2));
  if (options === 'help') say(USAGE);
  else {
    const summary = await runFleet(options, say, interrupted.signal);
    for (const line of summaryLines(summary)) say(line);
  }
} catch (error) {
  // What the fleet still waits for is nobody's any more.
  if (interrupted.signal.aborted) process.exit();
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}
