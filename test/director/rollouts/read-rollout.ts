/** A rollout as an operator writes it down. */
import { randomUUID } from 'node:crypto';

import { Refusal } from '../failure.ts';
import type { JsonReader } from '../json/read-json.ts';
import type { Filter, Phase, Rollout } from './rollout.ts';

const NAME_CHARACTERS = 100;
const MAX_PHASES = 20;
const SUCCESS_PERCENT = 90;
const FAILURE_PERCENT = 10;
const LONGEST_SOAK_SECONDS = 30 * 86_400;

/** @throws Refusal 400 `json_malformed` */
export function readRollout(wanted: JsonReader, nowMs: number): Rollout {
  const id = randomUUID();
  const at = new Date(nowMs).toISOString();
  return {
    id,
    name: wanted.string('name', NAME_CHARACTERS),
    image: wanted.string('image'),
    correlationId: `urn:here-ota:mtu:${id}`,
    filter: readFilter(wanted),
    phases: readPhases(wanted),
    state: 'draft',
    phase: 0,
    createdAt: at,
    changedAt: at,
    metAt: null,
    reason: 'not started yet',
  };
}

function readFilter(wanted: JsonReader): Filter {
  if (!wanted.has('filter')) return { hardwareIds: [], versions: [], tags: [] };
  const filter = wanted.object('filter');
  const stranger = filter
    .names()
    .find((name) => !['hardwareIds', 'versions', 'tags'].includes(name));
  // A filter that is misspelt would be a filter that lets everything through.
  if (stranger !== undefined) throw malformed(`${filter.path}.${stranger} is no filter`);
  return {
    hardwareIds: list(filter, 'hardwareIds'),
    versions: list(filter, 'versions'),
    tags: list(filter, 'tags'),
  };
}

function readPhases(wanted: JsonReader): readonly Phase[] {
  const phases = wanted.objects('phases').map(readPhase);
  if (phases.length >= 1 && phases.length <= MAX_PHASES) return phases;
  throw malformed(`$.phases must have 1 to ${String(MAX_PHASES)} entries`);
}

function readPhase(phase: JsonReader, at: number): Phase {
  return {
    name: phase.optionalString('name', NAME_CHARACTERS) ?? `phase ${String(at + 1)}`,
    percentage: phase.integer('percentage', 1, 100),
    tags: list(phase, 'tags'),
    successPercent: phase.optionalInteger('successPercent', 1, 100) ?? SUCCESS_PERCENT,
    failurePercent: phase.optionalInteger('failurePercent', 1, 100) ?? FAILURE_PERCENT,
    soakSeconds: phase.optionalInteger('soakSeconds', 0, LONGEST_SOAK_SECONDS) ?? 0,
  };
}

function list(reader: JsonReader, name: string): readonly string[] {
  return reader.has(name) ? reader.strings(name) : [];
}

function malformed(what: string): Refusal {
  return new Refusal(400, 'json_malformed', what);
}
