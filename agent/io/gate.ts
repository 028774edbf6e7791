/** The Gate port: what the settings want an update to wait for, and the operator's programs. */
import { basename } from 'node:path';

import { causeOf } from '../errors.ts';
import type { Gate } from '../ports.ts';
import type { Settings } from '../settings.ts';
import { runTool } from './run-tool.ts';

/** Part of a sentence in the status. */
const MAX_SAID = 200;

/** @returns nothing where updates wait for nothing */
export function openGate(settings: Settings['update']): { readonly gate?: Gate } {
  const { inhibitors, download_inhibitors, inhibitor_timeout: timeoutMs } = settings;
  const programs = { install: inhibitors, download: download_inhibitors };
  const windows = { install: settings.windows, download: settings.download_windows };
  const lists = [...Object.values(programs), ...Object.values(windows)];
  if (settings.consent === 'never' && lists.every((list) => list.length === 0)) return {};
  const gate: Gate = {
    rules: {
      windows,
      consent: settings.consent,
      consentFor: settings.consent_for,
      criticalAfterMs: settings.critical_after,
    },
    inhibitions: async (before) => {
      const found = [];
      for (const [program = '', ...args] of programs[before]) {
        const said = await refusalOf(program, args, timeoutMs);
        if (said !== undefined) found.push({ name: basename(program), said });
      }
      return found;
    },
  };
  return { gate };
}

/** A program that cannot be asked holds the update back: it was put there to be sure. */
async function refusalOf(
  program: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<string | undefined> {
  try {
    const { code, stdout, stderr } = await runTool(program, args, { timeoutMs });
    if (code === 0) return undefined;
    const words = lastLine(stdout) || lastLine(stderr) || `exit code ${String(code)}`;
    return words.slice(0, MAX_SAID);
  } catch (error) {
    return causeOf(error).slice(0, MAX_SAID);
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}
