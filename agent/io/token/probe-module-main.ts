/**
 * The process that tries a PKCS#11 library: it says each call before it makes it, and its last words,
 * which are its second argument, when all have come back.
 *
 * It may crash or hang. It ends by killing itself: destructors of libraries that worked may crash, too.
 */
import { writeSync } from 'node:fs';

import pkcs11 from 'pkcs11js';

const CKF_OS_LOCKING_OK = 2;
const [, , path = '', lastWords = ''] = process.argv;
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
