/** Faults at system calls that change storage: which there are in an update, and what follows from each. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { disturb, withDevice, type Aftermath } from '../crash/crash.ts';
import type { Ended, PoweredDevice } from '../crash/powered-device.ts';

export const CALLS = [
  'fsync',
  'fdatasync',
  'rename',
  'renameat',
  'renameat2',
  'write',
  'pwrite64',
  'copy_file_range',
  'ftruncate',
  'unlink',
  'unlinkat',
  'linkat',
  'symlink',
  'mkdir',
] as const;
export const FAULTS = [
  { fault: 'signal=SIGKILL' },
  { fault: 'error=EIO' },
  { fault: 'error=ENOSPC' },
] as const;

/** The n-th call of one kind for one path, in one cycle (from 1) of an update. */
export interface Site {
  readonly cycle: number;
  /** Or several, with commas. */
  readonly call: string;
  /** As the call has it; `@` is the device's directory. */
  readonly path: string;
  /** From 1. */
  readonly when: number;
}

export interface Fault extends Site {
  readonly fault: (typeof FAULTS)[number]['fault'];
}

/** What the agent said when it ended badly; empty where it went on. */
export type Disturbed = Aftermath & { readonly complaint: string };

const CYCLES = 2;
/** What the harness itself writes for the Director. */
const NOT_THE_AGENT = '@/manifests';
/** strace counts the calls of each thread by itself: all of the agent's for files are made by one. */
const ONE_THREAD = { UV_THREADPOOL_SIZE: '1' };

/** Every such call of an undisturbed update, in order. */
export async function sitesOf(scenario: string): Promise<readonly Site[]> {
  return withDevice(scenario, async (device) => {
    const sites: Site[] = [];
    for (let cycle = 1; cycle <= CYCLES; cycle += 1) {
      const { text } = await trace(device, ['-y', '-s', '4096', '-e', `trace=${CALLS.join(',')}`]);
      const counts = new Map<string, number>();
      const seen = new Set<string>();
      for (const { thread, call, path } of callsIn(text, device.directory)) {
        const counted = `${thread} ${call} ${path}`;
        const when = (counts.get(counted) ?? 0) + 1;
        counts.set(counted, when);
        const site = `${call} ${path} ${String(when)}`;
        if (!seen.has(site)) sites.push({ cycle, call, path, when });
        seen.add(site);
      }
      await device.reboot();
    }
    return sites;
  });
}

/** `met` in what it returns says whether the call was there to be disturbed. */
export async function disturbAt(scenario: string, at: Fault): Promise<Disturbed> {
  let complaint = '';
  const run = async (device: PoweredDevice): Promise<boolean> => {
    const inject = `inject=${at.call}:${at.fault}:when=${String(at.when)}`;
    const path = at.path.replace('@', device.directory);
    const filter = ['-P', path, '-e', `trace=${at.call}`, '-e', inject];
    const { text, ended } = await trace(device, filter);
    // It may have been a program of the installer that was killed.
    if (at.fault === 'signal=SIGKILL') return text.includes('killed by SIGKILL');
    const how = String(ended.signal ?? ended.code);
    complaint = ended.code === 0 ? '' : `${how}: ${ended.complained}`;
    return text.includes('(INJECTED)');
  };
  const comesBack = at.fault === 'signal=SIGKILL' ? 'rebooted' : 'restarted';
  const after = await disturb(scenario, { cycle: at.cycle, run }, comesBack);
  return { ...after, complaint };
}

async function trace(
  device: PoweredDevice,
  filter: readonly string[],
): Promise<{ readonly text: string; readonly ended: Ended }> {
  const at = join(device.directory, 'trace');
  // No --seccomp-bpf: with it strace 6.1 loses signals that are for any thread but the first.
  const strace = ['strace', '-f', '-q', '-o', at, ...filter];
  const ended = await device.runCycleUnder(strace, ONE_THREAD);
  return { text: readFileSync(at, 'utf8'), ended };
}

interface Call {
  readonly thread: string;
  readonly call: string;
  readonly path: string;
}

function callsIn(trace: string, directory: string): Call[] {
  return trace.split('\n').flatMap((line) => {
    const [, thread = '', call = '', args = ''] = /^(\d+) +(\w+)\((.*)$/u.exec(line) ?? [];
    if (!args.includes(directory)) return [];
    const path = pathIn(args, directory).replace(directory, '@');
    return path === NOT_THE_AGENT ? [] : [{ thread, call, path }];
  });
}

/** Of an open file, or as it was given: a relative one is known to strace as it is. */
function pathIn(args: string, directory: string): string {
  const named = [...args.matchAll(/"([^"]*)"|^\d+<([^>]*)>/gu)].map(
    ([, name, file]) => name ?? file ?? '',
  );
  return named.find((name) => name.startsWith(directory)) ?? named[0] ?? '';
}
