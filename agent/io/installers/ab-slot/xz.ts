/** The xz program as a stream: bounded in memory, and in how long it may do nothing. */
import { spawn } from 'node:child_process';

import { causeOf } from '../../../errors.ts';
import { endsWithUs } from '../../last-will.ts';
import { failed } from './boot-choice.ts';
import { NotUnpackable, type Unpacker } from './unpack.ts';

/** `xz -9` needs 65 MiB to unpack. */
const OPTIONS = ['--decompress', '--stdout', '--format=xz', '--memlimit-decompress=128MiB'];
const SAID_CHARACTERS = 1024;

export function openXz(stallMs: number): Unpacker {
  // A group of its own: what it has started ends with it.
  const child = endsWithUs(spawn('xz', OPTIONS, { stdio: 'pipe', detached: true }), 'group');
  let missing: Error | undefined;
  let stalled = false;
  let said = '';
  const kill = (): void => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };
  /** Since when it is waited for. */
  let since = Infinity;
  const watch = setInterval(() => {
    if (performance.now() - since < stallMs) return;
    stalled = true;
    kill();
  }, stallMs / 4);
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-SAID_CHARACTERS);
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('close', (code, signal) => {
      resolve({ code, signal });
    });
  });
  child.once('error', (error) => {
    missing = error;
    child.stdout.destroy(error);
  });
  return {
    input: child.stdin,
    output: child.stdout,
    hasTheTurn: (itHas) => {
      since = itHas ? performance.now() : Infinity;
    },
    moved: () => {
      if (since !== Infinity) since = performance.now();
    },
    demandRan: async () => {
      const { signal } = await ended;
      const seconds = String(stallMs / 1000);
      if (stalled)
        throw failed(`xz did nothing for ${seconds} s and was ended: see what hinders it`);
      if (signal !== null) throw failed(`xz was ended by ${signal}: ${inOneLine(said)}`);
    },
    demandEnd: async () => {
      const { code } = await ended;
      if (code !== 0) throw new NotUnpackable(inOneLine(said));
    },
    explain: (error) => {
      if (missing === undefined) return error;
      return failed(`xz cannot be run: ${causeOf(missing)}; install xz-utils`, missing);
    },
    close: () => {
      clearInterval(watch);
      kill();
    },
  };
}

function inOneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/gu, ', ');
}
