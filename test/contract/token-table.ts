/**
 * The table of tokens, key types and TLS backends in README.md, made of what they really do.
 *
 * `node test/contract/token-table.ts --write` replaces it; without, it is printed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { KeyType } from '../../agent/io/token/key-types.ts';
import { makeAuthority, makeLeaf } from '../support/certificates.ts';
import { inChild } from '../support/in-child.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  emulator,
  emulatorForUser,
  emulatorOnRpmb,
  isolated,
  softHsm,
  tpm,
  type TokenKind,
} from '../support/token-world.ts';

const SCENARIOS = join(import.meta.dirname, 'token-table.scenarios.ts');
const README = join(import.meta.dirname, '../../README.md');
const BEGIN = '<!-- token table: made by test/contract/token-table.ts -->';
const END = '<!-- end of token table -->';
const TYPES = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519'] as const;
/** Nobody who knows Directors should be misled by this cell. */
const FOOTNOTES: Readonly<Partial<Record<KeyType, string>>> = { 'ec-p256': ' [^ec]' };

export const TOKENS: readonly TokenKind[] = [
  emulator,
  emulatorOnRpmb,
  emulatorForUser,
  softHsm,
  tpm,
  ...[emulator, softHsm, tpm].map(isolated),
];

/** One row, measured. */
export async function tokenRow(kind: TokenKind): Promise<string> {
  const pki = temporaryDirectory('table');
  const world = await kind.open();
  try {
    const authority = makeAuthority(pki.path, 'devices');
    const localhost = { commonName: 'localhost', alternativeNames: 'DNS:localhost' };
    const server = makeLeaf(pki.path, authority, localhost);
    const common = { settings: world.settings, authority, server, directory: pki.path };
    await call('initialise', common, world.env);
    const cells: string[] = [];
    for (const type of TYPES) {
      const uses = (await call('probe', { ...common, type }, world.env)) as string[];
      cells.push(cell(type, uses));
    }
    return `| ${kind.name} | engine | ${cells.join(' | ')} |`;
  } finally {
    await world.close();
    pki.remove();
  }
}

/** The row that README.md has for a token. */
export function writtenRow({ name }: TokenKind): string | undefined {
  const normalised = table().map((line) => line.replace(/ +/gu, ' '));
  return normalised.find((line) => line.startsWith(`| ${name} |`));
}

function cell(type: KeyType, uses: readonly string[]): string {
  if (uses.length === 0) return '–';
  return uses.join(', ') + (uses.includes('Uptane') ? (FOOTNOTES[type] ?? '') : '');
}

function table(): string[] {
  const readme = readFileSync(README, 'utf8');
  return readme.slice(readme.indexOf(BEGIN), readme.indexOf(END)).split('\n');
}

async function call(
  name: string,
  args: object,
  env: Readonly<Record<string, string>>,
): Promise<unknown> {
  const outcome = await inChild(SCENARIOS, name, args, env);
  if (outcome.text !== undefined) throw new Error(`${name}: ${outcome.text}`);
  return outcome.value;
}

async function main(): Promise<void> {
  const lines = [`| token | TLS backend | ${TYPES.join(' | ')} |`, `|${' --- |'.repeat(8)}`];
  for (const kind of TOKENS) lines.push(await tokenRow(kind));
  process.stdout.write(`${lines.join('\n')}\n`);
  if (!process.argv.includes('--write')) return;
  const readme = readFileSync(README, 'utf8');
  const [before = '', rest = ''] = readme.split(BEGIN);
  const [, after = ''] = rest.split(END);
  writeFileSync(README, [before, BEGIN, '\n\n', lines.join('\n'), '\n\n', END, after].join(''));
}

if (import.meta.main) await main();
