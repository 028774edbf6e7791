/**
 * `ota-agent verify`: full verification of two repositories, on disk or on the web, without token.
 *
 * It plays a device for whoever publishes: with `--state`, what it accepted counts as installed in the
 * next run.
 */
import type { CommandResult } from './result.ts';
import { hintsFor } from './verify/hints.ts';
import { readOptions, type VerifyOptions } from './verify/options.ts';
import { render, type FailureReport } from './verify/render.ts';
import { run, type Run } from './verify/run.ts';
import { openSources, openState, type Sources } from './verify/sources.ts';

/**
 * Verifies what two directories or URLs hold.
 *
 * @returns exit 0 for `update` and `up-to-date`, 20 when metadata is refused, 31 when an image is, 21
 * and 30 when a server does not answer as it should
 * @throws OtaError USAGE, FILE_UNREADABLE, STORAGE_CORRUPT, STORAGE_FAILED
 */
export async function verifyCommand(args: readonly string[]): Promise<CommandResult> {
  const options = await readOptions(args);
  const sources = await openSources(options);
  try {
    const done = await run(options, sources, await openState(options.state));
    return render(done, options, await report(done, options, sources));
  } finally {
    await Promise.all(Object.values(sources).map((source) => source.close()));
  }
}

async function report(
  { failure, transcript }: Run,
  options: VerifyOptions,
  sources: Sources,
): Promise<FailureReport> {
  if (failure === undefined) return { file: null, location: null, hints: [] };
  const { error, blame } = failure;
  const isRefused = error.handling.exit === 20;
  const hints = isRefused ? await hintsFor(failure, transcript, options, sources) : [];
  if (blame === undefined) return { file: null, location: null, hints };
  const isPinned = options.roots?.[blame.repo] === blame.file;
  const location = isPinned ? blame.file : sources[blame.repo].where(blame.file);
  return { file: isPinned ? blame.file : `${blame.repo}/${blame.file}`, location, hints };
}
