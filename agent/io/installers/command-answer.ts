/** What an installing program says on its standard output: JSON, of which the last document is its answer. */

/** Members of the answer. */
export type Answer = ReadonlyMap<string, unknown>;

/**
 * The answer: all that was said, or its last line. Nothing said is an answer without members.
 *
 * @throws Error if that is no JSON object
 */
export function parseAnswer(stdout: string): Answer {
  const said = stdout.trim();
  if (said === '') return new Map();
  const answer = objectIn(said) ?? objectIn(said.slice(said.lastIndexOf('\n') + 1));
  if (answer !== undefined) return answer;
  throw new Error(`its answer is no JSON object: ${JSON.stringify(said.slice(-100))}`);
}

/** @returns percent from 0 to 100 if the line reports progress */
export function progressIn(line: string): number | undefined {
  const percent = objectIn(line)?.get('progress');
  return typeof percent === 'number' && percent >= 0 && percent <= 100 ? percent : undefined;
}

function objectIn(text: string): Answer | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? new Map(Object.entries(value)) : undefined;
  } catch {
    return undefined;
  }
}
