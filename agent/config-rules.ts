/** What settings mean together: contradictions, and what a command cannot do without. */
import { invalid, missing, type LoadedSettings } from './config-problem.ts';
import { requireComponents, requireInstaller } from './config-installer.ts';
import { readSeparation } from './config-separation.ts';

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
  requireComponents(loaded);
  demandMedia(loaded);
  readSeparation(loaded);
  if (settings.provisioning.mode === 'est' && settings.provisioning.est_url === undefined) {
    throw missing(loaded, 'provisioning.est_url', 'provisioning.mode = "est" needs it');
  }
  if (
    settings.provisioning.mode === 'shared-cred' &&
    settings.provisioning.credentials_file === undefined
  ) {
    const why = 'provisioning.mode = "shared-cred" needs it';
    throw missing(loaded, 'provisioning.credentials_file', why);
  }
  const { time_url: timeUrl, time_keys: timeKeys } = settings.uptane;
  if ((timeUrl === undefined) !== (timeKeys === undefined)) {
    const [set, unset] = timeUrl === undefined ? ['keys', 'url'] : ['url', 'keys'];
    throw missing(loaded, `uptane.time_${unset}`, `uptane.time_${set} needs it`);
  }
  refuseTwoBeginnings(loaded);
  demandKeyFiles(loaded);
  demandConsentList(loaded);
}

/** Who configures media where none can be taken would wait for them in vain. */
function demandMedia(loaded: LoadedSettings): void {
  const { offline, separation, uptane } = loaded.settings;
  if (offline.sources.length === 0) return;
  const remedy = 'remove one of them; agent/OFFLINE.md says why';
  if (uptane.dialect !== 'uptane') {
    const problem = `contradicts uptane.dialect = "${uptane.dialect}": media have the Uptane dialect`;
    throw invalid(loaded, 'offline.sources', { problem, remedy });
  }
  if (!separation.installer) return;
  const problem = 'contradicts separation.installer = true: that installer takes nothing offline';
  throw invalid(loaded, 'offline.sources', { problem, remedy });
}

/** A list that nobody looks at would be taken for a protection. */
function demandConsentList(loaded: LoadedSettings): void {
  const { consent, consent_for: list } = loaded.settings.update;
  if (consent === 'listed' && list.length === 0) {
    throw missing(loaded, 'update.consent_for', 'update.consent = "listed" needs it');
  }
  if (consent === 'listed' || list.length === 0) return;
  const problem = `contradicts update.consent = "${consent}", which looks at no list`;
  const remedy = 'set update.consent = "listed", or remove update.consent_for';
  throw invalid(loaded, 'update.consent_for', { problem, remedy });
}

/** A key in a file is used, or taken into the token, where the settings say so, and nowhere by accident. */
function demandKeyFiles(loaded: LoadedSettings): void {
  const { token, identity, provisioning } = loaded.settings;
  const isToBeImported = provisioning.mode === 'device-cred' && identity.allow_imported;
  for (const name of ['tls_key_file', 'tls_certificate_file'] as const) {
    const isSet = identity[name] !== undefined;
    if (token.tls_backend === 'file' && !isSet) {
      throw missing(loaded, `identity.${name}`, 'token.tls_backend = "file" needs it');
    }
    if (token.tls_backend !== 'file' && isSet && !isToBeImported) {
      const problem = `contradicts token.tls_backend = "${token.tls_backend}", which uses the token`;
      const remedy =
        `remove ${name}; or set token.tls_backend = "file" (development only); or have the key ` +
        'imported: provisioning.mode = "device-cred", identity.allow_imported = true';
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
  /** Likewise for what the gateway is told besides. */
  readonly telemetry?: string | undefined;
  /** Likewise, unless `secrets.url` names one. */
  readonly secrets?: string | undefined;
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
  const secrets = under(loaded.settings.secrets.url, '/secrets');
  if (director !== undefined && image !== undefined)
    return { director, image, events, telemetry: base, secrets };
  if (director === image) throw missing(loaded, 'gateway.url', 'the gateway is needed here');
  const [set, unset] = director === undefined ? ['image', 'director'] : ['director', 'image'];
  const why = `gateway.${set}_url alone is half a gateway`;
  throw missing(loaded, `gateway.${unset}_url`, why);
}
