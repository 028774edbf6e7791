/** The commands that start an operation with a key, and the one that gives any operation up. */
import { CKA } from '../abi-attributes.ts';
import { IGNORES_PARAMETER } from '../abi-mechanisms.ts';
import { CKR, CMD } from '../abi.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { TaFailure } from '../failure.ts';
import { mechanismOf } from '../mechanisms/served.ts';
import type { Doing } from '../processing.ts';
import { requireActive } from '../steps.ts';
import { requireUse } from '../use.ts';

type Keyed = Exclude<Doing, 'digest'>;

export const STARTING_COMMANDS: readonly Command[] = [
  { id: CMD.SIGN_INIT, shapes: [SHAPE.PLAIN], run: starter('sign') },
  { id: CMD.VERIFY_INIT, shapes: [SHAPE.PLAIN], run: starter('verify') },
  { id: CMD.ENCRYPT_INIT, shapes: [SHAPE.PLAIN], run: starter('encrypt') },
  { id: CMD.DECRYPT_INIT, shapes: [SHAPE.PLAIN], run: starter('decrypt') },
  { id: CMD.RELEASE_ACTIVE_PROCESSING, shapes: [SHAPE.PLAIN], run: release },
];

const NO_PARAMETER = new Uint8Array();

/** Which operation a command belongs to; the commands that start one do not count. */
const DOING_OF_COMMAND: ReadonlyMap<number, Doing> = new Map([
  ...belonging('sign', CMD.SIGN_UPDATE, CMD.SIGN_FINAL, CMD.SIGN_ONESHOT),
  ...belonging('verify', CMD.VERIFY_UPDATE, CMD.VERIFY_FINAL, CMD.VERIFY_ONESHOT),
  ...belonging('encrypt', CMD.ENCRYPT_UPDATE, CMD.ENCRYPT_FINAL, CMD.ENCRYPT_ONESHOT),
  ...belonging('decrypt', CMD.DECRYPT_UPDATE, CMD.DECRYPT_FINAL, CMD.DECRYPT_ONESHOT),
  ...belonging('digest', CMD.DIGEST_KEY, CMD.DIGEST_UPDATE, CMD.DIGEST_FINAL, CMD.DIGEST_ONESHOT),
]);

function belonging(
  doing: Doing,
  ...commands: readonly number[]
): readonly (readonly [number, Doing])[] {
  return commands.map((command) => [command, doing]);
}

function starter(doing: Keyed): (call: Call) => void {
  return (call) => {
    const session = call.session();
    const keyHandle = call.args.u32();
    const mechanismId = call.args.u32();
    const given = call.args.counted();
    call.args.end();
    session.requireIdle();
    const parameter = IGNORES_PARAMETER.has(mechanismId) ? NO_PARAMETER : given;
    const key = session.object(keyHandle);
    if (key === undefined) throw new TaFailure(CKR.KEY_HANDLE_INVALID);
    const mechanism = mechanismOf(mechanismId);
    const start = mechanism?.[doing];
    if (mechanism === undefined || start === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
    if (!session.mayAccess(key)) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
    requireUse(key, mechanism, doing);
    const operation = {
      machine: start({ mode: call.shared.mode, parameter, key }),
      needsLogin: key.attributes.boolean(CKA.ALWAYS_AUTHENTICATE),
      hasData: false,
    };
    session.begin(operation, parameter.byteLength);
  };
}

/** libckteec gives up an operation this way when its caller's arguments were bad. */
function release(call: Call): void {
  const session = call.session();
  const command = call.args.u32();
  call.args.end();
  const doing = DOING_OF_COMMAND.get(command);
  if (doing === undefined) throw new TaFailure(CKR.ARGUMENTS_BAD);
  requireActive(session, doing);
  session.end();
}
