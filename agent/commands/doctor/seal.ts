/** What is sealed in the token against an older disk, and what that is worth there. */
import { demandNotBehind, demandOwnToken, look, type SealView } from '../../cycle/seal.ts';
import { protectionOf, TokenAnchor } from '../../io/token/anchor.ts';
import { UPTANE } from '../../uptane/format.ts';
import { loadFormat } from '../../uptane/load-format.ts';
import { notHere, ok, warn, type Check, type Examination, type Finding } from './check.ts';

export const SEAL: Check = {
  name: 'seal',
  needs: ['token', 'roots', 'clock'],
  code: 'STORAGE_ROLLED_BACK',
  examine: examineSeal,
};

async function examineSeal(examination: Examination): Promise<Finding> {
  const { settings } = examination.get('loaded');
  if (settings.token.anchor === 'off') {
    return notHere('token.anchor is off: a disk that is put back is not noticed');
  }
  const token = examination.get('token');
  const view: SealView = {
    anchor: new TokenAnchor(token),
    store: examination.get('storage').store,
    clock: examination.get('clock'),
    directorFormat: UPTANE,
    imageFormat: await loadFormat(settings.uptane.dialect),
  };
  await demandOwnToken(view);
  await demandNotBehind(view);
  const seen = await look(view);
  const failed = seen?.binding.failed;
  if (failed !== undefined) {
    const remedy =
      'use a token that holds data objects, or set token.anchor = "off" and know that an older disk is not noticed';
    return warn(`nothing can be sealed in this token: ${failed.cause}`, remedy);
  }
  const { protection, meaning } = protectionOf(token);
  const state = seen?.seal === undefined ? 'nothing yet' : `record ${String(seen.seal.sequence)}`;
  return ok(`${state}, ${protection}: ${meaning}`);
}
