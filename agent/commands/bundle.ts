/** `ota-agent bundle`: what support needs to see of this device, in one archive, without secrets. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { arch, release, tmpdir, uptime } from 'node:os';
import { join, resolve } from 'node:path';

import { create } from 'tar';

import { KEYS, valuesOf, valuesOfComponent } from '../config-keys.ts';
import type { LoadedSettings } from '../config-problem.ts';
import { shownValue } from '../config-shown.ts';
import { causeOf, OtaError, scrubbed } from '../errors.ts';
import { askText } from '../io/api/client.ts';
import { runTool } from '../io/run-tool.ts';
import { VERSION } from '../version.ts';
import { withStorage, type CommandContext } from './context.ts';
import { doctorCommand } from './doctor.ts';
import type { CommandResult } from './result.ts';
import { historyCommand, statusNow } from './status.ts';

const NAME = 'ota-agent-bundle';
const TOOL_TIMEOUT_MS = 20_000;

/**
 * What cannot be had is said in its place and keeps nothing else from coming.
 *
 * @throws OtaError USAGE, FILE_UNREADABLE if the archive cannot be written
 */
export async function bundleCommand(context: CommandContext): Promise<CommandResult> {
  const output = resolve(outputOf(context.rest));
  const directory = await mkdtemp(join(tmpdir(), `${NAME}-`));
  try {
    const files = await collect(context, join(directory, NAME));
    await pack(directory, output);
    return {
      exit: 0,
      json: { outcome: 'written', path: output, files },
      lines: [`${output}: ${files.join(', ')}`, 'look at it before you give it away'],
    };
  } finally {
    await rm(directory, { recursive: true });
  }
}

function outputOf(rest: readonly string[]): string {
  const [option, file, ...more] = rest;
  if (option === undefined) return `${NAME}.tar.gz`;
  if (option === '--output' && file !== undefined && more.length === 0) return file;
  const what = `bundle does not take ${rest.join(' ')}`;
  throw new OtaError('USAGE', { what, remedy: 'ota-agent bundle [--output FILE]' });
}

type Part = readonly [name: string, content: () => Promise<string>];

async function collect(context: CommandContext, directory: string): Promise<readonly string[]> {
  await mkdir(join(directory, 'metadata'), { recursive: true });
  const names: string[] = [];
  for (const [name, content] of [...partsOf(context), ...(await metadataParts(context))]) {
    await writeFile(join(directory, name), scrubbed(await orWhyNot(content)));
    names.push(name);
  }
  return names;
}

function partsOf(context: CommandContext): readonly Part[] {
  const { loaded } = context;
  const { settings, files } = loaded;
  const [shown, components] = [shownSettings(loaded), shownComponents(loaded)];
  const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;
  return [
    ['system.json', async () => json(await system())],
    ['config.json', () => Promise.resolve(json({ files, settings: shown, components }))],
    ['status.json', async () => json((await statusNow(context)).json)],
    ['history.json', async () => json((await historyCommand(context)).json)],
    ['doctor.txt', async () => (await doctorCommand(files)).lines.join('\n')],
    ['metrics.txt', async () => (await askText(settings.api.socket, '/metrics')) ?? 'no daemon\n'],
    ['journal.txt', journal],
  ];
}

/** Metadata that is trusted: public, and what most questions are about. */
async function metadataParts(context: CommandContext): Promise<readonly Part[]> {
  try {
    const trusted = await withStorage(context, ({ store }) => store.loadTrusted());
    return [...trusted].map(([name, bytes]) => [
      `metadata/${name.replace(/[^\w.-]/gu, '-')}.json`,
      () => Promise.resolve(Buffer.from(bytes).toString()),
    ]);
  } catch (error) {
    return [['metadata/none.txt', () => Promise.resolve(causeOf(error))]];
  }
}

async function orWhyNot(content: () => Promise<string>): Promise<string> {
  try {
    return await content();
  } catch (error) {
    return `not here: ${causeOf(error)}\n`;
  }
}

async function system(): Promise<object> {
  return {
    version: VERSION,
    node: process.versions,
    kernel: release(),
    architecture: arch(),
    uptimeSeconds: Math.round(uptime()),
    now: new Date().toISOString(),
    osRelease: await readFile('/etc/os-release', 'utf8').catch(causeOf),
  };
}

function shownSettings({ settings }: LoadedSettings): object {
  const values = valuesOf(settings);
  const shown = [...KEYS.keys()].map((key) => [key, shownValue(key, values.get(key) ?? null)]);
  return Object.fromEntries(shown) as object;
}

function shownComponents({ settings }: LoadedSettings): readonly object[] {
  return settings.component.map((one) => {
    const shown = [...valuesOfComponent(one)].map(([key, value]) => [key, shownValue(key, value)]);
    return Object.fromEntries(shown) as object;
  });
}

async function journal(): Promise<string> {
  const args = ['--unit', 'ota-agent*', '--lines', '2000', '--no-pager', '--output', 'short-iso'];
  const { code, stdout, stderr } = await runTool('journalctl', args, {
    timeoutMs: TOOL_TIMEOUT_MS,
  });
  return code === 0 ? stdout : stderr;
}

async function pack(directory: string, output: string): Promise<void> {
  try {
    // Nobody else's, before there is anything in it; and no link that others have put there.
    await writeFile(output, '', { mode: 0o600, flag: 'wx' });
    await create({ gzip: true, file: output, cwd: directory, portable: true }, [NAME]);
  } catch (error) {
    const remedy = 'name another place with --output, where no file is yet';
    const details = { path: output, what: 'the archive', cause: causeOf(error), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause: error });
  }
}
