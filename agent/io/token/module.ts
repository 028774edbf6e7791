/** The PKCS#11 library in this process: loaded once, initialised once, never finalised. */
import { existsSync } from 'node:fs';

import graphene from 'graphene-pk11';

import { causeOf, OtaError } from '../../errors.ts';
import { announceTeeIdentity, type TeeLogin } from './tee-identity.ts';

const CKF_OS_LOCKING_OK = 2;

/** The part of the `token` section that says how to reach the library. */
export interface ModuleSettings extends TeeLogin {
  readonly module: string;
}

/** Cryptoki's state belongs to the process, and libp11 shares it: one entry per library for good. */
const loaded = new Map<string, graphene.Module>();

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
  if (present !== undefined) return present;
  const module = load(path);
  announceTeeIdentity(settings);
  try {
    module.initialize({ flags: CKF_OS_LOCKING_OK });
  } catch (cause) {
    throw unusable(path, `C_Initialize: ${causeOf(cause)}`, WAKE, cause);
  }
  loaded.set(path, module);
  return module;
}

const WAKE =
  'start what the library talks to: on a device /dev/tee0 with tee-supplicant, readable by this user; ' +
  'for the emulator the secure world behind the socket $OTA_TEE_SOCKET';

function load(path: string): graphene.Module {
  if (!existsSync(path)) {
    throw unusable(path, 'no such file', 'install the PKCS#11 library or set token.module');
  }
  try {
    return graphene.Module.load(path);
  } catch (cause) {
    const remedy = 'set token.module to a PKCS#11 library built for this machine';
    throw unusable(path, causeOf(cause), remedy, cause);
  }
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
