/** Asks what holds an update back, and remembers the answer over restarts, for people and deadlines. */
import { createHash } from 'node:crypto';

import { Fields, parseJson } from '../decode.ts';
import type { LocalPorts } from '../ports.ts';
import { formatInstant, parseInstant, type Instant } from '../uptane/time.ts';
import {
  deadlineOf,
  reasons,
  waitsUntil,
  type GateStep,
  type Reason,
  type Waiting,
} from './gate.ts';
import type { Plan } from './machine.ts';
import { planDigest } from './state.ts';

/** What is on disk of it. */
export interface Held extends Waiting {
  /** Names the update to whoever approves it. */
  readonly update: string;
  readonly step: GateStep;
  readonly reasons: readonly Reason[];
  readonly until: Instant | undefined;
  /** Of a critical update. */
  readonly deadline: Instant | undefined;
}

/** @returns `undefined` when the update may go on */
export async function holdBack(
  plan: Plan,
  step: GateStep,
  ports: LocalPorts,
): Promise<Held | undefined> {
  const { gate, store, clock } = ports;
  if (gate === undefined) return undefined;
  const now = clock.now();
  const update = updateId(plan);
  const known = await heldUpdate(ports);
  const isSame = known?.update === update;
  // An instant to come was written by a clock that was wrong.
  const since = isSame && known.since <= now ? known.since : now;
  const waiting = { since, isApproved: isSame && known.isApproved };
  const inhibitions = await gate.inhibitions(step);
  const found = reasons(gate.rules, { plan, step }, waiting, { now, inhibitions });
  const deadline = deadlineOf(gate.rules, plan, since);
  const until = found.length === 0 ? undefined : waitsUntil(found, deadline);
  const held = { update, step, ...waiting, reasons: found, until, deadline };
  const text = formatHeld(held);
  if (text !== (await store.waiting())) await store.saveWaiting(text);
  return found.length === 0 ? undefined : held;
}

/** What was last found, of the update that waits. */
export async function heldUpdate({ store }: Pick<LocalPorts, 'store'>): Promise<Held | undefined> {
  const text = await store.waiting();
  return text === undefined ? undefined : parseHeld(text);
}

/** There is no update any more. */
export async function forgetHeld({ store }: LocalPorts): Promise<void> {
  if ((await store.waiting()) !== undefined) await store.saveWaiting(undefined);
}

/** A person agrees to the installation of the update that waits. */
export async function rememberApproval(held: Held, { store }: LocalPorts): Promise<void> {
  if (!held.isApproved) await store.saveWaiting(formatHeld({ ...held, isApproved: true }));
}

/** Short enough to be typed; that of another update differs. */
function updateId(plan: Plan): string {
  return createHash('sha256').update(planDigest(plan)).digest('hex').slice(0, 12);
}

function formatHeld(held: Held): string {
  return JSON.stringify(heldJson(held));
}

/** As `status` shows it, too. */
export function heldJson({ since, until, deadline, reasons: found, ...rest }: Held): object {
  return {
    ...rest,
    since: formatInstant(since),
    until: until === undefined ? null : formatInstant(until),
    deadline: deadline === undefined ? null : formatInstant(deadline),
    reasons: found.map((reason) => {
      const { until: ends, ...words } = reason;
      return { ...words, until: ends === undefined ? null : formatInstant(ends) };
    }),
  };
}

function parseHeld(text: string): Held {
  const fields = new Fields(parseJson(Buffer.from(text), 'waiting'), 'waiting');
  const step = fields.string('step');
  return {
    update: fields.string('update'),
    step: step === 'download' ? step : 'install',
    since: parseInstant(fields.string('since'), fields.at('since')),
    isApproved: fields.boolean('isApproved'),
    until: instantIn(fields, 'until'),
    deadline: instantIn(fields, 'deadline'),
    reasons: fields.objects('reasons').map(readReason),
  };
}

function readReason(fields: Fields): Reason {
  const by = fields.string('by');
  const until = instantIn(fields, 'until');
  return {
    by: by === 'window' || by === 'consent' ? by : 'inhibitor',
    says: fields.string('says'),
    ...(until === undefined ? {} : { until }),
  };
}

function instantIn(fields: Fields, name: string): Instant | undefined {
  const text = fields.optionalString(name);
  return text === undefined ? undefined : parseInstant(text, fields.at(name));
}
