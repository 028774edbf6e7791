/** Whether strace may hold or end another program at a system call of its own. */
import { execFileSync } from 'node:child_process';

/** @returns why not, or `false` where it can */
export function canTrace(): string | false {
  try {
    execFileSync('strace', ['-qq', '-o', '/dev/null', 'true']);
    return false;
  } catch {
    return 'strace cannot trace here';
  }
}

/** Arguments of strace: the program stays before `call` for longer than any test. */
export function holdAt(calls: string, when: number): readonly string[] {
  const inject = `inject=${calls}:delay_enter=600000000:when=${String(when)}`;
  return ['-f', '-qq', '-o', '/dev/null', '-e', `trace=${calls}`, '-e', inject];
}
