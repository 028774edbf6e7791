/** A secure world with nothing but probe TAs: node test/support/tee-probe-main.ts SOCKET */
import { TA_FLAG } from '../tee/secure-world/ta.ts';
import { listenAt } from '../tee/secure-world/world/listen.ts';
import { createWorldServer } from '../tee/secure-world/world/server.ts';
import { World } from '../tee/secure-world/world/world.ts';
import { probeApp } from './probe-ta.ts';

const { SINGLE_INSTANCE, MULTI_SESSION, INSTANCE_KEEP_ALIVE } = TA_FLAG;
/** The one that the C test program opens, and one beside it. */
const UUIDS = ['01020304-0506-0708-090a-0b0c0d0e0f10', '01020304-0506-0708-090a-0b0c0d0e0f11'];

const [, , path] = process.argv;
if (path === undefined) throw new Error('name a socket');
const flags = SINGLE_INSTANCE | MULTI_SESSION | INSTANCE_KEEP_ALIVE;
const world = new World(
  UUIDS.map((uuid) => probeApp(uuid, flags)),
  (uuid, cause) => {
    process.stderr.write(`TA ${uuid} panicked: ${String(cause)}\n`);
  },
);
const server = createWorldServer(world);
await listenAt(server, path);
process.stdout.write('ready\n');
