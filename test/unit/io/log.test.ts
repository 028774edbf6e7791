import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import { test } from 'node:test';

import fc from 'fast-check';

import { openLog, type Log, type LogOptions } from '../../../agent/io/log.ts';
import { OtaError } from '../../../agent/errors.ts';

function capture(
  format: LogOptions['format'],
  level: LogOptions['level'] = 'debug',
): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const stream = { write: (text: string) => lines.push(text) };
  return { log: openLog({ level, format }, stream, {}), lines };
}

test('journal lines begin with the priority of sd-daemon(3) and carry no time', () => {
  const { log, lines } = capture('journal');
  log.debug('d');
  log.info('i', { ecu: 'gw-1', lengthBytes: 7 });
  log.warn('w', { filename: 'a b' });
  log.error('e', { cause: 'x="1"' });
  assert.deepEqual(lines, [
    '<7>d\n',
    '<6>i ecu=gw-1 lengthBytes=7\n',
    '<4>w filename="a b"\n',
    '<3>e cause="x=\\"1\\""\n',
  ]);
});

test('pretty lines begin with the time in UTC and the level', () => {
  const { log, lines } = capture('pretty');
  log.info('polled', { code: 'OK' });
  assert.match(
    lines.join(''),
    /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z info {2}polled code=OK\n$/,
  );
});

test('json lines are one document each', () => {
  const { log, lines } = capture('json');
  log.warn('100% %s %d %%', { attempt: 2 });
  const { time, ...rest } = JSON.parse(lines.join('')) as Record<string, unknown>;
  assert.deepEqual(rest, { level: 'warn', message: '100% %s %d %%', attempt: 2 });
  assert.ok(!Number.isNaN(Date.parse(String(time))));
});

test('lines below the level are not written', () => {
  const { log, lines } = capture('journal', 'warn');
  log.info('no');
  log.warn('yes');
  assert.deepEqual(lines, ['<4>yes\n']);
});

test('only listed fields pass; the names of the others are said, their values are not', () => {
  for (const format of ['journal', 'pretty', 'json'] as const) {
    const { log, lines } = capture(format);
    log.info('m', { pin: '1234', ecu: 'gw-1', level: 'error', message: 'forged', password: 'x9' });
    const [line = ''] = lines;
    assert.match(line, /redacted[=":]+pin level message password/);
    assert.match(line, /gw-1/);
    assert.doesNotMatch(line, /1234|forged|x9/);
  }
});

test('PINs and passwords inside URIs are taken out of messages and facts', () => {
  const uri = 'pkcs11:token=ota;object=tls?pin-value=12%2034&module-name=x';
  const url = 'https://me:hunter2@gw.example/director';
  const failure = new OtaError('TOKEN_ABSENT', { uri, found: url, remedy: 'r' });
  for (const format of ['journal', 'pretty', 'json'] as const) {
    const { log, lines } = capture(format);
    log.error(failure.message, { ...failure.details });
    const text = lines.join('');
    assert.doesNotMatch(text, /12%2034|hunter2/);
    assert.match(text, /pin-value=\(redacted\)&module-name=x/);
    assert.match(text, /https:\/\/\(redacted\)@gw\.example\/director/);
  }
});

test('text from outside can neither start a line nor steer a terminal', () => {
  const hostile = 'a\n<3>forged\r\u001b[2J\u009b\u202e\u2028b';
  const { log, lines } = capture('journal');
  log.info(hostile, { answer: hostile });
  const shown = String.raw`a\u{a}<3>forged\u{d}\u{1b}[2J\u{9b}\u{202e}\u{2028}b`;
  const quoted = String.raw`"a\n<3>forged\r\u001b[2J\u{9b}\u{202e}\u{2028}b"`;
  assert.deepEqual(lines, [`<6>${shown} answer=${quoted}\n`]);
});

test('whatever is logged is one line per call, without control characters', () => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }));
  fc.assert(
    fc.property(fc.constantFrom('journal', 'pretty'), text, text, (format, message, cause) => {
      const { log, lines } = capture(format);
      log.info(message, { cause });
      assert.equal(lines.length, 1);
      assert.match(lines.join(''), /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*\n$/u);
    }),
  );
});

test('auto is the journal only where JOURNAL_STREAM names the stream (systemd.exec(5))', (t) => {
  const fd = openSync(devNull, 'w');
  t.after(() => {
    closeSync(fd);
  });
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const journal = `${String(dev)}:${String(ino)}`;
  const first = (env: NodeJS.ProcessEnv, stream: { fd?: number }): string => {
    const lines: string[] = [];
    const write = (text: string): number => lines.push(text);
    openLog({ level: 'info', format: 'auto' }, { ...stream, write }, env).info('m');
    return lines.join('');
  };
  assert.equal(first({ JOURNAL_STREAM: journal }, { fd }), '<6>m\n');
  assert.match(first({ JOURNAL_STREAM: `${journal}0` }, { fd }), /^\d{4}-.*Z info {2}m\n$/);
  assert.match(first({ JOURNAL_STREAM: journal }, {}), /^\d{4}-.*Z info {2}m\n$/);
  assert.match(first({}, { fd }), /^\d{4}-.*Z info {2}m\n$/);
});
