/** What a command ends with: exit code, one JSON document, and lines for people. */
import type { Outcome } from '../cycle/cycle.ts';
import { heldJson, type Held } from '../cycle/hold.ts';
import type { Plan } from '../cycle/machine.ts';
import { handlingOf, type AnyOtaError, type FailureCode } from '../errors.ts';
import { remedyOf } from '../remedies.ts';
import type { Target } from '../uptane/plan.ts';
import { formatInstant } from '../uptane/time.ts';

export interface CommandResult {
  readonly exit: number;
  readonly json: object;
  readonly lines: readonly string[];
  /** For people, on standard error, whatever the result is. */
  readonly notes?: readonly string[];
  /** What was asked for is the lines themselves: they go to standard output, however it ends. */
  readonly isReport?: boolean;
}

const EXIT = {
  'up-to-date': 0,
  installed: 0,
  'rolled-back': 0,
  'update-available': 10,
  'reboot-required': 11,
  unconfirmed: 11,
  resumed: 0,
  aborted: 0,
  approved: 0,
  paused: 12,
  deferred: 12,
} as const;

/** A cycle's outcome as a command reports it. */
export function outcomeResult(outcome: Outcome): CommandResult {
  switch (outcome.outcome) {
    case 'up-to-date':
      return { exit: EXIT['up-to-date'], json: outcome, lines: ['up to date'] };
    case 'failed': {
      const { code, details } = outcome.failure;
      return failureResult(code, details);
    }
    case 'failed-before':
      return {
        ...planResult(outcome.outcome, outcome.plan, EXIT['up-to-date']),
        lines: [
          'the Director still wants an update that failed on this device; it is not tried again',
          'by itself: assign it again, or another one',
        ],
      };
    case 'unconfirmed':
      return {
        ...planResult(outcome.outcome, outcome.plan, EXIT.unconfirmed),
        lines: [
          'the new image runs, but is not confirmed: the device was not found healthy yet, see the log',
        ],
      };
    case 'deferred': {
      const { json, ...rest } = planResult(outcome.outcome, outcome.plan, EXIT.deferred);
      const until = formatInstant(outcome.until);
      const why = `deferred: the same image failed more than once; not tried before ${until}`;
      return { ...rest, json: { ...json, until }, lines: [why] };
    }
    case 'held': {
      const { json, ...rest } = planResult('deferred', outcome.plan, EXIT.deferred);
      const { held } = outcome;
      return { ...rest, json: { ...json, waiting: heldJson(held) }, lines: heldLines(held) };
    }
    default:
      return planResult(outcome.outcome, outcome.plan, EXIT[outcome.outcome]);
  }
}

/** Why it waits, and until when. */
function heldLines({ update, step, reasons, until, deadline }: Held): readonly string[] {
  return [
    `the update ${update} waits before its ${step}:`,
    ...reasons.map(({ says }) => `  ${says}`),
    ...(until === undefined ? [] : [`until ${formatInstant(until)}, as far as is known`]),
    ...(deadline === undefined ? [] : [`critical: goes through at ${formatInstant(deadline)}`]),
  ];
}

/** An update that `check` found, or that a cycle took to a certain point. */
export function planResult(
  outcome: keyof typeof EXIT | 'failed-before',
  plan: Plan,
  exit: number,
): CommandResult {
  const words = outcome.replace(/-/gu, ' ');
  const correlation = plan.correlationId === undefined ? {} : { correlationId: plan.correlationId };
  return {
    exit,
    json: { outcome, ...correlation, targets: plan.targets.map(targetJson) },
    lines:
      plan.targets.length === 0
        ? [words]
        : plan.targets.map(
            ({ ecu, filename, lengthBytes }) =>
              `${words}: ${filename} (${String(lengthBytes)} bytes) on ${ecu}`,
          ),
  };
}

/** An expected failure as a command reports it: on `--json` with code, attack and details. */
export function errorResult(error: AnyOtaError): CommandResult {
  const details = { ...error.details };
  return failureResult(error.code, details);
}

/** The same for a failure of before, which is remembered. */
export function failureResult(code: FailureCode, details: object): CommandResult {
  const { exit, attack } = handlingOf(code);
  const outcome = exit === 20 || exit === 31 ? 'refused' : 'failed';
  return {
    exit,
    json: { outcome, code, ...(attack === undefined ? {} : { attack }), details },
    lines: [
      `${outcome}: ${code}`,
      ...(attack === undefined ? [] : [`  looks like: ${attack}`]),
      ...Object.entries({ ...details, remedy: remedyOf(code, details) }).flatMap(detailLine),
    ],
  };
}

/** The remedy comes last in every row of the failure table, and is what a person looks for. */
function detailLine([name, value]: [string, unknown]): readonly string[] {
  const text = String(value);
  if (text === '' || (name === 'line' && value === 0)) return [];
  return [`  ${name === 'remedy' ? 'what to do' : name}: ${text}`];
}

function targetJson({ ecu, filename, lengthBytes, hashes }: Target): object {
  return { ecu, filename, length: lengthBytes, hashes: Object.fromEntries(hashes) };
}
