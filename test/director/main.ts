/** The mock Director, Image repository, device gateway and device CA, as one process. */
import { parseArguments, USAGE } from './cli/arguments.ts';
import { reportFailure } from './failure.ts';
import { runDirector } from './run.ts';

async function main(): Promise<void> {
  const options = parseArguments(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(USAGE);
    return;
  }
  const director = await runDirector(options);
  const { addresses, pageUrl } = director;
  process.stdout.write(`${pageUrl ?? JSON.stringify(addresses)}\n`);
  const stop = (): void => {
    director.stop().then(
      () => process.exit(0),
      (error: unknown) => process.exit(reportFailure(error)),
    );
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  if (options.whileStdin) process.stdin.resume().once('end', stop);
}

main().catch((error: unknown) => {
  process.exit(reportFailure(error));
});
