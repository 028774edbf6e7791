/**
 * Keeps what V8 compiles for the daemon's worker while it starts: up to where its devices would be.
 *
 *     node FLAGS systemd/package/code-cache.ts DIRECTORY PROGRAM FLAG...
 *
 * FLAGS make it the same bytes each time. They are among what has to agree with whoever takes the cache, so
 * they are put back with the other FLAGs before it is made. Nothing runs beside anything else here, and
 * nothing that takes its own time: V8 numbers functions in the order in which it compiles them.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

interface Loaded {
  readonly settings: { readonly gateway: object };
}

type Said =
  | { readonly say: 'configured'; readonly loaded: Loaded }
  | { readonly say: 'failed'; readonly result: { readonly json: { readonly code?: string } } };

const [directory = '', program = '', ...usualFlags] = process.argv.slice(2);
const device = mkdtempSync(join(tmpdir(), 'ota-agent-compiled-'));
const config = join(device, 'ota-agent.toml');
const CONFIGURATION = `
[gateway]
url = "https://gateway.example:30443"
[ecu]
serial = "ecu-1"
hardware_id = "gateway"
[installer]
type = "file"
path = "${device}/app.img"
[storage]
path = "${device}/storage"
`;

const source = readFileSync(join(directory, `${program}.cjs`), 'latin1');
// A name without a directory: it is in the cache, and the one at run time counts.
const script = new Script(source, { filename: `${program}.cjs` });
const start = script.runInThisContext() as (require: NodeJS.Require, meta: object) => void;

process.once('exit', () => {
  rmSync(device, { recursive: true });
});
process.send = (message: Said): boolean => {
  if (message.say === 'configured')
    begin({ config: [], left: { loaded: withoutGateway(message) } });
  else finish(message.result.json.code);
  return true;
};
writeFileSync(config, CONFIGURATION);
// Until it is made.
process.exitCode = 1;
begin({ config: [config] });

/** As `waiting.ts` starts a worker. */
function begin(beginning: object): void {
  const filename = join(directory, 'worker-main.js');
  const { href: url } = pathToFileURL(filename);
  start(createRequire(url), { dirname: directory, filename, url });
  process.emit('message', { say: 'begin', beginning }, undefined);
}

/** All is loaded, and then the first thing that is looked at is missing. */
function withoutGateway({ loaded }: { readonly loaded: Loaded }): Loaded {
  const { settings } = loaded;
  return { ...loaded, settings: { ...settings, gateway: { ...settings.gateway, url: undefined } } };
}

function finish(code: string | undefined): never {
  if (code !== 'CONFIG_INVALID') throw new Error(`ended with ${String(code)}`);
  for (const flag of usualFlags) setFlagsFromString(flag);
  writeFileSync(join(directory, `${program}.cache`), script.createCachedData());
  process.exit(0);
}
