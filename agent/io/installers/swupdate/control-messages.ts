/**
 * Messages of SWUpdate's control socket, as 64-bit little-endian builds of 2022.12 to 2024.12 lay
 * them out: every message has one size, and every answer has the size of the question.
 *
 * Source: SWUpdate, network_ipc.h.
 */

export const MESSAGE_BYTES = 3120;

/** `msgtype`. */
export const MESSAGE = {
  installRequest: 0,
  accepted: 1,
  refused: 2,
  notifyStream: 11,
  hardwareRevision: 12,
} as const;

/** `RECOVERY_STATUS`, as far as it says where an installation is. */
export const STATUS = { idle: 0, started: 1, success: 3, failure: 4 } as const;

/** `run_type`. Never RUN_DEFAULT: a daemon started with --dry-run would then "install" nothing. */
export const RUN = { dry: 1, install: 2 } as const;

const MAGIC = 0x14052001;
const API_VERSION = 1;
const SOURCE_LOCAL = 4;
const NAME_BYTES = 256;

const AT = {
  magic: 0,
  type: 4,
  data: 8,
  apiVersion: 8,
  source: 12,
  run: 16,
  softwareSet: 544,
  runningMode: 800,
  board: 8,
  revision: 264,
  status: 8,
  level: 16,
  text: 20,
} as const;

const ERROR_LEVEL = 1;

/** Which part of an image is installed: `-e SET,MODE`. */
export interface Selection {
  readonly set: string;
  readonly mode: string;
}

/** One line of what the daemon does. */
export interface Notification {
  readonly status: number;
  readonly isError: boolean;
  readonly text: string;
}

export function question(type: number): Buffer {
  const message = Buffer.alloc(MESSAGE_BYTES);
  message.writeUInt32LE(MAGIC, AT.magic);
  message.writeUInt32LE(type, AT.type);
  return message;
}

export function installRequest({ set, mode }: Selection, run: number): Buffer {
  const message = question(MESSAGE.installRequest);
  message.writeUInt32LE(API_VERSION, AT.apiVersion);
  message.writeUInt32LE(SOURCE_LOCAL, AT.source);
  message.writeUInt32LE(run, AT.run);
  message.write(set, AT.softwareSet, NAME_BYTES - 1);
  message.write(mode, AT.runningMode, NAME_BYTES - 1);
  return message;
}

/** @returns `undefined` for what is no message of this layout */
export function typeOf(message: Buffer): number | undefined {
  if (message.readUInt32LE(AT.magic) !== MAGIC) return undefined;
  return message.readUInt32LE(AT.type);
}

/** What an answer says in words; most say nothing. */
export function answerText(message: Buffer): string {
  return textAt(message, AT.data);
}

export function notificationOf(message: Buffer): Notification {
  const status = message.readUInt32LE(AT.status);
  const isError = message.readUInt32LE(AT.level) === ERROR_LEVEL;
  return { status, isError, text: textAt(message, AT.text) };
}

/** `BOARD:REVISION`, as given to the daemon with -H. */
export function hardwareOf(message: Buffer): string {
  return `${textAt(message, AT.board)}:${textAt(message, AT.revision)}`;
}

function textAt(message: Buffer, offset: number): string {
  const end = message.indexOf(0, offset);
  return message.toString('utf8', offset, end === -1 ? undefined : end);
}
