/** TEE_Result values, where a result comes from, and logins. Data only. */

/** GlobalPlatform TEE Client API v1.0 §4.2.2; TARGET_DEAD and NOT_FOUND as OP-TEE returns them. */
export const TEE = {
  SUCCESS: 0x0000_0000,
  GENERIC: 0xffff_0000,
  ACCESS_DENIED: 0xffff_0001,
  CANCEL: 0xffff_0002,
  ACCESS_CONFLICT: 0xffff_0003,
  BAD_PARAMETERS: 0xffff_0006,
  BAD_STATE: 0xffff_0007,
  ITEM_NOT_FOUND: 0xffff_0008,
  NOT_SUPPORTED: 0xffff_000a,
  OUT_OF_MEMORY: 0xffff_000c,
  BUSY: 0xffff_000d,
  SECURITY: 0xffff_000f,
  SHORT_BUFFER: 0xffff_0010,
  OVERFLOW: 0xffff_300f,
  TARGET_DEAD: 0xffff_3024,
} as const;

/** GlobalPlatform TEE Client API v1.0 §4.2.3. */
export const ORIGIN = { COMMS: 2, TEE: 3, TRUSTED_APP: 4 } as const;

/** GlobalPlatform TEE Client API v1.0 §4.2.5. */
export const LOGIN = { PUBLIC: 0, USER: 1, GROUP: 2 } as const;
