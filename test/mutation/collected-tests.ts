/**
 * Stands in for `node:test` while mutants run: tests are collected, so that one process can run any
 * of them any number of times.
 *
 * Only what the tests that count use. Anything else fails on import instead of being passed over.
 */

type Body = () => unknown;

interface Suite {
  readonly name: string;
  readonly parent?: Suite;
  readonly before: Body[];
  readonly after: Body[];
}

/** One test with everything that has to run around it. */
export interface CollectedTest {
  readonly name: string;
  /** @throws whatever the test throws */
  readonly run: () => Promise<void>;
}

const collected: CollectedTest[] = [];
let suite: Suite = { name: '', before: [], after: [] };

/** Everything that importing `file` declares. */
export async function collect(file: string): Promise<readonly CollectedTest[]> {
  collected.length = 0;
  suite = { name: '', before: [], after: [] };
  await import(file);
  return [...collected];
}

export function describe(name: string, body: Body): void {
  const parent = suite;
  suite = { name, parent, before: [], after: [] };
  body();
  suite = parent;
}

export function test(name: string, body: Body): void {
  const own = suite;
  const around = lineage(own);
  collected.push({
    name: [...around.map((outer) => outer.name), name].filter((part) => part !== '').join(' > '),
    run: async () => {
      for (const { before } of around) for (const hook of before) await hook();
      try {
        await body();
      } finally {
        for (const { after } of around.toReversed()) for (const hook of after) await hook();
      }
    },
  });
}

export function beforeEach(hook: Body): void {
  suite.before.push(hook);
}

export function afterEach(hook: Body): void {
  suite.after.push(hook);
}

function lineage(inner: Suite): readonly Suite[] {
  return inner.parent === undefined ? [inner] : [...lineage(inner.parent), inner];
}
