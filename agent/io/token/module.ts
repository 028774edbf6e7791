/** The PKCS#11 library in this process: loaded once, initialised once, never finalised. */
import { existsSync } from 'node:fs';

import graphene from 'graphene-pk11';

import { causeOf, OtaError } from '../../errors.ts';
import { clientLibrary, startIsolated, type IsolatedModule } from './isolation.ts';
import { announceTeeIdentity, type TeeLogin } from './tee-identity.ts';

const CKF_OS_LOCKING_OK = 2;
const REVIVAL_MS = 3000;
const REVIVAL_STEP_MS = 50;

/** The part of the `token` section that says how to reach the library. */
export interface ModuleSettings extends TeeLogin {
  readonly module: string;
  /** Absent: `none`. */
  readonly isolation?: 'none' | 'p11-kit' | undefined;
}

/** Cryptoki's state belongs to the process, and libp11 shares it: one entry per library for good. */
const loaded = new Map<string, graphene.Module>();
const servers = new Map<string, IsolatedModule>();

/**
 * Loads a PKCS#11 library and initialises it, or returns the one that is there.
 *
 * It is never finalised: C_Finalize would take the sessions of the TLS engine with it. A failed
 * initialisation is not remembered, so that a later call finds a secure world that has come up.
 *
 * @throws OtaError TOKEN_MODULE if it cannot be loaded, or has nothing to talk to
 */
export function openModule(settings: ModuleSettings): graphene.Module {
  const { module: path } = settings;
  const present = loaded.get(path);
  if (present !== undefined) {
    if (servers.has(path)) revive(path, present);
    return present;
  }
  const module = load(prepareModule(settings));
  try {
    initialise(path, module);
  } catch (error) {
    servers.get(path)?.stop();
    servers.delete(path);
    throw error;
  }
  loaded.set(path, module);
  return module;
}

/**
 * Makes everything ready for whoever loads the library: this process, or one that it starts.
 *
 * @returns the library to load
 * @throws OtaError TOKEN_MODULE if the library is to be isolated, and that cannot be done
 */
export function prepareModule(settings: ModuleSettings): string {
  const { module: path } = settings;
  announceTeeIdentity(settings);
  if (isIsolated(settings) && !servers.has(path)) {
    if (!existsSync(path)) throw absent(path);
    servers.set(path, startIsolated(path));
  }
  return libraryOf(settings);
}

/** The library that is loaded into this process, by us and by the TLS engine. */
export function libraryOf(settings: ModuleSettings): string {
  return isIsolated(settings) ? clientLibrary() : settings.module;
}

/** A directory of this process alone, as long as the library is isolated. */
export function privateDirectory({ module }: ModuleSettings): string | undefined {
  return servers.get(module)?.directory;
}

/**
 * Where the library crashed in its own process: another connection, which has none of the old sessions.
 *
 * It disturbs nobody: libp11 has a connection of its own. A server that is gone itself is back within a
 * second, and until then looks like a library without slots.
 */
function revive(path: string, module: graphene.Module): void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; !answers(module) && waitedMs < REVIVAL_MS; waitedMs += REVIVAL_STEP_MS) {
    if (waitedMs > 0) Atomics.wait(clock, 0, 0, REVIVAL_STEP_MS);
    module.finalize();
    initialise(path, module);
  }
}

function answers(module: graphene.Module): boolean {
  try {
    return module.lib.C_GetSlotList(false).length > 0;
  } catch {
    return false;
  }
}

function initialise(path: string, module: graphene.Module): void {
  try {
    module.initialize({ flags: CKF_OS_LOCKING_OK });
  } catch (cause) {
    throw unusable(path, `C_Initialize: ${causeOf(cause)}`, WAKE, cause);
  }
}

export function isIsolated({ isolation }: ModuleSettings): boolean {
  return isolation === 'p11-kit';
}

const WAKE =
  'start what the library talks to: on a device /dev/tee0 with tee-supplicant, readable by this user; ' +
  'for the emulator the secure world behind the socket $OTA_TEE_SOCKET';

function load(path: string): graphene.Module {
  if (!existsSync(path)) throw absent(path);
  try {
    return graphene.Module.load(path);
  } catch (cause) {
    const remedy = 'set token.module to a PKCS#11 library built for this machine';
    throw unusable(path, causeOf(cause), remedy, cause);
  }
}

function absent(path: string): OtaError<'TOKEN_MODULE'> {
  return unusable(path, 'no such file', 'install the PKCS#11 library or set token.module');
}

function unusable(
  module: string,
  problem: string,
  remedy: string,
  cause?: unknown,
): OtaError<'TOKEN_MODULE'> {
  const options = cause === undefined ? undefined : { cause };
  return new OtaError('TOKEN_MODULE', { module, cause: problem, remedy }, options);
}
