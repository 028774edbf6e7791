/** Prints what the last runs of Stryker found, file by file, as Markdown; then every mutant left. */
import { readFileSync } from 'node:fs';

interface Mutant {
  readonly mutatorName: string;
  readonly replacement?: string;
  readonly status: string;
  readonly location: { readonly start: { readonly line: number; readonly column: number } };
}

interface Report {
  readonly files: Readonly<Record<string, { readonly mutants: readonly Mutant[] }>>;
}

const CELLS = ['Killed', 'Timeout', 'Survived', 'NoCoverage'] as const;

/** Mutants that do not even start are none, as Stryker counts. */
function row(name: string, mutants: readonly Mutant[]): string {
  const [killed = 0, timeout = 0, survived = 0, noCoverage = 0] = CELLS.map(
    (cell) => mutants.filter(({ status }) => status === cell).length,
  );
  const all = killed + timeout + survived + noCoverage;
  const score = (((killed + timeout) / all) * 100).toFixed(1);
  return `| ${[name, all, killed, timeout, survived, noCoverage, score].join(' | ')} |`;
}

const files = process.argv
  .slice(2)
  .map((file) => JSON.parse(readFileSync(file, 'utf8')) as Report)
  .flatMap((report) => Object.entries(report.files))
  .filter(([, { mutants }]) => mutants.length > 0);
console.log('| file | mutants | killed | timeout | survived | not covered | score |');
console.log('| --- | --: | --: | --: | --: | --: | --: |');
for (const [name, { mutants }] of files) console.log(row(name, mutants));
console.log(
  row(
    '**all**',
    files.flatMap(([, { mutants }]) => mutants),
  ),
);
for (const [name, { mutants }] of files) {
  for (const { mutatorName, replacement = '', status, location } of mutants) {
    if (status === 'Killed' || status === 'Timeout') continue;
    const { line, column } = location.start;
    const place = `${name}:${String(line)}:${String(column)}`;
    console.log([place, status, mutatorName, JSON.stringify(replacement)].join(' '));
  }
}
