/**
 * How OP-TEE names an object in the RPMB: "/TA/identifier", both as the upper-case hexadecimal of
 * their bytes in memory, with a dot before the identifier while the object is being created.
 *
 * Source: OP-TEE 4.10 core/tee/tee_svc_storage.c (tee_svc_storage_create_filename), tee_misc.c.
 */
const OBJECT = /^\/[0-9A-F]{32}\/((?:[0-9A-F]{2}){0,64})$/u;
const LAST_SLASH = /\/(?=[^/]*$)/u;

/** @param uuid - in memory order, 16 bytes */
export function objectName(uuid: Uint8Array, id: Uint8Array): string {
  return `/${hex(uuid)}/${hex(id)}`;
}

export function draftName(name: string): string {
  return name.replace(LAST_SLASH, '/.');
}

export function isDraft(name: string): boolean {
  return /\/\.[^/]*$/u.test(name);
}

/** @returns `undefined` for a file that is not a finished object of this TA */
export function identifierIn(name: string, uuid: Uint8Array): Uint8Array | undefined {
  const id = OBJECT.exec(name)?.[1];
  if (id === undefined || !name.startsWith(`/${hex(uuid)}/`)) return undefined;
  return new Uint8Array(Buffer.from(id, 'hex'));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex').toUpperCase();
}
