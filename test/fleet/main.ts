/** `npm run fleet`: README.md says what it simulates and what it does not. */
import { parseArguments, USAGE, UsageError } from './arguments.ts';
import { runFleet } from './run.ts';
import { summaryLines } from './summary.ts';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

try {
  const options = parseArguments(process.argv.slice(2));
  if (options === 'help') say(USAGE);
  else for (const line of summaryLines(await runFleet(options, say))) say(line);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}
