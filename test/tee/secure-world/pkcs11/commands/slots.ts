/** Commands about slots, tokens and mechanisms: PKCS#11 v2.40 §5.5. */
import {
  CKF_TOKEN_PRESENT,
  CKR,
  CMD,
  MAX_PIN_BYTES,
  MECHANISM_INFO_BYTES,
  MIN_PIN_BYTES,
  PKCS11_TA_VERSION,
  SLOT_INFO_BYTES,
  TOKEN_INFO_BYTES,
  UNAVAILABLE,
} from '../abi.ts';
import { words } from '../args.ts';
import { SHAPE, type Call, type Command } from '../call.ts';
import { TaFailure } from '../failure.ts';
import { mechanismInfo, SERVED } from '../mechanisms/served.ts';
import type { Token } from '../token.ts';

/**
 * The device UUID of OP-TEE on QEMU. An emulator has no die id, and an identity that pretends to be
 * one would be used as one.
 */
const DEVICE_UUID = '94e9ab89-4c43-56ea-8b35-45dc07226830';
const MANUFACTURER = text('Linaro', 32);
const HARDWARE_VERSION = Uint8Array.of(0, 0);
const FIRMWARE_VERSION = Uint8Array.of(1, 0);
/** There is no clock: PKCS#11 v2.40 §3.2, `utcTime`. */
const NO_TIME = new Uint8Array(16);

export const SLOT_COMMANDS: readonly Command[] = [
  { id: CMD.PING, shapes: [SHAPE.OUT], run: ping },
  { id: CMD.SLOT_LIST, shapes: [SHAPE.OUT], run: slotList },
  { id: CMD.SLOT_INFO, shapes: [SHAPE.OUT], run: slotInfo },
  { id: CMD.TOKEN_INFO, shapes: [SHAPE.OUT], run: tokenInfo },
  { id: CMD.MECHANISM_IDS, shapes: [SHAPE.OUT], run: mechanismIds },
  { id: CMD.MECHANISM_INFO, shapes: [SHAPE.OUT], run: mechanismInformation },
];

function ping(call: Call): void {
  requireIgnoredWord(call);
  call.requireRoom(12);
  call.answer(words(...PKCS11_TA_VERSION));
}

function slotList(call: Call): void {
  requireIgnoredWord(call);
  call.answer(words(...call.shared.tokens.map(({ slot }) => slot)));
}

function slotInfo(call: Call): void {
  call.requireRoom(SLOT_INFO_BYTES);
  call.token();
  call.args.end();
  const description = text(`OP-TEE PKCS11 TA - TEE UUID ${DEVICE_UUID}`, 64);
  const flags = words(CKF_TOKEN_PRESENT);
  call.answer(
    Buffer.concat([description, MANUFACTURER, flags, HARDWARE_VERSION, FIRMWARE_VERSION]),
  );
}

function tokenInfo(call: Call): void {
  call.requireRoom(TOKEN_INFO_BYTES);
  const token = call.token();
  call.args.end();
  const sessions = [...call.shared.clients.values()].flatMap((client) =>
    client.sessionsWith(token),
  );
  const readWrite = sessions.filter(({ isReadWrite }) => isReadWrite);
  const counts = [UNAVAILABLE, sessions.length, UNAVAILABLE, readWrite.length];
  // Public and private memory, total and free: OP-TEE does not say.
  const memory = [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE];
  call.answer(
    Buffer.concat([
      token.label,
      MANUFACTURER,
      text('OP-TEE TA', 16),
      serialNumber(token),
      words(token.flags, ...counts, MAX_PIN_BYTES, MIN_PIN_BYTES, ...memory),
      HARDWARE_VERSION,
      FIRMWARE_VERSION,
      NO_TIME,
    ]),
  );
}

function mechanismIds(call: Call): void {
  call.token();
  call.args.end();
  call.answer(words(...SERVED.map(({ id }) => id)));
}

function mechanismInformation(call: Call): void {
  call.requireRoom(MECHANISM_INFO_BYTES);
  call.token();
  const id = call.args.u32();
  call.args.end();
  const info = mechanismInfo(id);
  if (info === undefined) throw new TaFailure(CKR.MECHANISM_INVALID);
  call.answer(words(info.minKeySize, info.maxKeySize, info.flags));
}

/** libckteec sends whatever its status word held; only its size is agreed. */
function requireIgnoredWord(call: Call): void {
  call.args.u32();
  call.args.end();
}

/** The slot number: the same on every device, so it identifies nothing. */
function serialNumber({ slot }: Token): Buffer {
  return Buffer.from(String(slot).padStart(16, '0'));
}

function text(value: string, bytes: number): Buffer {
  return Buffer.from(value.padEnd(bytes, ' '));
}
