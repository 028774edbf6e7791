import { test } from 'node:test';
import { RotationBench } from '../support/rotation-bench.ts';
import { emulator } from '../support/token-world.ts';
test('proto', async () => {
  const bench = await RotationBench.open(emulator);
  try {
    for (const s of ['certificate', 'tls', 'uptane'] as const) {
      const t = performance.now();
      const r = await bench.run({ rotate: s });
      console.log(s, performance.now() - t, JSON.stringify(r, null, 1));
    }
    console.log(await bench.known(), await bench.lastVerdict());
  } finally { await bench.close(); }
});
