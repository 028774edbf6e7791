/*
 * GlobalPlatform TEE Client API v1.0, as OP-TEE lays it out.
 *
 * What is private in the structures is in tee_client_abi.h; `libteec/` alone
 * looks there.
 */
#ifndef TEE_CLIENT_API_H
#define TEE_CLIENT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tee_client_abi.h"

#define TEEC_CONFIG_PAYLOAD_REF_COUNT  4
#define TEEC_CONFIG_SHAREDMEM_MAX_SIZE ((size_t)-1)

/* §4.4.2 return codes; beside them those of the Internal API that TAs use */
#define TEEC_SUCCESS			 0x00000000
#define TEEC_ERROR_STORAGE_NOT_AVAILABLE 0xF0100003
#define TEEC_ERROR_GENERIC		 0xFFFF0000
#define TEEC_ERROR_ACCESS_DENIED	 0xFFFF0001
#define TEEC_ERROR_CANCEL		 0xFFFF0002
#define TEEC_ERROR_ACCESS_CONFLICT	 0xFFFF0003
#define TEEC_ERROR_EXCESS_DATA		 0xFFFF0004
#define TEEC_ERROR_BAD_FORMAT		 0xFFFF0005
#define TEEC_ERROR_BAD_PARAMETERS	 0xFFFF0006
#define TEEC_ERROR_BAD_STATE		 0xFFFF0007
#define TEEC_ERROR_ITEM_NOT_FOUND	 0xFFFF0008
#define TEEC_ERROR_NOT_IMPLEMENTED	 0xFFFF0009
#define TEEC_ERROR_NOT_SUPPORTED	 0xFFFF000A
#define TEEC_ERROR_NO_DATA		 0xFFFF000B
#define TEEC_ERROR_OUT_OF_MEMORY	 0xFFFF000C
#define TEEC_ERROR_BUSY			 0xFFFF000D
#define TEEC_ERROR_COMMUNICATION	 0xFFFF000E
#define TEEC_ERROR_SECURITY		 0xFFFF000F
#define TEEC_ERROR_SHORT_BUFFER		 0xFFFF0010
#define TEEC_ERROR_EXTERNAL_CANCEL	 0xFFFF0011
#define TEEC_ERROR_TARGET_DEAD		 0xFFFF3024
#define TEEC_ERROR_STORAGE_NO_SPACE	 0xFFFF3041

/* §4.4.3 where a return code comes from */
#define TEEC_ORIGIN_API		0x00000001
#define TEEC_ORIGIN_COMMS	0x00000002
#define TEEC_ORIGIN_TEE		0x00000003
#define TEEC_ORIGIN_TRUSTED_APP 0x00000004

/* §4.4.4 directions of a shared memory block, seen from the client */
#define TEEC_MEM_INPUT	0x00000001
#define TEEC_MEM_OUTPUT 0x00000002

/* §4.4.5 parameter types */
#define TEEC_NONE		   0x00000000
#define TEEC_VALUE_INPUT	   0x00000001
#define TEEC_VALUE_OUTPUT	   0x00000002
#define TEEC_VALUE_INOUT	   0x00000003
#define TEEC_MEMREF_TEMP_INPUT	   0x00000005
#define TEEC_MEMREF_TEMP_OUTPUT	   0x00000006
#define TEEC_MEMREF_TEMP_INOUT	   0x00000007
#define TEEC_MEMREF_WHOLE	   0x0000000C
#define TEEC_MEMREF_PARTIAL_INPUT  0x0000000D
#define TEEC_MEMREF_PARTIAL_OUTPUT 0x0000000E
#define TEEC_MEMREF_PARTIAL_INOUT  0x0000000F

/* §4.4.6 what a TA is told about its client */
#define TEEC_LOGIN_PUBLIC	     0x00000000
#define TEEC_LOGIN_USER		     0x00000001
#define TEEC_LOGIN_GROUP	     0x00000002
#define TEEC_LOGIN_APPLICATION	     0x00000004
#define TEEC_LOGIN_USER_APPLICATION  0x00000005
#define TEEC_LOGIN_GROUP_APPLICATION 0x00000006

#define TEEC_PARAM_TYPES(p0, p1, p2, p3)                                  \
	((uint32_t)(p0) | ((uint32_t)(p1) << 4) | ((uint32_t)(p2) << 8) | \
	 ((uint32_t)(p3) << 12))
#define TEEC_PARAM_TYPE_GET(types, i) (((types) >> ((i)*4)) & 0xFu)

typedef uint32_t TEEC_Result;

typedef struct {
	uint32_t timeLow;
	uint16_t timeMid;
	uint16_t timeHiAndVersion;
	uint8_t clockSeqAndNode[8];
} TEEC_UUID;

typedef struct {
	TEEC_CONTEXT_PRIVATE
} TEEC_Context;

typedef struct {
	TEEC_SESSION_PRIVATE
} TEEC_Session;

typedef struct {
	void *buffer;
	size_t size;
	uint32_t flags;
	TEEC_SHARED_MEMORY_PRIVATE
} TEEC_SharedMemory;

typedef struct {
	void *buffer;
	size_t size;
} TEEC_TempMemoryReference;

typedef struct {
	TEEC_SharedMemory *parent;
	size_t size;
	size_t offset;
} TEEC_RegisteredMemoryReference;

typedef struct {
	uint32_t a;
	uint32_t b;
} TEEC_Value;

typedef union {
	TEEC_TempMemoryReference tmpref;
	TEEC_RegisteredMemoryReference memref;
	TEEC_Value value;
} TEEC_Parameter;

typedef struct {
	uint32_t started;
	uint32_t paramTypes;
	TEEC_Parameter params[TEEC_CONFIG_PAYLOAD_REF_COUNT];
	TEEC_OPERATION_PRIVATE
} TEEC_Operation;

_Static_assert(sizeof(TEEC_Context) == 8, "ABI: TEEC_Context");
_Static_assert(_Alignof(TEEC_Context) == 4, "ABI: TEEC_Context");
_Static_assert(sizeof(TEEC_Session) == TEEC_SIZE(16, 8), "ABI: TEEC_Session");
_Static_assert(sizeof(TEEC_SharedMemory) == TEEC_SHARED_MEMORY_SIZE,
	       "ABI: TEEC_SharedMemory");
_Static_assert(offsetof(TEEC_SharedMemory, size) == sizeof(void *),
	       "ABI: TEEC_SharedMemory.size");
_Static_assert(offsetof(TEEC_SharedMemory, flags) == 2 * sizeof(void *),
	       "ABI: TEEC_SharedMemory.flags");
_Static_assert(sizeof(TEEC_Operation) == TEEC_SIZE(112, 60),
	       "ABI: TEEC_Operation");
_Static_assert(offsetof(TEEC_Operation, paramTypes) == 4,
	       "ABI: TEEC_Operation.paramTypes");
_Static_assert(offsetof(TEEC_Operation, params) == 8,
	       "ABI: TEEC_Operation.params");
_Static_assert(sizeof(TEEC_Parameter) == 3 * sizeof(void *),
	       "ABI: TEEC_Parameter");
_Static_assert(offsetof(TEEC_RegisteredMemoryReference, size) == sizeof(void *),
	       "ABI: TEEC_RegisteredMemoryReference.size");
_Static_assert(offsetof(TEEC_RegisteredMemoryReference, offset) ==
		       2 * sizeof(void *),
	       "ABI: TEEC_RegisteredMemoryReference.offset");
_Static_assert(sizeof(TEEC_UUID) == 16, "ABI: TEEC_UUID");

/*
 * Connects to the TEE. `name` is NULL or "optee-tz".
 *
 * Returns TEEC_ERROR_ITEM_NOT_FOUND when there is none, and says once per
 * process on stderr which socket it tried (silent with OTA_TEE_QUIET set).
 */
TEEC_Result TEEC_InitializeContext(const char *name, TEEC_Context *context);
void TEEC_FinalizeContext(TEEC_Context *context);

/*
 * `connectionData` is NULL, or a uint32_t group id for the group logins.
 *
 * Linux tells a TA users and groups apart, not applications: the three
 * application logins are answered with TEEC_ERROR_BAD_PARAMETERS, a group that
 * the process is not in with TEEC_ERROR_GENERIC, both of origin COMMS.
 */
TEEC_Result TEEC_OpenSession(TEEC_Context *context, TEEC_Session *session,
			     const TEEC_UUID *destination,
			     uint32_t connectionMethod,
			     const void *connectionData,
			     TEEC_Operation *operation, uint32_t *returnOrigin);
void TEEC_CloseSession(TEEC_Session *session);

TEEC_Result TEEC_InvokeCommand(TEEC_Session *session, uint32_t commandID,
			       TEEC_Operation *operation,
			       uint32_t *returnOrigin);

/*
 * Asks only: the TA decides, and the operation still ends by itself. Asked
 * before the operation begins, and after its `started` was set to 0, it is
 * answered with TEEC_ERROR_CANCEL when it begins, and nothing is sent.
 */
void TEEC_RequestCancellation(TEEC_Operation *operation);

/* Memory of any protection and of any size, 0 included; nothing is copied. */
TEEC_Result TEEC_RegisterSharedMemory(TEEC_Context *context,
				      TEEC_SharedMemory *sharedMem);
TEEC_Result TEEC_AllocateSharedMemory(TEEC_Context *context,
				      TEEC_SharedMemory *sharedMem);

/* A second release does nothing. Registered memory stays the caller's. */
void TEEC_ReleaseSharedMemory(TEEC_SharedMemory *sharedMem);

#endif
