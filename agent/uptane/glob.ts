/**
 * Path patterns of delegations.
 *
 * Repositories in the field match with a `*` that also crosses `/`. Here it does not, as TUF has it:
 * where the two differ, this one delegates less.
 *
 * Source: TUF specification §4.5, "paths".
 */

/**
 * `*` any characters but `/`, `?` any one, `[abc]`, `[a-z]`, `[!abc]` one of a set; everything else
 * is itself. A `[` that is never closed is itself, too.
 */
export function matchesPath(pattern: string, path: string): boolean {
  const patterns = pattern.split('/');
  const texts = path.split('/');
  return (
    patterns.length === texts.length &&
    patterns.every((segment, index) => matchesSegment(segment, texts[index] ?? ''))
  );
}

/** Remembers only the last `*`, which is enough and keeps hostile patterns quadratic at worst. */
function matchesSegment(pattern: string, text: string): boolean {
  const tokens = tokenise(pattern);
  const characters = Array.from(text);
  let star = -1;
  let starAt = 0;
  let token = 0;
  for (let at = 0; at < characters.length;) {
    const wanted = tokens[token];
    if (wanted === '*') {
      star = token;
      starAt = at;
      token += 1;
    } else if (wanted !== undefined && matchesOne(wanted, characters[at] ?? '')) {
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
  return tokens.slice(token).every((rest) => rest === '*');
}

/** Each token is `*`, `?`, a set in brackets, or one literal character behind a `\0`. */
function tokenise(pattern: string): readonly string[] {
  const characters = Array.from(pattern);
  const lastBracket = characters.lastIndexOf(']');
  const tokens: string[] = [];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] ?? '';
    // The first member of a set may be the bracket itself.
    const firstMember = at + (characters[at + 1] === '!' ? 2 : 1);
    const isSet = character === '[' && firstMember < lastBracket;
    const end = isSet ? characters.indexOf(']', firstMember + 1) : at;
    if (isSet) tokens.push(characters.slice(at, end + 1).join(''));
    else tokens.push(character === '*' || character === '?' ? character : `\0${character}`);
    at = end;
  }
  return tokens;
}

function matchesOne(token: string, character: string): boolean {
  if (token === '?') return true;
  if (token.startsWith('\0')) return token.slice(1) === character;
  const negated = token.startsWith('[!');
  const members = Array.from(token.slice(negated ? 2 : 1, -1));
  return isMember(members, character) !== negated;
}

function isMember(members: readonly string[], character: string): boolean {
  for (let at = 0; at < members.length; at += 1) {
    const first = members[at] ?? '';
    const isRange = members[at + 1] === '-' && members[at + 2] !== undefined;
    const last = isRange ? (members[at + 2] ?? '') : first;
    if (first <= character && character <= last) return true;
    if (isRange) at += 2;
  }
  return false;
}
