/** What the swupdate installer needs of the settings: two slots that have nothing in common. */
import { join } from 'node:path';

import { invalid, missing, type LoadedSettings } from './config-problem.ts';
import type { Settings } from './settings.ts';

type Installer = Settings['installer'];
type Texts = 'swupdate_mode_a' | 'swupdate_mode_b' | 'swupdate_booted_a' | 'swupdate_booted_b';
type Lists = `swupdate_${'devices' | 'try' | 'keep'}_${'a' | 'b'}`;

export interface SwupdateRules {
  readonly type: 'swupdate';
  readonly socket: string;
  readonly quietMs: number;
  readonly softwareSet: string;
  readonly bootedFile: string;
  readonly fwEnv: string;
  /** Where the agent keeps what is in the slots. */
  readonly recordPath: string;
  readonly a: SwupdateSlot;
  readonly b: SwupdateSlot;
}

export interface SwupdateSlot {
  readonly mode: string;
  readonly devices: readonly string[];
  readonly booted: string;
  readonly attempt: ReadonlyMap<string, string>;
  readonly keep: ReadonlyMap<string, string>;
}

/** @throws OtaError CONFIG_INVALID */
export function readSwupdate(loaded: LoadedSettings, need: (name: Texts) => string): SwupdateRules {
  const { installer, storage } = loaded.settings;
  const slot = (name: 'a' | 'b'): SwupdateSlot => ({
    mode: need(`swupdate_mode_${name}`),
    devices: needList(loaded, `swupdate_devices_${name}`),
    booted: need(`swupdate_booted_${name}`),
    attempt: assignments(needList(loaded, `swupdate_try_${name}`)),
    keep: assignments(needList(loaded, `swupdate_keep_${name}`)),
  });
  const rules = {
    type: 'swupdate',
    socket: installer.swupdate_socket,
    quietMs: installer.swupdate_timeout,
    softwareSet: installer.swupdate_set,
    bootedFile: installer.booted_file ?? '/proc/cmdline',
    fwEnv: installer.swupdate_fw_env,
    recordPath: join(storage.path, 'swupdate-slots'),
    a: slot('a'),
    b: slot('b'),
  } as const;
  refuseSame(loaded, rules);
  refuseIncomplete(loaded, rules);
  return rules;
}

function needList(loaded: LoadedSettings, name: Lists): readonly string[] {
  const list: Installer[Lists] = loaded.settings.installer[name];
  if (list.length > 0) return list;
  throw missing(loaded, `installer.${name}`, 'installer.type = "swupdate" needs it');
}

/** What is the same for both slots would write, or find running, the wrong one. */
function refuseSame(loaded: LoadedSettings, { a, b }: SwupdateRules): void {
  const clashes = [
    ['mode', a.mode === b.mode],
    ['booted', a.booted === b.booted],
    ['devices', a.devices.some((path) => b.devices.includes(path))],
    ['try', same(a.attempt, b.attempt)],
    ['keep', same(a.keep, b.keep)],
  ] as const;
  for (const [name, clash] of clashes) {
    if (!clash) continue;
    const problem = `does not tell slot b from slot a: compare installer.swupdate_${name}_a`;
    throw invalid(loaded, `installer.swupdate_${name}_b`, { problem, remedy: 'give each its own' });
  }
}

function same(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  return [...one].every(([name, value]) => other.get(name) === value);
}

/** A variable that only one choice sets would stay behind when another is made. */
function refuseIncomplete(loaded: LoadedSettings, { a, b }: SwupdateRules): void {
  const wanted = [...a.keep.keys()].sort().join(', ');
  const lists = { keep_b: b.keep, try_a: a.attempt, try_b: b.attempt };
  for (const [name, list] of Object.entries(lists)) {
    if ([...list.keys()].sort().join(', ') === wanted) continue;
    throw invalid(loaded, `installer.swupdate_${name}`, {
      problem: 'does not set the same variables as installer.swupdate_keep_a',
      remedy: `set each of ${wanted}, and no other`,
    });
  }
}

function assignments(list: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    list.map((text) => {
      const at = text.indexOf('=');
      return [text.slice(0, at), text.slice(at + 1)] as const;
    }),
  );
}
