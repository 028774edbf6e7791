/**
 * A plain TUF client around the agent's state machine, for conformance suites of TUF clients.
 *
 * One repository, no Director: the verification is the one that the agent does for its Image
 * repository, down to the order of questions.
 *
 *   tuf-client --metadata-dir DIR init ROOTFILE
 *   tuf-client --metadata-dir DIR --metadata-url URL refresh
 *   tuf-client --metadata-dir DIR --metadata-url URL --target-name NAME [--target-name NAME …]
 *              --target-base-url URL --target-dir DIR download
 */
import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import { converse } from '../../../agent/cycle/fetch.ts';
import { findTarget, type ImageRepository } from '../../../agent/uptane/delegations.ts';
import { MetadataStore } from '../../../agent/uptane/store.ts';
import type { Instant } from '../../../agent/uptane/time.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { updateImage, type Answer, type Need } from '../../../agent/uptane/verify.ts';
import { TargetDirectory } from './target-directory.ts';
import { TrustedDirectory } from './trusted-directory.ts';
import { fetchMetadata } from './web.ts';

const OPTIONS = {
  'metadata-dir': { type: 'string' },
  'metadata-url': { type: 'string' },
  'target-name': { type: 'string', multiple: true },
  'target-base-url': { type: 'string' },
  'target-dir': { type: 'string' },
} as const;

type Option = Exclude<keyof typeof OPTIONS, 'target-name'>;

/**
 * @param args - without the program's name; options may stand before and after the verb
 * @throws what ends the process with 1
 */
export async function runTufClient(args: readonly string[], now: Instant): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: OPTIONS,
    allowPositionals: true,
  });
  const option = (name: Option): string => {
    const value = values[name];
    if (value === undefined) throw new Error(`--${name} is needed`);
    return value;
  };
  const [verb, rootFile, ...rest] = positionals;
  const trusted = new TrustedDirectory(option('metadata-dir'));
  if (verb === 'init' && rootFile !== undefined && rest.length === 0) {
    await trusted.init(rootFile);
  } else if (verb === 'refresh' && rootFile === undefined) {
    await refresh(trusted, option('metadata-url'), now);
  } else if (verb === 'download' && rootFile === undefined) {
    const targets = new TargetDirectory(option('target-dir'), option('target-base-url'));
    const { repository, answer } = await refresh(trusted, option('metadata-url'), now);
    await download(repository, answer, targets, values['target-name'] ?? []);
  } else {
    throw new Error('init ROOTFILE, refresh or download');
  }
}

interface Refreshed {
  readonly repository: ImageRepository;
  readonly answer: (need: Need) => Promise<Answer>;
}

async function refresh(trusted: TrustedDirectory, url: string, now: Instant): Promise<Refreshed> {
  const store = new MetadataStore('image', await trusted.load(), now, TUF);
  const answer = async (need: Need): Promise<Answer> => {
    if (need.need === 'fetch') return fetchMetadata(url, need);
    await trusted.keep(need);
    return undefined;
  };
  return { repository: await converse(updateImage(store), answer), answer };
}

async function download(
  repository: ImageRepository,
  answer: Refreshed['answer'],
  targets: TargetDirectory,
  filenames: readonly string[],
): Promise<void> {
  if (filenames.length === 0) throw new Error('--target-name is needed');
  await mkdir(targets.path, { recursive: true });
  for (const filename of filenames) {
    const wanted = { filename, hardwareId: undefined };
    const file = await converse(findTarget(repository, wanted), answer);
    const served = TUF.imageFile(repository.store.root, filename, file) ?? filename;
    await targets.receive(filename, served, file);
  }
}
