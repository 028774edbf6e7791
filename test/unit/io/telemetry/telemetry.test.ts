/** What becomes of the gateway's answers to what it is told. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { isOtaError } from '../../../../agent/errors.ts';
import type { Request, Response } from '../../../../agent/io/http.ts';
import { contentOf, type Source } from '../../../../agent/io/telemetry/source.ts';
import { HttpTelemetry } from '../../../../agent/io/telemetry/telemetry.ts';

describe('the gateway is told', () => {
  let facts: Map<string, string>;
  let asked: string[];
  let failures: unknown[];
  /** By path; 200 by default. */
  let answers: Map<string, number | Error>;
  beforeEach(() => {
    facts = new Map();
    asked = [];
    failures = [];
    answers = new Map();
  });

  const send = ({ method, url, body }: Request): Promise<Response> => {
    const { pathname } = new URL(url);
    asked.push(`${method} ${pathname} ${Buffer.from(body ?? []).toString()}`);
    const answer = answers.get(pathname) ?? 200;
    if (answer instanceof Error) return Promise.reject(answer);
    const words = (async function* () {
      yield await Promise.resolve(Buffer.from('words of the server'));
    })();
    const discard = (): Promise<void> => Promise.resolve();
    return Promise.resolve({ status: answer, headers: {}, body: words, discard });
  };
  const store = {
    fact: (name: string) => Promise.resolve(facts.get(name)),
    saveFact: (name: string, value: string) => Promise.resolve(void facts.set(name, value)),
  };
  const source = (path: string, value: unknown): Source => ({
    path,
    read: () => Promise.resolve(value === undefined ? undefined : contentOf(value)),
  });
  const report = async (...sources: readonly Source[]): Promise<void> => {
    const telemetry = new HttpTelemetry({ send }, 'https://gateway.test', store, sources);
    await telemetry.report((error) => failures.push(error));
  };

  test('each part once, and that with nothing to tell not at all', async () => {
    const parts = [source('/one', { a: 1 }), source('/none', undefined), source('/two', [2])];
    await report(...parts);
    await report(...parts);
    assert.deepEqual(asked, ['PUT /one {"a":1}', 'PUT /two [2]']);
    assert.deepEqual([...facts.keys()], ['telemetry/one', 'telemetry/two']);
  });

  for (const status of [404, 405, 410, 501]) {
    test(`nothing more of what it does not keep: ${String(status)} is no failure`, async () => {
      answers.set('/one', status);
      await report(source('/one', 1));
      await report(source('/one', 1));
      assert.deepEqual([asked.length, failures], [1, []]);
    });
  }

  test('nothing again that it has refused, which is said once, with its words', async () => {
    answers.set('/one', 400);
    await report(source('/one', 1));
    await report(source('/one', 1));
    assert.equal(asked.length, 1);
    const [failure, ...more] = failures;
    assert.ok(isOtaError(failure) && failure.code === 'GATEWAY_ANSWER');
    assert.deepEqual(
      { ...failure.details },
      { url: 'https://gateway.test/one', status: 400, answer: 'words of the server' },
    );
    assert.deepEqual(more, []);
    await report(source('/one', 2));
    assert.equal(asked.length, 2, 'what has changed may be liked better');
  });

  for (const later of [429, 500, 503, new Error('the connection broke')]) {
    test(`at the next poll what it could not take: ${String(later)}`, async () => {
      answers.set('/one', later);
      await report(source('/one', 1), source('/two', 2));
      assert.equal(failures.length, 1);
      assert.deepEqual([...facts.keys()], ['telemetry/two'], 'the others are told all the same');
      answers.clear();
      await report(source('/one', 1), source('/two', 2));
      assert.deepEqual(asked, ['PUT /one 1', 'PUT /two 2', 'PUT /one 1']);
    });
  }
});
