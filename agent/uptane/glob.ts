/**
 * Path patterns of delegations.
 *
 * Repositories in the field match with a `*` that also crosses `/`. Here it does not, as TUF has it:
 * where the two differ, this one delegates less.
 *
 * Source: TUF specification §4.5, "paths".
 */

/** A code point, `?`, `*`, or the code points of a set. */
type Token = number | CharacterSet;

interface CharacterSet {
  readonly negated: boolean;
  /** First, last, first, last … of ranges in ascending order that do not touch. */
  readonly bounds: readonly number[];
}

/** Beside code points, which are not negative. */
const STAR = -1;
const ANY = -2;
const SPECIAL = /[*?[]/u;
const MARK = { not: 0x21, star: 0x2a, hyphen: 0x2d, any: 0x3f, open: 0x5b, close: 0x5d } as const;

/**
 * `*` any characters but `/`, `?` any one, `[abc]`, `[a-z]`, `[!abc]` one of a set; everything else
 * is itself. A `[` that is never closed is itself, too.
 *
 * No pattern takes more than the product of the two lengths.
 */
export function matchesPath(pattern: string, path: string): boolean {
  // Most patterns of most repositories end here.
  const special = pattern.search(SPECIAL);
  if (special === -1) return pattern === path;
  if (!path.startsWith(pattern.slice(0, special))) return false;
  const patterns = pattern.split('/');
  const texts = path.split('/');
  return (
    patterns.length === texts.length &&
    patterns.every((segment, index) => matchesSegment(segment, texts[index] ?? ''))
  );
}

/** Remembers only the last `*`, which is enough: no token meets a character twice on its account. */
function matchesSegment(pattern: string, text: string): boolean {
  const tokens = tokenise(codePoints(pattern));
  const points = codePoints(text);
  if (tokens.filter((each) => each !== STAR).length > points.length) return false;
  let star = -1;
  let starAt = 0;
  let token = 0;
  for (let at = 0; at < points.length;) {
    const wanted = tokens[token];
    if (wanted === STAR) {
      star = token;
      starAt = at;
      token += 1;
    } else if (wanted !== undefined && matchesOne(wanted, points[at] ?? 0)) {
      token += 1;
      at += 1;
    } else if (star === -1) {
      return false;
    } else {
      starAt += 1;
      at = starAt;
      token = star + 1;
    }
  }
  return tokens.slice(token).every((rest) => rest === STAR);
}

function tokenise(points: readonly number[]): readonly Token[] {
  const lastClose = points.lastIndexOf(MARK.close);
  const tokens: Token[] = [];
  for (let at = 0; at < points.length; at += 1) {
    const point = points[at] ?? 0;
    // The first member of a set may be the bracket itself.
    const negated = points[at + 1] === MARK.not;
    const firstMember = at + (negated ? 2 : 1);
    if (point === MARK.open && firstMember < lastClose) {
      const end = points.indexOf(MARK.close, firstMember + 1);
      tokens.push({ negated, bounds: boundsOf(points.slice(firstMember, end)) });
      at = end;
    } else if (point === MARK.star) {
      tokens.push(STAR);
    } else {
      tokens.push(point === MARK.any ? ANY : point);
    }
  }
  return tokens;
}

function boundsOf(members: readonly number[]): readonly number[] {
  const ranges: [first: number, last: number][] = [];
  for (let at = 0; at < members.length; at += 1) {
    const first = members[at] ?? 0;
    const isRange = members[at + 1] === MARK.hyphen && at + 2 < members.length;
    if (isRange) at += 2;
    const last = members[at] ?? 0;
    if (first <= last) ranges.push([first, last]);
  }
  const bounds: number[] = [];
  for (const [first, last] of ranges.sort(([a], [b]) => a - b)) {
    const end = bounds.at(-1);
    if (end === undefined || first > end + 1) bounds.push(first, last);
    else bounds[bounds.length - 1] = Math.max(end, last);
  }
  return bounds;
}

function matchesOne(token: Token, point: number): boolean {
  if (typeof token === 'number') return token === point || token === ANY;
  const { negated, bounds } = token;
  let at = 0;
  while (at < bounds.length && point > (bounds[at + 1] ?? 0)) at += 2;
  const isMember = at < bounds.length && point >= (bounds[at] ?? 0);
  return isMember !== negated;
}

function codePoints(text: string): readonly number[] {
  return Array.from(text, (character) => character.codePointAt(0) ?? 0);
}
