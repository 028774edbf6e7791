/*
 * The TA's return codes as PKCS#11 permits them.
 *
 * OP-TEE's TA answers some failures with a code that is not in the
 * specification's list for the function, and libckteec passes it on. Here the
 * caller gets the nearest code of the list. A code that is neither in the list
 * nor in this table is passed on as well: it says more than another would.
 *
 * Source: PKCS#11 v2.40 Base Specification §5.4 to §5.16, "Return values".
 */
#include "cryptoki.h"

#define OF(command) (UINT64_C(1) << PKCS11_CMD_##command)

#define ENCRYPT_STEPS \
	(OF(ENCRYPT_UPDATE) | OF(ENCRYPT_FINAL) | OF(ENCRYPT_ONESHOT))
#define DECRYPT_STEPS \
	(OF(DECRYPT_UPDATE) | OF(DECRYPT_FINAL) | OF(DECRYPT_ONESHOT))
#define SIGN_STEPS   (OF(SIGN_UPDATE) | OF(SIGN_FINAL) | OF(SIGN_ONESHOT))
#define VERIFY_STEPS (OF(VERIFY_UPDATE) | OF(VERIFY_FINAL) | OF(VERIFY_ONESHOT))
#define DIGEST_STEPS                                             \
	(OF(DIGEST_UPDATE) | OF(DIGEST_KEY) | OF(DIGEST_FINAL) | \
	 OF(DIGEST_ONESHOT))
#define STEPS                                                        \
	(ENCRYPT_STEPS | DECRYPT_STEPS | SIGN_STEPS | VERIFY_STEPS | \
	 DIGEST_STEPS)
#define GENERATES (OF(GENERATE_KEY) | OF(GENERATE_KEY_PAIR))
#define CREATES                                                             \
	(GENERATES | OF(CREATE_OBJECT) | OF(COPY_OBJECT) | OF(UNWRAP_KEY) | \
	 OF(DERIVE_KEY))

static const struct {
	CK_RV from;
	CK_RV to;
	uint64_t commands;
} translations[] = {
	/* CKA_TRUSTED is the security officer's to set. */
	{ CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_ATTRIBUTE_READ_ONLY, CREATES },
	{ CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID,
	  GENERATES | OF(CREATE_OBJECT) | OF(COPY_OBJECT) },
	{ CKR_KEY_SIZE_RANGE, CKR_WRAPPED_KEY_LEN_RANGE, OF(UNWRAP_KEY) },
	{ CKR_DATA_LEN_RANGE, CKR_KEY_SIZE_RANGE, OF(WRAP_KEY) },
	{ CKR_DATA_INVALID, CKR_KEY_NOT_WRAPPABLE, OF(WRAP_KEY) },
	{ CKR_DATA_LEN_RANGE, CKR_MECHANISM_PARAM_INVALID, OF(DERIVE_KEY) },
	{ CKR_USER_NOT_LOGGED_IN, CKR_OBJECT_HANDLE_INVALID,
	  OF(DESTROY_OBJECT) },
	{ CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID,
	  OF(FIND_OBJECTS_INIT) },
	/* A mechanism that works at once only, or is past that. */
	{ CKR_MECHANISM_INVALID, CKR_FUNCTION_FAILED, STEPS },
	{ CKR_OPERATION_ACTIVE, CKR_FUNCTION_FAILED, STEPS },
	{ CKR_KEY_SIZE_RANGE, CKR_FUNCTION_FAILED, STEPS },
	{ CKR_USER_NOT_LOGGED_IN, CKR_FUNCTION_FAILED,
	  ENCRYPT_STEPS | VERIFY_STEPS },
	/* A wrong tag of AES-GCM. */
	{ CKR_SIGNATURE_INVALID, CKR_ENCRYPTED_DATA_INVALID, DECRYPT_STEPS },
	{ CKR_DATA_INVALID, CKR_ENCRYPTED_DATA_INVALID, DECRYPT_STEPS },
	{ CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE, DECRYPT_STEPS },
	{ CKR_DEVICE_MEMORY, CKR_GENERAL_ERROR, OF(SLOT_LIST) | OF(SLOT_INFO) },
};

CK_RV permitted_code(uint32_t command, CK_RV rv)
{
	for (size_t i = 0; i < sizeof(translations) / sizeof(*translations);
	     i++)
		if (translations[i].from == rv &&
		    (translations[i].commands >> command & 1))
			return translations[i].to;
	return rv;
}
