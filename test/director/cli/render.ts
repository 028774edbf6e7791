/** What the operator sees on a terminal. */
import { isMap, type Json } from '../json/canonical-json.ts';
import type { EventRecord, ManifestRecord } from '../gateway/reports.ts';
import type { Assignment, Device } from '../state/devices.ts';

/** Columns as wide as they need to be. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return 'none';
  const all = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  const pad = (row: readonly string[]): string =>
    row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ');
  return all.map((row) => pad(row).trimEnd()).join('\n');
}

export function lines(of: readonly string[], whenNone: string): string {
  return of.length === 0 ? whenNone : of.join('\n');
}

/** A line for the device, one for each ECU, one for its assignment. */
export function describeDevice(device: Device): readonly string[] {
  const ecus = device.ecus.map(({ serial, hardwareId, keyType }) => {
    const role = serial === device.primary ? 'Primary' : 'Secondary';
    const image = device.installed[serial]?.filename ?? 'nothing reported';
    return `  ${role} ${serial} (${hardwareId}, ${keyType}): ${image}`;
  });
  return [
    `${device.id}: last manifest ${device.lastManifestAt ?? 'never'}`,
    ...ecus,
    ...(device.assignment === undefined ? [] : [`  ${describeAssignment(device.assignment)}`]),
  ];
}

export function describeManifest({ receivedAt, verdict, manifest }: ManifestRecord): string {
  const { status, code, description } = verdict;
  const images = Object.entries(reportsOf(manifest)).map(
    ([serial, report]) => `${serial}=${textAt(report, ['signed', 'installed_image', 'filepath'])}`,
  );
  const result = textAt(manifest, ['signed', 'installation_report', 'report', 'result', 'code']);
  const outcome = result === '' ? '' : ` result ${result}`;
  const why = status === 200 ? '' : `: ${description}`;
  return `${receivedAt} ${String(status)} ${code}${why} ${images.join(' ')}${outcome}`.trimEnd();
}

export function describeEvent({ receivedAt, event }: EventRecord): string {
  const type = textAt(event, ['eventType', 'id']);
  const fields = Object.entries(isMap(event['event']) ? event['event'] : {});
  const rest = fields.map(([name, value]) => `${name}=${plain(value)}`);
  return [receivedAt, type, ...rest].join(' ');
}

function describeAssignment({ outcome, correlationId, targets, report }: Assignment): string {
  const what = targets.map(({ filename, ecus }) => `${filename} → ${Object.keys(ecus).join(', ')}`);
  const code = textAt(report ?? null, ['result', 'code']);
  return `assignment ${outcome}${code === '' ? '' : ` (${code})`}: ${what.join('; ')} ${correlationId}`;
}

function reportsOf(manifest: Json): Readonly<Record<string, Json>> {
  const signed = isMap(manifest) ? manifest['signed'] : undefined;
  const reports = isMap(signed) ? signed['ecu_version_manifests'] : undefined;
  return isMap(reports) ? reports : {};
}

function textAt(value: Json, path: readonly string[]): string {
  let at: Json | undefined = value;
  for (const name of path) at = isMap(at) ? at[name] : undefined;
  return at === undefined ? '' : plain(at);
}

function plain(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
