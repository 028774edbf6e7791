/** A PC under software emulation, with one disk and a serial line. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** Plain lines: what a terminal would do with them is of no interest. */
// eslint-disable-next-line no-control-regex -- escape sequences begin with a control character
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]|[\r\0]/gu;

/**
 * Switches it on, and takes its power away once it has said enough.
 *
 * @param isEnough - asked after each line that `line` matches
 * @returns these lines
 * @throws Error with all that it has said, if it is not enough after `limitMs`
 */
export async function powerOn(
  disk: string,
  line: RegExp,
  count: number,
  limitMs: number,
): Promise<readonly string[]> {
  const machine = spawn(
    'qemu-system-x86_64',
    [
      ...['-accel', 'tcg', '-m', '64', '-nodefaults', '-nographic', '-serial', 'stdio'],
      ...['-drive', `file=${disk},format=raw,if=ide`],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = once(machine, 'close');
  const timer = setTimeout(() => machine.kill('SIGKILL'), limitMs);
  const all: string[] = [];
  const found: string[] = [];
  for await (const raw of createInterface({ input: machine.stdout })) {
    const text = raw.replace(ESCAPES, '');
    all.push(text);
    const [said] = line.exec(text) ?? [];
    if (said !== undefined) found.push(said);
    if (found.length === count) machine.kill('SIGKILL');
  }
  await ended;
  clearTimeout(timer);
  if (found.length < count) throw new Error(`it said:\n${all.join('\n')}`);
  return found.slice(0, count);
}
