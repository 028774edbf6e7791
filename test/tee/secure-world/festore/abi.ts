/**
 * The command interface of the festore TA: README.md, mirrored by normal-world/include/festore_ta.h.
 * Data only.
 */

/** RFC 4122 text form, version 4. */
export const FESTORE_TA_UUID = 'e08997b8-799d-42d8-b4bc-558099ed314f';

export const FESTORE_CMD = {
  WRITE_OBJECT: 0,
  READ_OBJECT: 1,
  DELETE_OBJECT: 2,
  LIST_OBJECTS: 3,
} as const;

export const MAX_TAG_BYTES = 64;
export const MAX_VALUE_BYTES = 1024 * 1024;
/** With MAX_VALUE_BYTES the quota: 256 MiB. */
export const MAX_OBJECTS = 256;

/** GlobalPlatform TEE Internal Core API v1.3 §3.3.3. */
export const TEE_ERROR_EXCESS_DATA = 0xffff_0004;
