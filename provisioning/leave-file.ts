/** Files that a person, or the agent itself, picks up where the settings say. */
import { causeOf, OtaError } from '../agent/errors.ts';
import { replaceFile } from '../agent/io/durable-file.ts';

/**
 * Replaces the file whole; durable when it resolves.
 *
 * @param setting - that names it
 * @throws OtaError STORAGE_FAILED
 */
export async function leaveFile(
  setting: string,
  path: string,
  text: string,
  mode: number,
): Promise<void> {
  try {
    await replaceFile(path, text, mode);
  } catch (cause) {
    const remedy = `make its directory, writable for the agent, or correct ${setting}`;
    throw new OtaError('STORAGE_FAILED', { path, cause: causeOf(cause), remedy }, { cause });
  }
}
