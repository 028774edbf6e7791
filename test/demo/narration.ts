/** What the demonstration says. */
import { styleText } from 'node:util';

const WIDTH = 78;
let steps = 0;

/** A numbered heading for what comes next. */
export function step(title: string): void {
  steps += 1;
  process.stdout.write(`\n${styleText('bold', `${String(steps)}. ${title}`)}\n`);
}

/** A sentence or two, folded. */
export function say(text: string): void {
  let line = '  ';
  for (const word of text.split(' ')) {
    if (line.length + word.length > WIDTH) {
      process.stdout.write(`${line.trimEnd()}\n`);
      line = '  ';
    }
    line += `${word} `;
  }
  process.stdout.write(`${line.trimEnd()}\n`);
}

/** A fact on a line of its own, never folded: it is there to be copied. */
export function show(text: string): void {
  process.stdout.write(`    ${styleText('cyan', text)}\n`);
}
