/* Encrypting, decrypting, digesting, signing, verifying. */
#include <stdio.h>
#include <string.h>

#include "calls.h"

/* init NAME SESSION MECHANISM KEY: C_NAMEInit; digest has no key. */
static void init(void)
{
	const char *name = script_word(true);
	const CK_SESSION_HANDLE session = script_number();
	CK_MECHANISM *mechanism = script_mechanism();
	const char *key = script_word(false);
	const CK_OBJECT_HANDLE handle = key ? parse_number(key) : 0;

	if (strcmp(name, "digest") == 0)
		print_rv(p11->C_DigestInit(session, mechanism));
	else if (strcmp(name, "encrypt") == 0)
		print_rv(p11->C_EncryptInit(session, mechanism, handle));
	else if (strcmp(name, "decrypt") == 0)
		print_rv(p11->C_DecryptInit(session, mechanism, handle));
	else if (strcmp(name, "sign") == 0)
		print_rv(p11->C_SignInit(session, mechanism, handle));
	else if (strcmp(name, "verify") == 0)
		print_rv(p11->C_VerifyInit(session, mechanism, handle));
	else
		script_fail("no such operation", name);
}

typedef CK_RV (*transform_function)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG,
				    CK_BYTE_PTR, CK_ULONG_PTR);
typedef CK_RV (*absorb_function)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG);
typedef CK_RV (*finish_function)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR);

/* NAME SESSION IN ROOM */
static void transform(transform_function function)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct bytes in = script_bytes();
	struct room room = script_room();
	CK_ULONG size = room.size;
	CK_RV rv = function(session, in.data, in.size, room.data,
			    room.absent ? NULL : &size);

	print_data(rv, &room, size);
}

/* NAME SESSION IN */
static void absorb(absorb_function function)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct bytes in = script_bytes();

	print_rv(function(session, in.data, in.size));
}

/* NAME SESSION ROOM */
static void finish(finish_function function)
{
	const CK_SESSION_HANDLE session = script_number();
	struct room room = script_room();
	CK_ULONG size = room.size;
	CK_RV rv = function(session, room.data, room.absent ? NULL : &size);

	print_data(rv, &room, size);
}

#define STEP(name, shape, function)   \
	static void name(void)        \
	{                             \
		shape(p11->function); \
	}

/* clang-format off */
STEP(encrypt, transform, C_Encrypt)
STEP(encrypt_update, transform, C_EncryptUpdate)
STEP(encrypt_final, finish, C_EncryptFinal)
STEP(decrypt, transform, C_Decrypt)
STEP(decrypt_update, transform, C_DecryptUpdate)
STEP(decrypt_final, finish, C_DecryptFinal)
STEP(digest, transform, C_Digest)
STEP(digest_update, absorb, C_DigestUpdate)
STEP(digest_final, finish, C_DigestFinal)
STEP(sign, transform, C_Sign)
STEP(sign_update, absorb, C_SignUpdate)
STEP(sign_final, finish, C_SignFinal)
STEP(verify_update, absorb, C_VerifyUpdate)
STEP(verify_final, absorb, C_VerifyFinal)
/* clang-format on */

static void digest_key(void)
{
	const CK_SESSION_HANDLE session = script_number();

	print_rv(p11->C_DigestKey(session, script_number()));
}

static void verify(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct bytes in = script_bytes();
	const struct bytes signature = script_bytes();

	print_rv(p11->C_Verify(session, in.data, in.size, signature.data,
			       signature.size));
}

const struct script_call processing_calls[] = {
	{ "init", init },
	{ "encrypt", encrypt },
	{ "encrypt_update", encrypt_update },
	{ "encrypt_final", encrypt_final },
	{ "decrypt", decrypt },
	{ "decrypt_update", decrypt_update },
	{ "decrypt_final", decrypt_final },
	{ "digest", digest },
	{ "digest_update", digest_update },
	{ "digest_final", digest_final },
	{ "sign", sign },
	{ "sign_update", sign_update },
	{ "sign_final", sign_final },
	{ "verify_update", verify_update },
	{ "verify_final", verify_final },
	{ "digest_key", digest_key },
	{ "verify", verify },
	{ NULL, NULL },
};
