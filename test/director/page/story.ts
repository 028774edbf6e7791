/** A device's life in sentences, the newest first. */
import { isMap, type Json, type JsonMap } from '../json/canonical-json.ts';
import type { EventRecord, ManifestRecord } from '../gateway/reports.ts';
import type { HistoryEntry } from '../rollouts/history.ts';

export interface Sentence {
  readonly at: string;
  readonly text: string;
  readonly tone: 'plain' | 'good' | 'bad';
}

export interface Told {
  readonly manifests: readonly ManifestRecord[];
  readonly events: readonly EventRecord[];
  readonly history: readonly HistoryEntry[];
  /** What the device said of itself, by path. */
  readonly telemetry: Readonly<Record<string, JsonMap>>;
}

const DECISIONS: Readonly<Record<HistoryEntry['what'], (images: string) => string>> = {
  assigned: (images) => `was given ${images}`,
  succeeded: (images) => `runs ${images}`,
  failed: (images) => `could not be updated to ${images}`,
  withdrawn: (images) => `need not install ${images} any more`,
};

const EVENTS: Readonly<Record<string, string>> = {
  EcuDownloadStarted: 'has begun to download',
  EcuDownloadCompleted: 'has downloaded',
  EcuDownloadPaused: 'has paused its download',
  EcuDownloadResumed: 'goes on downloading',
  EcuDownloadAborted: 'has given its download up',
  EcuInstallationStarted: 'has begun to install',
  EcuInstallationApplied: 'has installed, and has to boot',
  EcuInstallationCompleted: 'has finished installing',
  DeviceCertificateRenewed: 'has a new certificate',
  DeviceTlsKeyRotated: 'has a new TLS key',
  EcuUptaneKeyRotated: 'has a new Uptane key',
};

/** Manifests that say the same as the one before are not told again: an idle device sends hundreds. */
export function storyOf({ manifests, events, history, telemetry }: Told): readonly Sentence[] {
  const sentences = [
    ...Object.entries(telemetry).flatMap(([path, told]) => ofTelemetry(path, told)),
    ...history.map(ofDecision),
    ...events.map(ofEvent),
    ...manifests.flatMap((manifest, at) => ofManifest(manifest, manifests[at - 1])),
  ];
  // Reversed first: events of one report have one time, and stay in their order.
  return sentences.reverse().sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0));
}

/** Only the last of each kind is kept. */
function ofTelemetry(path: string, { receivedAt, content = null }: JsonMap): readonly Sentence[] {
  const text = describe(path, content);
  if (text === undefined || typeof receivedAt !== 'string') return [];
  return [{ at: receivedAt, text, tone: 'plain' }];
}

function describe(path: string, content: Json): string | undefined {
  switch (path) {
    case 'system_info': {
      const product = textAt(content, ['product']) || textAt(content, ['description']);
      const system = textAt(content, ['configuration', 'os']);
      return `is a ${[product, system].filter((one) => one !== '').join(' with ')}`;
    }
    case 'core/installed':
      return Array.isArray(content)
        ? `has ${String(content.length)} packages installed`
        : undefined;
    case 'system_info/network':
      return `is ${textAt(content, ['hostname'])} at ${textAt(content, ['local_ipv4'])}`;
    default:
      return undefined;
  }
}

function ofDecision({ at, what, images, detail }: HistoryEntry): Sentence {
  const tone = what === 'succeeded' ? 'good' : what === 'failed' ? 'bad' : 'plain';
  return { at, text: `${DECISIONS[what](images.join(', '))} (${detail})`, tone };
}

function ofEvent({ receivedAt: at, event }: EventRecord): Sentence {
  const id = textAt(event, ['eventType', 'id']);
  const failed = isMap(event['event']) && event['event']['success'] === false;
  const text = `${EVENTS[id] ?? `reports ${id}`}${failed ? ', without success' : ''}`;
  return { at, text, tone: failed ? 'bad' : 'plain' };
}

function ofManifest(record: ManifestRecord, before?: ManifestRecord): readonly Sentence[] {
  const { receivedAt: at, verdict } = record;
  if (verdict.status !== 200) {
    return [{ at, text: `sent a manifest that was refused: ${verdict.description}`, tone: 'bad' }];
  }
  const installed = installedOf(record);
  const attacks = attacksOf(record);
  return [
    ...(before !== undefined && installedOf(before) === installed
      ? []
      : [{ at, text: `says that it runs ${installed}`, tone: 'plain' as const }]),
    ...(attacks === ''
      ? []
      : [{ at, text: `has seen an attack: ${attacks}`, tone: 'bad' as const }]),
  ];
}

function installedOf({ manifest }: ManifestRecord): string {
  const images = reportsOf(manifest).map((report) =>
    textAt(report, ['signed', 'installed_image', 'filepath']),
  );
  return images.map((image) => (image === 'unknown' ? 'what it came with' : image)).join(', ');
}

function attacksOf({ manifest }: ManifestRecord): string {
  const attacks = reportsOf(manifest).map((report) =>
    textAt(report, ['signed', 'attacks_detected']),
  );
  return attacks.filter((one) => one !== '').join(', ');
}

function reportsOf(manifest: Json): readonly Json[] {
  const signed = isMap(manifest) ? manifest['signed'] : undefined;
  const reports = isMap(signed) ? signed['ecu_version_manifests'] : undefined;
  return isMap(reports) ? Object.values(reports) : [];
}

function textAt(value: Json, path: readonly string[]): string {
  let at: Json | undefined = value;
  for (const name of path) at = isMap(at) ? at[name] : undefined;
  return typeof at === 'string' ? at : '';
}
