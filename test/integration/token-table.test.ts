import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { TOKENS, tokenRow, writtenRow } from '../contract/token-table.ts';

describe('the table of tokens, key types and TLS backends in README.md', () => {
  for (const kind of TOKENS) {
    test(`says of ${kind.name} what it does`, async () => {
      assert.equal(writtenRow(kind), await tokenRow(kind));
    });
  }
});
