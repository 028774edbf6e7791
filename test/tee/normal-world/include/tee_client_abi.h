/*
 * What is private in the structures of the TEE Client API: layout, not meaning.
 *
 * Callers allocate these structures, so size, alignment and the place of each
 * public field are ABI. libteec.so.2 (OP-TEE 4.2 and later) wraps the private
 * fields in `imp`; libteec.so.1 has them bare, and with them begins where the
 * wrapper's alignment leaves a gap. TEEC_ABI chooses; a client that is built
 * with this header is linked with the library of the same number.
 *
 * Source: OP-TEE optee_client public/tee_client_api.h, 3.19 and 4.5.
 */
#ifndef TEE_CLIENT_ABI_H
#define TEE_CLIENT_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifndef TEEC_ABI
#define TEEC_ABI 2
#endif

#if TEEC_ABI == 2
/* clang-format off */
#define TEEC_PRIVATE(...) struct { __VA_ARGS__ } imp;
/* clang-format on */
#define TEEC_IMP(object) ((object)->imp)
#elif TEEC_ABI == 1
#define TEEC_PRIVATE(...) __VA_ARGS__
#define TEEC_IMP(object)  (*(object))
#else
#error "TEEC_ABI is 1 (libteec.so.1) or 2 (libteec.so.2)"
#endif

struct connection;

/* Bytes of a pointer, aligned as an int: a TEEC_Context may stand anywhere. */
#define TEEC_CONTEXT_PRIVATE TEEC_PRIVATE(uint32_t connection[2];)
#define TEEC_SESSION_PRIVATE \
	TEEC_PRIVATE(struct connection *connection; uint32_t number;)
#define TEEC_SHARED_MEMORY_PRIVATE                                            \
	TEEC_PRIVATE(uint32_t reserved; size_t reservedSize; void *allocated; \
		     int32_t reservedDescriptor; uint8_t reservedFlags;)
#define TEEC_OPERATION_PRIVATE TEEC_PRIVATE(void *reserved;)

/* Sizes where a pointer has 8 bytes, and where it has 4. */
#define TEEC_SIZE(lp64, ilp32) (sizeof(void *) == 8 ? (lp64) : (ilp32))
#define TEEC_SHARED_MEMORY_SIZE \
	TEEC_SIZE(TEEC_ABI == 2 ? (size_t)56 : (size_t)48, (size_t)32)

#endif
