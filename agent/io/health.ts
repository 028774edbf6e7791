/** The Health port: programs of the operator, and units of systemd. */
import { basename } from 'node:path';

import { causeOf, OtaError } from '../errors.ts';
import type { Health } from '../ports.ts';
import { runTool, ToolFailure, type ToolResult } from './run-tool.ts';

export interface HealthSettings {
  /** Programs and their arguments; each has to end with 0. */
  readonly commands: readonly (readonly string[])[];
  readonly units: readonly string[];
  /** Of each command. */
  readonly timeoutMs: number;
}

const SYSTEMCTL = 'systemctl';

export function openHealth({ commands, units, timeoutMs }: HealthSettings): Health {
  return {
    check: async () => {
      for (const unit of units) await demandActive(unit, timeoutMs);
      for (const [program = '', ...args] of commands) {
        await demandSuccess(program, args, timeoutMs);
      }
    },
  };
}

/** `is-active` says the state on standard output and exits with 3 for any but `active`. */
async function demandActive(unit: string, timeoutMs: number): Promise<void> {
  const check = `unit ${unit}`;
  const { code, stdout, stderr } = await run(
    check,
    SYSTEMCTL,
    ['is-active', '--', unit],
    timeoutMs,
  );
  if (code !== 0) throw unhealthy(check, lastLine(stdout) || lastLine(stderr));
}

async function demandSuccess(
  program: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const check = `command ${basename(program)}`;
  const { code, stdout, stderr } = await run(check, program, args, timeoutMs);
  if (code === 0) return;
  const words = lastLine(stderr) || lastLine(stdout);
  throw unhealthy(check, `exit code ${String(code)}${words === '' ? '' : `: ${words}`}`);
}

async function run(
  check: string,
  program: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<ToolResult> {
  try {
    return await runTool(program, args, { timeoutMs });
  } catch (error) {
    if (error instanceof ToolFailure) throw unhealthy(check, causeOf(error));
    throw error;
  }
}

function unhealthy(check: string, said: string): OtaError<'HEALTH_CHECK_FAILED'> {
  return new OtaError('HEALTH_CHECK_FAILED', { check, said: said.slice(0, MAX_SAID) });
}

/** It goes into the report for the Director. */
const MAX_SAID = 200;

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}
