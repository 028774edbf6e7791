/** All objects of one commit, read again and held against their names. */
import { OstreeError, type OstreeProgram } from './program.ts';

/** ostree examines the whole repository; these lines name the commits that a damaged object is of. */
const DAMAGED = /^(?:In commits|Object missing in commits) (?<commits>[0-9a-f, ]+): /u;
/** Sums, and what `--delete` did. */
const SUMMARY =
  /^(?:error: (?:Repository corruption encountered|\d+ partial commits)|Marking commit)/u;

/**
 * Looks for damage in the objects of `commit`, and removes what is damaged, so that it is pulled anew.
 *
 * Damage in other commits is no reason against this one: they may be the images that an update is to
 * replace.
 *
 * @returns what ostree said; `undefined` if the commit is whole
 * @throws OstreeError if ostree could not tell
 */
export async function findDamage(
  ostree: OstreeProgram,
  commit: string,
): Promise<OstreeError | undefined> {
  try {
    await ostree.repo(['fsck', '--quiet', '--all']);
    return undefined;
  } catch (error) {
    if (!(error instanceof OstreeError)) throw error;
    const lines = error.said.split('\n').filter((line) => line !== '' && !SUMMARY.test(line));
    const ours = lines.filter((line) => DAMAGED.exec(line)?.groups?.['commits']?.includes(commit));
    const strange = lines.filter((line) => !DAMAGED.test(line));
    if (strange.length > 0) throw error;
    if (ours.length === 0) return undefined;
    await removeDamaged(ostree);
    return new OstreeError('fsck', ours.join('\n'));
  }
}

async function removeDamaged(ostree: OstreeProgram): Promise<void> {
  try {
    await ostree.repo(['fsck', '--quiet', '--all', '--delete']);
  } catch (error) {
    // That it found damage is known.
    if (!(error instanceof OstreeError)) throw error;
  }
}
