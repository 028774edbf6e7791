/** What documents show of configuration is configuration. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { loadSettings } from '../../agent/config.ts';
import { fencesOf } from '../support/document.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { DOCUMENTS, ROOT } from './documents.ts';

const directory = temporaryDirectory('blocks');
after(() => {
  directory.remove();
});

for (const document of DOCUMENTS) {
  for (const { line, info, lines } of fencesOf(join(ROOT, document))) {
    if (info !== 'toml') continue;
    test(`${document}:${String(line)} is a fragment that the agent takes`, async () => {
      const file = join(directory.path, 'fragment.toml');
      // What is separated has to be something: the fragment says so of an installer that is there.
      const others = lines.includes('[installer]') ? [] : ['[installer]', 'path = "/opt/app"'];
      writeFileSync(file, [...lines, ...others].join('\n'));
      const { origins } = await loadSettings({ config: [file], roots: [] });
      assert.ok(origins.size > 0);
    });
  }
}

for (const document of DOCUMENTS) {
  for (const { line, info, lines } of fencesOf(join(ROOT, document))) {
    if (info !== 'json') continue;
    test(`${document}:${String(line)} is JSON`, () => {
      assert.doesNotThrow(() => JSON.parse(lines.join('\n')) as unknown);
    });
  }
}
