/**
 * The process that tries a PKCS#11 library: it says each call before it makes it, and its last words when
 * all have come back. What it is to do is what it reads; without that it ends.
 *
 * It may crash or hang. It ends by killing itself: destructors of libraries that worked may crash, too.
 */
import { readFileSync, writeSync } from 'node:fs';

import pkcs11 from 'pkcs11js';

/** What `probe-module.ts` writes. */
interface Task {
  readonly library: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly lastWords: string;
}

const CKF_OS_LOCKING_OK = 2;
const text = readFileSync(0, 'utf8');
if (text === '') process.exit();
const { library: path, environment, lastWords } = JSON.parse(text) as Task;
Object.assign(process.env, environment);
const library = new pkcs11.PKCS11();

try {
  say('loading');
  library.load(path);
  say('C_Initialize');
  library.C_Initialize({ flags: CKF_OS_LOCKING_OK });
  say('C_GetSlotList');
  for (const slot of library.C_GetSlotList(true)) {
    say('C_GetTokenInfo');
    library.C_GetTokenInfo(slot);
    say('C_OpenSession');
    library.C_OpenSession(slot, pkcs11.CKF_SERIAL_SESSION);
  }
} catch {
  // The library has answered; the agent asks again and says what is wrong.
}
say(lastWords);
process.kill(process.pid, 'SIGKILL');

/** At once: what is buffered dies with the process. */
function say(text: string): void {
  writeSync(1, `${text}\n`);
}
