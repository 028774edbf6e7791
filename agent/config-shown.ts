/**
 * Settings as others may see them: `config show`, the archive for support.
 *
 * Arguments of programs are the operator's, who may have put a password there. So of lists those alone
 * are shown that are known to be none of a program; a new one is not until it is listed here.
 */
const SHOWN_LISTS: ReadonlySet<string> = new Set([
  'gateway.pins',
  'gateway.crl',
  'uptane.roots',
  'download.mirrors',
  'update.windows',
  'update.download_windows',
  'update.consent_for',
  'offline.sources',
  'installer.swupdate_devices_a',
  'installer.swupdate_devices_b',
  'installer.swupdate_try_a',
  'installer.swupdate_try_b',
  'installer.swupdate_keep_a',
  'installer.swupdate_keep_b',
  'installer.ostree_kargs',
  'health.units',
]);

/** @returns the value, or of each program its name and how many arguments it has */
export function shownValue(key: string, value: unknown): unknown {
  const isList = Array.isArray(value) && !SHOWN_LISTS.has(key.replace(/^component\./u, ''));
  return isList ? withoutArguments(value) : value;
}

function withoutArguments(list: readonly unknown[]): readonly unknown[] {
  const [first, ...more] = list;
  if (Array.isArray(first)) {
    return list.map((one) => (Array.isArray(one) ? withoutArguments(one) : '(hidden)'));
  }
  return more.length === 0 ? list : [first, `(${String(more.length)} arguments)`];
}
