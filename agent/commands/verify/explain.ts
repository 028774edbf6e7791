/** The steps of a conversation as lines for people. */
import type { Step } from './transcript.ts';

const NOT_FACTS: ReadonlySet<string> = new Set(['step', 'repo', 'role', 'file', 'check', 'clause']);

/** One line a step: what kind, about what, and the facts. */
export function stepLines(steps: readonly Step[]): readonly string[] {
  return steps.map((step, index) => {
    const subject = [step['repo'], step['role'] ?? step['file']].filter(
      (part) => part !== undefined,
    );
    const clause = step['clause'] === undefined ? '' : ` (${String(step['clause'])})`;
    const check = step['check'] === undefined ? '' : ` ${String(step['check'])}${clause}`;
    const facts = Object.entries(step)
      .filter(([name]) => !NOT_FACTS.has(name))
      .map(([name, value]) => `${name}=${String(value)}`);
    const number = String(index + 1).padStart(3);
    const kind = String(step['step']).padEnd(6);
    return [`${number} ${kind} ${subject.join('/')}${check}`.trimEnd(), ...facts].join(' ');
  });
}
