/** `ota-agent status --watch`: what the daemon does, as it does it. */
import { listenToDaemon } from '../io/api/client.ts';
import { OtaError } from '../errors.ts';
import type { CommandResult } from './result.ts';

interface Progress {
  readonly phase: string;
  readonly filename: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  readonly secondsLeft: number | null;
}

interface Watched {
  readonly socket: string;
  readonly isJson: boolean;
  /** What `status` prints, to begin with. */
  readonly first: CommandResult;
}

/**
 * Goes on until the daemon ends: events as JSON lines, or as words, with progress on one line of a
 * terminal.
 *
 * @throws OtaError USAGE if no daemon runs
 */
export async function watchStatus(
  { socket, isJson, first }: Watched,
  out: NodeJS.WriteStream,
): Promise<CommandResult> {
  const events = await listenToDaemon(socket);
  if (events === undefined) {
    const remedy = 'systemctl start ota-agent; without --watch, status needs none';
    throw new OtaError('USAGE', { what: 'no daemon runs that could be watched', remedy });
  }
  const show = isJson ? jsonLines(out) : words(out);
  if (isJson) out.write(`${JSON.stringify({ event: 'status', ...first.json })}\n`);
  else out.write(first.lines.map((line) => `${line}\n`).join(''));
  for await (const { event, data } of parseEvents(events)) show(event, data);
  return { exit: 0, json: { outcome: 'ended' }, lines: ['the daemon has ended'] };
}

/** Source: HTML Living Standard §9.2.6, for the fields that our daemon writes. */
async function* parseEvents(
  chunks: AsyncIterable<unknown>,
): AsyncGenerator<{ readonly event: string; readonly data: Record<string, unknown> }> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of chunks) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/su.exec(block) ?? [];
      if (event !== undefined && data !== undefined) {
        yield { event, data: JSON.parse(data) as Record<string, unknown> };
      }
    }
  }
}

type Show = (event: string, data: Record<string, unknown>) => void;

function jsonLines(out: NodeJS.WriteStream): Show {
  return (event, data) => out.write(`${JSON.stringify({ event, ...data })}\n`);
}

/** Where there is no terminal, every tenth of the way is a line. */
function words(out: NodeJS.WriteStream): Show {
  let isOpen = false;
  let last = '';
  return (event, data) => {
    if (event === 'progress') {
      const progress = data as unknown as Progress;
      if (out.isTTY) {
        out.write(`\r\u001b[K${progressLine(progress)}`);
        isOpen = true;
      } else {
        const { phase, filename, doneBytes, totalBytes } = progress;
        const milestone = `${phase} ${filename} ${String(tenth(doneBytes, totalBytes))}`;
        if (milestone !== last) out.write(`${progressLine(progress)}\n`);
        last = milestone;
      }
      return;
    }
    const facts = Object.entries(data).map(([name, value]) => `${name}=${printable(value)}`);
    out.write(`${isOpen ? '\n' : ''}${event} ${facts.join(' ')}\n`);
    isOpen = false;
  };
}

function tenth(done: number, total: number): number {
  return total === 0 ? 0 : Math.floor((done * 10) / total);
}

/** `download fw.img 12.3 of 40.0 MiB, 31 %, 1.9 MiB/s, 15 s left` */
export function progressLine(progress: Progress): string {
  const { phase, filename, doneBytes, totalBytes, bytesPerSecond, secondsLeft } = progress;
  const mebibytes = (bytes: number): string => (bytes / 1024 ** 2).toFixed(1);
  const known = totalBytes > 0;
  return [
    `${phase} ${printable(filename)} ${mebibytes(doneBytes)}${known ? ` of ${mebibytes(totalBytes)}` : ''} MiB`,
    ...(known ? [`${String(Math.floor((doneBytes * 100) / totalBytes))} %`] : []),
    `${mebibytes(bytesPerSecond)} MiB/s`,
    ...(secondsLeft === null || secondsLeft === 0 ? [] : [`${spanOf(secondsLeft)} left`]),
  ].join(', ');
}

function spanOf(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${String(whole)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${String(minutes)} min ${String(whole % 60)} s`;
  return `${String(Math.floor(minutes / 60))} h ${String(minutes % 60)} min`;
}

/** Names of images come over the network, and this is a terminal. */
function printable(value: unknown): string {
  return String(value).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (unit) => `\\u{${(unit.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
