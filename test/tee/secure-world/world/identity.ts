/**
 * Who a session is opened for.
 *
 * Linux, not the TEE, answers this on a device: the driver turns a user or group id into a UUID, so
 * that a TA can tell users apart without knowing what a user is. What it refuses, libteec reports as
 * its own: -EPERM as TEEC_ERROR_GENERIC, -EINVAL as TEEC_ERROR_BAD_PARAMETERS, origin COMMS.
 *
 * Source: Linux drivers/tee/tee_core.c, `tee_session_calc_client_uuid`; optee_client 4.10
 * libteec/src/tee_client_api.c, `ioctl_errno_to_res`; RFC 4122 §4.3 (version 5).
 */
import { createHash } from 'node:crypto';

import type { ClientIdentity } from '../ta.ts';
import { LOGIN, TEE } from './results.ts';
import type { Credentials } from './wire.ts';

/** The name space of client UUIDs, 58ac9ca0-2086-4683-a1b8-ec4bc08e01b6. */
const NAME_SPACE = Buffer.from('58ac9ca020864683a1b8ec4bc08e01b6', 'hex');
const NIL_UUID = '00000000-0000-0000-0000-000000000000';

/**
 * The application logins 4 to 6 are GlobalPlatform's; Linux has no identity for a program.
 *
 * @returns the identity, or the TEEC_Result that refuses the login, origin COMMS
 */
export function clientIdentity(
  login: number,
  loginData: number,
  { uid, gid, groups }: Credentials,
): ClientIdentity | number {
  switch (login) {
    case LOGIN.PUBLIC:
      return { login, uuid: NIL_UUID };
    case LOGIN.USER:
      return { login, uuid: nameUuid(`uid=${uid.toString(16)}`) };
    case LOGIN.GROUP:
      if (loginData !== gid && !groups.includes(loginData)) return TEE.GENERIC;
      return { login, uuid: nameUuid(`gid=${loginData.toString(16)}`) };
    default:
      return TEE.BAD_PARAMETERS;
  }
}

function nameUuid(name: string): string {
  const hash = createHash('sha1').update(NAME_SPACE).update(name).digest().subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
