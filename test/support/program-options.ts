/** Options of programs for developers: what one takes is said when it is asked, or used wrongly. */
import { parseArgs, type ParseArgsConfig } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>['values'];

/** Of a shell: used wrongly. */
const WRONG_USE = 2;

/** Ends the process after `--help`, with 0, and after options that the program does not know, with 2. */
export function programOptions<T extends Options>(usage: string, options: T): Values<T> {
  try {
    if (process.argv.includes('--help')) {
      process.stdout.write(`${usage}\n`);
      process.exit(0);
    }
    return parseArgs({ options }).values;
  } catch (error) {
    return endWith(error instanceof Error ? error.message : String(error), usage);
  }
}

/** A whole number of an option, from 1; ends the process where it is none. */
export function countGiven(name: string, text: string, usage: string): number {
  if (/^[1-9]\d{0,8}$/u.test(text)) return Number(text);
  return endWith(`--${name} takes a whole number from 1, not ${text}`, usage);
}

function endWith(problem: string, usage: string): never {
  process.stderr.write(`${problem}\n${usage}\n`);
  process.exit(WRONG_USE);
}
