/** What a fuzzed program did that it must never do. */
export class BrokenInvariant extends Error {
  override readonly name = 'BrokenInvariant';
}

/** @throws BrokenInvariant */
export function holds(condition: boolean, what: string): asserts condition {
  if (!condition) throw new BrokenInvariant(what);
}
