/** Where `ota-agent verify` reads from, and where it carries trust. */
import type { Repo } from '../../errors.ts';
import { StateDirectory } from '../../io/metadata-dir.ts';
import { ServedDirectory, type Served } from '../../io/served-directory.ts';
import type { InstalledImage } from '../../uptane/inventory.ts';
import { VERSION } from '../../version.ts';
import { isUrl } from './option-values.ts';
import type { VerifyOptions } from './options.ts';

export type Sources = Readonly<Record<Repo, Served>>;

/** Trusted metadata and installed images; without `--state`, nothing from before and nothing after. */
export type State = Pick<
  StateDirectory,
  'loadTrusted' | 'keep' | 'loadInstalled' | 'saveInstalled'
>;

/** @throws OtaError FILE_UNREADABLE */
export async function openSources(options: VerifyOptions): Promise<Sources> {
  const director = await openSource('director', options);
  try {
    return { director, image: await openSource('image', options) };
  } catch (error) {
    await director.close();
    throw error;
  }
}

/** @throws OtaError STORAGE_FAILED */
export async function openState(path: string | undefined): Promise<State> {
  if (path === undefined) return NO_STATE;
  const state = new StateDirectory(path);
  await state.open();
  return state;
}

/** The network's libraries are loaded only for somebody who names a URL. */
async function openSource(repo: Repo, options: VerifyOptions): Promise<Served> {
  const source = options.sources[repo];
  if (!isUrl(source)) return ServedDirectory.open(repo, source);
  const { ServedUrl } = await import('../../io/served-url.ts');
  const { caFile, timeoutMs } = options;
  return ServedUrl.open(repo, source, { caFile, timeoutMs, userAgent: `ota-agent/${VERSION}` });
}

const NO_STATE: State = {
  loadTrusted: () => Promise.resolve(new Map<string, Uint8Array>()),
  keep: () => Promise.resolve(),
  loadInstalled: () => Promise.resolve<InstalledImage[]>([]),
  saveInstalled: () => Promise.resolve(),
};
