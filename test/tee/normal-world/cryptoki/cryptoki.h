/*
 * What the files of the Cryptoki library share. Only C_* functions are
 * exported.
 *
 * A function makes a `struct ta_call`, serializes its arguments into it and
 * invokes it. Argument checks latch in the call as well: the first failure
 * wins, nothing is sent, and ta_invoke() returns it.
 */
#ifndef CRYPTOKI_H
#define CRYPTOKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11_ta.h"
#include "tee_client_api.h"

/*
 * With CHECK_RETURNS, returns.c stands before every function: what is written
 * as C_Login in these files is linked as unchecked_C_Login.
 */
#ifdef CHECK_RETURNS
#define PKCS11_PROTOTYPE(name, parameters, names)         \
	CK_RV name parameters __asm__("unchecked_" #name) \
		__attribute__((visibility("hidden")));
#endif

#pragma GCC visibility push(default)
#include "pkcs11.h"
#pragma GCC visibility pop

/* Serialized arguments in the making. */
struct args {
	uint8_t *bytes;
	size_t size;
	size_t capacity;
	CK_RV failure;
};

/*
 * One command. `in` is sent when `has_in`; `out` (never NULL when `has_out`)
 * receives, or is sent instead of that when `out_is_input`: a signature to
 * verify. After ta_invoke() `out_size` is what the TA says it is.
 */
struct ta_call {
	uint32_t command;
	struct args args;
	bool has_in;
	bool has_out;
	bool out_is_input;
	const void *in;
	void *out;
	size_t in_size;
	size_t out_size;
};

/* args.c: the failure is CKR_HOST_MEMORY or what a caller latched. */
void args_fail(struct args *args, CK_RV failure);
void args_require(struct args *args, bool condition);
/* A value that does not fit becomes 0xFFFFFFFF: no slot, handle or type. */
void args_ulong(struct args *args, CK_ULONG value);
void args_bytes(struct args *args, const void *bytes, CK_ULONG size);
void args_zeros(struct args *args, CK_ULONG size);
/* A length that is known later: returns its place for args_close(). */
size_t args_open(struct args *args);
/* Writes how many bytes follow the place plus `skip`. */
void args_close(struct args *args, size_t place, size_t skip);
/* Overwrites before it frees: arguments hold PINs. */
void args_discard(struct args *args);
uint32_t load_u32(const uint8_t *at);
/* Widens, 0xFFFFFFFF to CK_UNAVAILABLE_INFORMATION. */
CK_ULONG load_ulong(const uint8_t *at);

/* attributes.c */
void args_attributes(struct args *args, const CK_ATTRIBUTE *attributes,
		     CK_ULONG count);
/* The template of C_GetAttributeValue: buffers by their size, contents 0. */
void args_attribute_buffers(struct args *args, const CK_ATTRIBUTE *attributes,
			    CK_ULONG count);
/* Fills `attributes` from the TA's copy of what the former sent. */
CK_RV attributes_load(const uint8_t *bytes, size_t size,
		      CK_ATTRIBUTE *attributes, CK_ULONG count);

/* mechanism.c */
void args_mechanism(struct args *args, const CK_MECHANISM *mechanism);

/* invoke.c */
struct ta_call ta_begin(uint32_t command);
void ta_in(struct ta_call *call, const void *in, CK_ULONG size);
void ta_out(struct ta_call *call, void *out, CK_ULONG size);
void ta_signature_in(struct ta_call *call, void *signature, CK_ULONG size);
/* Consumes the arguments, sent or not. */
CK_RV ta_invoke(struct ta_call *call);
/* As ta_invoke(), for answers of one size: CKR_GENERAL_ERROR for another. */
CK_RV ta_invoke_exact(struct ta_call *call);
/* Invokes for one object or session handle. */
CK_RV ta_invoke_handle(struct ta_call *call, CK_ULONG *handle);
/*
 * Invokes for data of variable size, PKCS#11 v2.40 §5.2: with `out` NULL the
 * answer is the size alone, else `*size` is the buffer's.
 */
CK_RV ta_invoke_sized(struct ta_call *call, void *out, CK_ULONG *size);
/* ta_invoke() on a session that is not yet the library's. */
CK_RV ta_invoke_on(TEEC_Session *session, struct ta_call *call);

/* codes.c: what the function of `command` may return for a code of the TA's. */
CK_RV permitted_code(uint32_t command, CK_RV rv);

/* entry.c: from C_Initialize to C_Finalize there is one session to the TA. */
CK_RV library_enter(TEEC_Session **session);
void library_leave(void);
bool library_is_initialized(void);

#endif
