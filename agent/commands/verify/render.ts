/** What `ota-agent verify` prints: one JSON document, or lines for people. */
import type { AnyOtaError } from '../../errors.ts';
import { remedyOf } from '../../remedies.ts';
import type { Target } from '../../uptane/plan.ts';
import type { CommandResult } from '../result.ts';
import { expectationOf } from './expectation.ts';
import { stepLines } from './explain.ts';
import type { VerifyOptions } from './options.ts';
import { expiringRoles, roleVerdicts, type Expiring, type RoleVerdict } from './roles.ts';
import type { Run } from './run.ts';

/** What was found out about a failure after the run. */
export interface FailureReport {
  /** `REPO/FILE`, and where that is. */
  readonly file: string | null;
  readonly location: string | null;
  readonly hints: readonly string[];
}

/** @param report - for a run that failed */
export function render(run: Run, options: VerifyOptions, report: FailureReport): CommandResult {
  const roles = roleVerdicts(run);
  const days = options.watchExpiryDays;
  const watch = days === undefined ? [] : expiringRoles(run, options.now, days);
  const result = run.failure ? failed(run.failure.error, report) : accepted(run, options);
  const { steps } = run.transcript;
  return {
    exit: result.exit,
    json: {
      ...result.json,
      images: run.images,
      roles,
      ...(days === undefined ? {} : { expiring: watch, problems: run.problems.map(problemJson) }),
      ...(options.explain ? { steps } : {}),
    },
    lines: [
      ...result.lines,
      ...roles.map(roleLine),
      ...run.images.map(({ filename, status }) => `  image ${filename}: ${words(status)}`),
      ...watch.map(expiringLine),
      ...run.problems.map((error) => `  warning, not needed today: ${error.message}`),
    ],
    ...(options.explain ? { notes: stepLines(steps) } : {}),
  };
}

/** Targets in the order the ECUs were named in. */
function accepted({ verdict }: Run, { ecus }: VerifyOptions): CommandResult {
  const { outcome = 'up-to-date', targets = [], correlationId } = verdict ?? {};
  const ordered = ecus.flatMap(({ serial }) => targets.filter(({ ecu }) => ecu === serial));
  const nothing = { code: null, attack: null, details: null, file: null };
  const correlation = correlationId === undefined ? {} : { correlationId };
  return {
    exit: 0,
    json: { outcome, ...nothing, ...correlation, targets: ordered.map(targetJson) },
    lines: [outcome === 'update' ? 'update' : 'up to date', ...ordered.map(targetLine)],
  };
}

function failed(error: AnyOtaError, { file, location, hints }: FailureReport): CommandResult {
  const { code, details, handling, message } = error;
  const attack = handling.attack ?? null;
  const outcome = handling.exit === 20 || handling.exit === 31 ? 'refused' : 'failed';
  const remedy = remedyOf(code, details);
  const { expected = null, found = null } = expectationOf(error) ?? {};
  const said = { attack, file: location, expected, found, remedy };
  return {
    exit: handling.exit,
    json: {
      outcome,
      ...{ code, attack, details: { ...details }, file, location, expected, found, remedy, hints },
      targets: [],
    },
    lines: [
      `${outcome}: ${message}`,
      ...Object.entries(said).flatMap(([name, value]) =>
        value === null ? [] : [`  ${LABELS[name] ?? name}: ${value}`],
      ),
      ...hints.map((hint) => `  hint: ${hint}`),
    ],
  };
}

const LABELS: Readonly<Record<string, string>> = { attack: 'looks like', remedy: 'what to do' };

function roleLine({ repo, role, version, expires, signatures, status }: RoleVerdict): string {
  const name = `  ${repo} ${role}: ${words(status)}`;
  if (version === null || expires === null || signatures === null) return name;
  const { valid, threshold, keys } = signatures;
  const signed = `${String(valid)} of ${String(keys)} keys signed, ${String(threshold)} needed`;
  return `${name}, version ${String(version)}, expires ${expires}, ${signed}`;
}

function expiringLine({ repo, role, expires, days }: Expiring): string {
  return `  warning: ${repo} ${role} expires at ${expires}, in ${String(days)} days`;
}

function problemJson({ code, details, handling }: AnyOtaError): object {
  return { code, attack: handling.attack ?? null, details: { ...details } };
}

type Listed = Pick<Target, 'lengthBytes' | 'hashes'>;

function targetJson({ ecu, filename, encrypted, ...image }: Target): object {
  const encryption = encrypted === undefined ? {} : { encryption: listedJson(encrypted) };
  return { ecu, filename, ...listedJson(image), ...encryption };
}

function listedJson({ lengthBytes, hashes }: Listed): object {
  return { length: lengthBytes, hashes: Object.fromEntries(hashes) };
}

function targetLine({ ecu, filename, encrypted, ...image }: Target): string {
  const encryption = encrypted === undefined ? '' : `, encrypted: ${listedText(encrypted)}`;
  return `  ${ecu}: ${filename} ${listedText(image)}${encryption}`;
}

function listedText({ lengthBytes, hashes }: Listed): string {
  const digests = [...hashes].map(([algorithm, hex]) => `${algorithm}:${hex}`).join(' ');
  return `(${String(lengthBytes)} bytes) ${digests}`;
}

function words(status: string): string {
  return status.replace('-', ' ');
}
