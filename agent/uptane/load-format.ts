/** Formats by the name they have in the configuration. */
import { UPTANE, type Format } from './format.ts';

/** Loads TUF, and tuf-js with it, only where it is asked for. */
export async function loadFormat(name: Format['name']): Promise<Format> {
  return name === 'tuf' ? (await import('./tuf.ts')).TUF : UPTANE;
}
