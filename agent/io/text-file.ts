import { readFile } from 'node:fs/promises';

import { causeOf, OtaError } from '../errors.ts';

/**
 * A whole text file that the configuration names.
 *
 * @param what - what it is for, in the words of the person who has to mend it
 * @throws OtaError FILE_UNREADABLE
 */
export async function readTextFile(path: string, what: string, remedy: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const cause = causeOf(error);
    throw new OtaError('FILE_UNREADABLE', { path, what, cause, remedy }, { cause: error });
  }
}
