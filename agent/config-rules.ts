/** What settings mean together: contradictions, and what a command cannot do without. */
import { OtaError } from './errors.ts';
import type { Settings } from './settings.ts';

/** Where a value was written. Keys without an origin have their default. */
export interface Origin {
  readonly file: string;
  /** From 1; 0 when it is somewhere in the file. */
  readonly line: number;
}

export interface LoadedSettings {
  /** Frozen, all the way down. */
  readonly settings: Settings;
  /** By `table.name`. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** Every file that was read, in the order in which they were applied. */
  readonly files: readonly string[];
}

/**
 * Refuses settings that are each right and together wrong.
 *
 * The default installer may lack its path: most commands install nothing.
 *
 * @throws OtaError CONFIG_INVALID
 */
export function checkTogether(loaded: LoadedSettings): void {
  const { settings } = loaded;
  if (settings.installer.type !== 'file') requireInstaller(loaded);
  if (settings.provisioning.mode === 'est' && settings.provisioning.est_url === undefined) {
    throw missing(loaded, 'provisioning.est_url', 'provisioning.mode = "est" needs it');
  }
  const { time_url: timeUrl, time_keys: timeKeys } = settings.uptane;
  if ((timeUrl === undefined) !== (timeKeys === undefined)) {
    const [set, unset] = timeUrl === undefined ? ['keys', 'url'] : ['url', 'keys'];
    throw missing(loaded, `uptane.time_${unset}`, `uptane.time_${set} needs it`);
  }
  refuseTwoBeginnings(loaded);
  demandKeyFiles(loaded);
}

/** A key in a file is used where both settings say so, and nowhere by accident. */
function demandKeyFiles(loaded: LoadedSettings): void {
  const { token, identity } = loaded.settings;
  for (const name of ['tls_key_file', 'tls_certificate_file'] as const) {
    const isSet = identity[name] !== undefined;
    if (token.tls_backend === 'file' && !isSet) {
      throw missing(loaded, `identity.${name}`, 'token.tls_backend = "file" needs it');
    }
    if (token.tls_backend !== 'file' && isSet) {
      const problem = `contradicts token.tls_backend = "${token.tls_backend}", which uses the token`;
      const remedy = `remove ${name}, or set token.tls_backend = "file" (development only)`;
      throw invalid(loaded, `identity.${name}`, { problem, remedy });
    }
  }
}

/** Two places that trust begins at would leave open which of them counts. */
function refuseTwoBeginnings(loaded: LoadedSettings): void {
  const { roots, initial_metadata: set, trust_on_first_use: onFirstUse } = loaded.settings.uptane;
  const remedy = 'remove one of them';
  if (set !== undefined && roots !== undefined) {
    const problem = 'contradicts uptane.roots: the complete set has roots of its own';
    throw invalid(loaded, 'uptane.initial_metadata', { problem, remedy });
  }
  if (!onFirstUse || (roots === undefined && set === undefined)) return;
  const other = roots === undefined ? 'uptane.initial_metadata' : 'uptane.roots';
  const problem = `contradicts ${other}: either the roots are pinned or the first contact is trusted`;
  throw invalid(loaded, 'uptane.trust_on_first_use', { problem, remedy });
}

export interface GatewayUrls {
  readonly director: string;
  readonly image: string;
  /** Only `gateway.url` has a place for events: the two repositories alone have none. */
  readonly events: string | undefined;
}

/**
 * Where the gateway is, for the commands that talk to it. No URL ends in a slash.
 *
 * @throws OtaError CONFIG_INVALID if neither the base nor both repositories are set
 */
export function requireGateway(loaded: LoadedSettings): GatewayUrls {
  const { url, director_url, image_url } = loaded.settings.gateway;
  const base = url?.replace(/\/+$/u, '');
  const under = (own: string | undefined, path: string): string | undefined =>
    own?.replace(/\/+$/u, '') ?? (base === undefined ? undefined : `${base}${path}`);
  const director = under(director_url, '/director');
  const image = under(image_url, '/repo');
  const events = under(undefined, '/events');
  if (director !== undefined && image !== undefined) return { director, image, events };
  if (director === image) throw missing(loaded, 'gateway.url', 'the gateway is needed here');
  const [set, unset] = director === undefined ? ['image', 'director'] : ['director', 'image'];
  const why = `gateway.${set}_url alone is half a gateway`;
  throw missing(loaded, `gateway.${unset}_url`, why);
}

export type InstallerSettings =
  | { readonly type: 'file'; readonly path: string }
  | {
      readonly type: 'ab-slot';
      readonly slotA: string;
      readonly slotB: string;
      readonly marker: string;
      readonly bootedFile: string;
      readonly tries: number;
    };

/**
 * The installer with all that its type needs.
 *
 * @throws OtaError CONFIG_INVALID if something is missing, or two paths of the A/B set are the same
 */
export function requireInstaller(loaded: LoadedSettings): InstallerSettings {
  const { installer } = loaded.settings;
  const need = (name: 'path' | AbSlotPath): string => {
    const path = installer[name];
    if (path !== undefined) return path;
    const why = `installer.type = "${installer.type}" needs it`;
    throw missing(loaded, `installer.${name}`, why);
  };
  if (installer.type === 'file') return { type: 'file', path: need('path') };
  const slotA = need('slot_a');
  const slotB = need('slot_b');
  const marker = need('marker');
  const bootedFile = need('booted_file');
  refuseSamePath(loaded);
  return { type: 'ab-slot', slotA, slotB, marker, bootedFile, tries: installer.tries };
}

const AB_SLOT_PATHS = ['slot_a', 'slot_b', 'marker', 'booted_file'] as const;
type AbSlotPath = (typeof AB_SLOT_PATHS)[number];

/** Two names for one path would overwrite what runs. */
function refuseSamePath(loaded: LoadedSettings): void {
  const seen = new Map<string | undefined, string>();
  for (const name of AB_SLOT_PATHS) {
    const path = loaded.settings.installer[name];
    const other = seen.get(path);
    if (other !== undefined) {
      throw invalid(loaded, `installer.${name}`, {
        problem: `is the same path as installer.${other}`,
        remedy: 'give each its own',
      });
    }
    seen.set(path, name);
  }
}

function missing(loaded: LoadedSettings, key: string, why: string): OtaError<'CONFIG_INVALID'> {
  const [table = '', name = ''] = key.split('.');
  return invalid(loaded, key, {
    problem: `is not set, and ${why}`,
    remedy: `add ${name} = "…" to [${table}]`,
  });
}

/** Points at the key, or else at the last key written into its table, or else at the last file. */
function invalid(
  { origins, files }: LoadedSettings,
  key: string,
  said: { problem: string; remedy: string },
): OtaError<'CONFIG_INVALID'> {
  const table = key.slice(0, key.indexOf('.') + 1);
  const neighbours = [...origins].filter(([other]) => other.startsWith(table));
  const { file, line } = origins.get(key) ??
    neighbours.at(-1)?.[1] ?? { file: files.at(-1) ?? '/etc/ota-agent/conf.d', line: 0 };
  return new OtaError('CONFIG_INVALID', { file, line, key, ...said });
}
