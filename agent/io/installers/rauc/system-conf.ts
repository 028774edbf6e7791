/** The one line of RAUC's configuration that decides when a new image is chosen. */
import { readFile } from 'node:fs/promises';

import { causeOf } from '../../../errors.ts';

/** Who chooses what was just installed; `unknown` with the reason. */
export type Activation = 'agent' | 'rauc' | { readonly unknown: string };

/** Reads `activate-installed` of `[system]`, which is true where it is not set. */
export async function readActivation(path: string): Promise<Activation> {
  try {
    return /^\s*activate-installed\s*=\s*(false|0)\s*$/mu.test(
      section(await readFile(path, 'utf8'), 'system'),
    )
      ? 'agent'
      : 'rauc';
  } catch (error) {
    return { unknown: causeOf(error) };
  }
}

/** All lines below `[name]`, up to the next section. */
function section(text: string, name: string): string {
  const parts = text.split(/^\s*\[([^\]\n]*)\]\s*$/mu);
  return parts.filter((_, at) => at % 2 === 0 && parts[at - 1] === name).join('\n');
}
