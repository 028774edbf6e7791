/** aktualizr's credentials.zip: where a fleet's devices enrol, and the credential they share for it. */
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';

import { fromBuffer, type Entry, type ZipFile } from 'yauzl';

import { causeOf, isOtaError, OtaError, type FailureDetails } from '../agent/errors.ts';
import { openPkcs12, Pkcs12Problem, type Pkcs12Identity } from './pkcs12.ts';

export interface SharedCredentials {
  /** Base URL of the gateway. */
  readonly url: string;
  /** What every device of the fleet shows before it has a credential of its own. */
  readonly identity: Pkcs12Identity;
  /** CA of the gateway as the archive has it, PEM. */
  readonly serverCaPem: string | undefined;
}

const MAX_ARCHIVE_BYTES = 4 * 1024 * 1024;
const MAX_ENTRY_BYTES = 256 * 1024;
const MAX_ENTRIES = 100;
/** All else in it (treehub.json, tufrepo.url, targets.sec …) is for build servers, and none of ours. */
const WANTED = new Set(['autoprov.url', 'autoprov_credentials.p12', 'server_ca.pem']);

/**
 * Reads what a device needs of the archive. Nothing is written to a disk.
 *
 * @throws OtaError FILE_UNREADABLE
 * @throws OtaError CREDENTIALS_INVALID with the entry that is missing or wrong
 */
export async function readCredentials(path: string, password: string): Promise<SharedCredentials> {
  const entries = await entriesOf(path, await archiveOf(path));
  const needed = (entry: string): Buffer => {
    const content = entries.get(entry);
    if (content !== undefined) return content;
    throw invalid({ path, entry, problem: 'it is not in the archive', remedy: NOT_FOR_DEVICES });
  };
  const url = gatewayUrl(path, needed('autoprov.url').toString('utf8').trim());
  const p12 = 'autoprov_credentials.p12';
  try {
    const identity = await openPkcs12(needed(p12), [password]);
    return { url, identity, serverCaPem: entries.get('server_ca.pem')?.toString('utf8') };
  } catch (error) {
    if (!(error instanceof Pkcs12Problem)) throw error;
    const remedy = 'check provisioning.credentials_password_file, or make the archive again';
    throw invalid({ path, entry: p12, problem: error.message, remedy }, error);
  }
}

const NOT_FOR_DEVICES =
  'download the archive again: one for provisioning has autoprov.url and autoprov_credentials.p12';

async function archiveOf(path: string): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > MAX_ARCHIVE_BYTES) throw invalid({ path, problem: 'it is larger than 4 MiB' });
    return await readFile(path);
  } catch (cause) {
    if (isOtaError(cause)) throw cause;
    const remedy = 'check provisioning.credentials_file';
    const details = { path, what: 'credentials archive', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}

/** Sizes are checked before and while an entry is inflated: an archive may lie about them. */
async function entriesOf(path: string, archive: Buffer): Promise<ReadonlyMap<string, Buffer>> {
  const entries = new Map<string, Buffer>();
  let name = '';
  try {
    const zip = await opened(archive);
    if (zip.entryCount > MAX_ENTRIES)
      throw invalid({ path, problem: 'it has more than 100 entries' });
    for await (const entry of each(zip)) {
      name = entry.fileName;
      if (!WANTED.has(name)) continue;
      if (entries.has(name)) throw invalid({ path, entry: name, problem: 'it is there twice' });
      if (entry.uncompressedSize > MAX_ENTRY_BYTES) {
        throw invalid({ path, entry: name, problem: 'it is larger than 256 KiB' });
      }
      entries.set(name, await inflated(zip, entry));
    }
    return entries;
  } catch (error) {
    if (isOtaError(error)) throw error;
    const problem = `it is no sound archive: ${causeOf(error)}`;
    throw invalid({ path, entry: name, problem }, error);
  }
}

function opened(archive: Buffer): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    fromBuffer(archive, { lazyEntries: true, strictFileNames: true }, (error, zip) => {
      if (error) reject(error);
      else resolve(zip);
    });
  });
}

async function* each(zip: ZipFile): AsyncGenerator<Entry> {
  for (let index = 0; index < zip.entryCount; index += 1) {
    const next = once(zip, 'entry');
    zip.readEntry();
    const [entry] = (await next) as [Entry];
    yield entry;
  }
}

function inflated(zip: ZipFile, entry: Entry): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => {
      if (error) reject(error);
      else buffer(stream).then(resolve, reject);
    });
  });
}

function gatewayUrl(path: string, text: string): string {
  if (URL.canParse(text) && new URL(text).protocol === 'https:') return text.replace(/\/+$/u, '');
  throw invalid({ path, entry: 'autoprov.url', problem: 'it is not an https URL' });
}

function invalid(
  details: Pick<FailureDetails['CREDENTIALS_INVALID'], 'path' | 'problem'> &
    Partial<FailureDetails['CREDENTIALS_INVALID']>,
  cause?: unknown,
): OtaError<'CREDENTIALS_INVALID'> {
  const remedy = 'make or download the archive again';
  const whole = { entry: '', remedy, ...details };
  return new OtaError('CREDENTIALS_INVALID', whole, cause === undefined ? undefined : { cause });
}
