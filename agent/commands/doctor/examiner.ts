/**
 * The process that examines. A PKCS#11 library or a provider can crash or hang it: `doctor.ts` then
 * starts another one that leaves out the check it was at.
 */
import { CHECKS } from './checks.ts';
import { Examination, type Result } from './check.ts';
import { examineAll } from './examine.ts';

export interface Order {
  readonly config: readonly string[];
  /** What is known already: checks that ended a process before. */
  readonly given: readonly Result[];
}

export type Report =
  { readonly begun: string } | { readonly ended: Result } | { readonly done: true };

process.once('message', (order: Order) => {
  void examine(order);
});

async function examine({ config, given }: Order): Promise<void> {
  const examination = new Examination(config, process.env);
  const known = new Map(given.map((result) => [result.name, result]));
  await examineAll(CHECKS, examination, known, {
    begun: (name) => {
      say({ begun: name });
    },
    ended: (result) => {
      say({ ended: result });
    },
  });
  await examination.find('http')?.close();
  await examination.find('storage')?.close();
  examination.find('token')?.close();
  process.send?.({ done: true } satisfies Report, () => process.exit(0));
}

function say(report: Report): void {
  process.send?.(report);
}
