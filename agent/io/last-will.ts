/** What this process has started and may not outlive it, however it ends. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';

/** Of processes; of groups with a minus sign, as kill(2) has it. */
const HELD = new Set<number>();

/** Programs come one after the other: one shell is for all of them, and not for the time after. */
const LINGER_MS = 1000;

/** Its input; absent while there is none. */
let shell: Writable | undefined;

/**
 * A shell, because what ends us by SIGKILL, or by Ctrl-C while a PKCS#11 library hangs, lets no code of
 * ours run: it sees that its input has ended. Ctrl-C does not reach it in a session of its own.
 */
const SCRIPT = `held=
while read -r line; do held=$line; done
for id in $held; do kill -KILL "$id"; done`;

process.on('exit', () => {
  for (const id of HELD) kill(id);
});

/**
 * The next agent would find it at work. It counts until it has ended: its number is somebody else's then.
 *
 * @param what - `group`: with all that is in the group which it leads
 * @returns `child`
 */
export function endsWithUs<T extends ChildProcess>(child: T, what: 'alone' | 'group'): T {
  const { pid } = child;
  if (pid === undefined) return child;
  const id = what === 'group' ? -pid : pid;
  HELD.add(id);
  write();
  child.once('exit', () => {
    HELD.delete(id);
    write();
  });
  return child;
}

function write(): void {
  shell ??= startShell();
  shell.write(`${[...HELD].join(' ')}\n`);
  if (HELD.size === 0) setTimeout(endShell, LINGER_MS).unref();
}

function endShell(): void {
  if (HELD.size > 0) return;
  shell?.end();
  shell = undefined;
}

function startShell(): Writable {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'ota-agent-last-will'], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
    env: {},
  });
  const { stdin } = child;
  const gone = (): void => {
    if (shell === stdin) shell = undefined;
  };
  child.once('error', gone).once('exit', gone).unref();
  stdin.on('error', gone);
  return stdin;
}

function kill(id: number): void {
  try {
    process.kill(id, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
