/**
 * Log lines: for the journal, for machines, or for people.
 *
 * What may be written is a list of names, not a list of exceptions: a field that nobody thought
 * about is left out. Text that came over the network can neither start a line nor steer a terminal.
 */
import { fstatSync } from 'node:fs';

import { pino, stdTimeFunctions, type DestinationStream } from 'pino';

import { scrubbed } from '../errors.ts';
import { permitted, type Facts } from './log-fields.ts';

type Write = (message: string, facts?: Facts) => void;

export interface Log {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
}

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: 'auto' | 'journal' | 'json' | 'pretty';
}

/** Where lines go, usually standard error. */
export interface LogStream {
  write(text: string): unknown;
  readonly fd?: number;
}

/** @param env - for JOURNAL_STREAM, with which systemd says that `stream` is the journal */
export function openLog(options: LogOptions, stream: LogStream, env = process.env): Log {
  const { level } = options;
  const logger = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination(options.format, stream, env),
  );
  const writer =
    (severity: LogOptions['level']): Write =>
    (message, facts = {}) => {
      if (logger.isLevelEnabled(severity)) logger[severity](permitted(facts), scrubbed(message));
    };
  return {
    debug: writer('debug'),
    info: writer('info'),
    warn: writer('warn'),
    error: writer('error'),
  };
}

function destination(
  format: LogOptions['format'],
  stream: LogStream,
  env: NodeJS.ProcessEnv,
): DestinationStream {
  const automatic = isJournal(stream, env) ? 'journal' : 'pretty';
  const chosen = format === 'auto' ? automatic : format;
  return { write: (line) => stream.write(FORMS[chosen](line)) };
}

const FORMS = { json: (line: string) => line, journal: journalLine, pretty: prettyLine };

/**
 * Children of a service inherit JOURNAL_STREAM, so it is the journal only if the numbers agree.
 *
 * Source: systemd.exec(5), "JOURNAL_STREAM".
 */
function isJournal({ fd }: LogStream, env: NodeJS.ProcessEnv): boolean {
  if (fd === undefined || env['JOURNAL_STREAM'] === undefined) return false;
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return env['JOURNAL_STREAM'] === `${String(dev)}:${String(ino)}`;
}

/** Source: sd-daemon(3), priorities as in syslog(3). */
const PRIORITY = { debug: 7, info: 6, warn: 4, error: 3 };

interface Line {
  readonly level: LogOptions['level'];
  readonly time: string;
  readonly message: string;
  readonly facts: Facts;
}

/** The line that pino just made, taken apart again. */
function read(json: string): Line {
  const { level, time, message, ...facts } = JSON.parse(json) as Omit<Line, 'facts'> & Facts;
  return { level, time, message, facts };
}

function journalLine(json: string): string {
  const { level, message, facts } = read(json);
  return `<${String(PRIORITY[level])}>${words(message, facts)}\n`;
}

function prettyLine(json: string): string {
  const { level, time, message, facts } = read(json);
  return `${time} ${level.padEnd(5)} ${words(message, facts)}\n`;
}

function words(message: string, facts: Facts): string {
  const fields = Object.entries(facts).map(([name, value]) => `${name}=${quoted(value)}`);
  return [printable(message), ...fields].join(' ');
}

function quoted(value: string | number | boolean): string {
  const text = String(value);
  return printable(/[\s="]/u.test(text) ? JSON.stringify(text) : text);
}

/** Line ends forge lines, escape sequences steer terminals, direction marks reorder what is read. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (unit) => `\\u{${(unit.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
