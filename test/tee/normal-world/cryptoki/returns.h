/*
 * Which codes each function may return. Groups first, what they share; then a
 * row for each function of pkcs11_functions.h.
 *
 * CKR_FUNCTION_NOT_SUPPORTED is for functions that are stubs. The specification
 * leaves the token's absence out of some lists of functions that use it; the
 * groups have it.
 */
#ifndef RETURNS_H
#define RETURNS_H

/* clang-format off */
#define ALWAYS                                                                 \
	CKR_OK, CKR_FUNCTION_FAILED, CKR_FUNCTION_NOT_SUPPORTED,               \
	CKR_GENERAL_ERROR, CKR_HOST_MEMORY
#define LIBRARY ALWAYS, CKR_ARGUMENTS_BAD, CKR_CRYPTOKI_NOT_INITIALIZED
#define DEVICE                                                                 \
	LIBRARY, CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED,      \
	CKR_TOKEN_NOT_PRESENT
#define TOKEN DEVICE, CKR_SLOT_ID_INVALID
#define SESSION                                                                \
	DEVICE, CKR_FUNCTION_CANCELED, CKR_SESSION_CLOSED,                     \
	CKR_SESSION_HANDLE_INVALID
#define STEP SESSION, CKR_OPERATION_NOT_INITIALIZED
#define START                                                                  \
	SESSION, CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID,           \
	CKR_OPERATION_ACTIVE, CKR_PIN_EXPIRED, CKR_USER_NOT_LOGGED_IN
#define MAKE                                                                   \
	SESSION, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_TYPE_INVALID,          \
	CKR_ATTRIBUTE_VALUE_INVALID, CKR_PIN_EXPIRED, CKR_SESSION_READ_ONLY,   \
	CKR_TEMPLATE_INCONSISTENT, CKR_TOKEN_WRITE_PROTECTED,                  \
	CKR_USER_NOT_LOGGED_IN

#define RETURNS_C_Initialize                                                   \
	ALWAYS, CKR_ARGUMENTS_BAD, CKR_CANT_LOCK,                              \
	CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_NEED_TO_CREATE_THREADS
#define RETURNS_C_Finalize LIBRARY
#define RETURNS_C_GetInfo LIBRARY
#define RETURNS_C_GetFunctionList ALWAYS, CKR_ARGUMENTS_BAD
#define RETURNS_C_GetSlotList LIBRARY, CKR_BUFFER_TOO_SMALL
#define RETURNS_C_GetSlotInfo LIBRARY, CKR_DEVICE_ERROR, CKR_SLOT_ID_INVALID
#define RETURNS_C_GetTokenInfo TOKEN, CKR_TOKEN_NOT_RECOGNIZED
#define RETURNS_C_GetMechanismList                                             \
	TOKEN, CKR_TOKEN_NOT_RECOGNIZED, CKR_BUFFER_TOO_SMALL
#define RETURNS_C_GetMechanismInfo                                             \
	TOKEN, CKR_TOKEN_NOT_RECOGNIZED, CKR_MECHANISM_INVALID
#define RETURNS_C_InitToken                                                    \
	TOKEN, CKR_TOKEN_NOT_RECOGNIZED, CKR_FUNCTION_CANCELED,                \
	CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_SESSION_EXISTS,                 \
	CKR_TOKEN_WRITE_PROTECTED
#define RETURNS_C_InitPIN                                                      \
	SESSION, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE, CKR_SESSION_READ_ONLY,    \
	CKR_TOKEN_WRITE_PROTECTED, CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_SetPIN                                                       \
	SESSION, CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE,        \
	CKR_PIN_LOCKED, CKR_SESSION_READ_ONLY, CKR_TOKEN_WRITE_PROTECTED
#define RETURNS_C_OpenSession                                                  \
	TOKEN, CKR_TOKEN_NOT_RECOGNIZED, CKR_SESSION_COUNT,                    \
	CKR_SESSION_PARALLEL_NOT_SUPPORTED, CKR_SESSION_READ_WRITE_SO_EXISTS,  \
	CKR_TOKEN_WRITE_PROTECTED
#define RETURNS_C_CloseSession SESSION
#define RETURNS_C_CloseAllSessions TOKEN
#define RETURNS_C_GetSessionInfo SESSION
#define RETURNS_C_GetOperationState                                            \
	SESSION, CKR_BUFFER_TOO_SMALL, CKR_OPERATION_NOT_INITIALIZED,          \
	CKR_STATE_UNSAVEABLE
#define RETURNS_C_SetOperationState                                            \
	SESSION, CKR_KEY_CHANGED, CKR_KEY_NEEDED, CKR_KEY_NOT_NEEDED,          \
	CKR_SAVED_STATE_INVALID
#define RETURNS_C_Login                                                        \
	SESSION, CKR_OPERATION_NOT_INITIALIZED, CKR_PIN_INCORRECT,             \
	CKR_PIN_LOCKED, CKR_SESSION_READ_ONLY_EXISTS,                          \
	CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN,        \
	CKR_USER_PIN_NOT_INITIALIZED, CKR_USER_TOO_MANY_TYPES,                 \
	CKR_USER_TYPE_INVALID
#define RETURNS_C_Logout SESSION, CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_CreateObject                                                 \
	MAKE, CKR_CURVE_NOT_SUPPORTED, CKR_DOMAIN_PARAMS_INVALID,              \
	CKR_TEMPLATE_INCOMPLETE
#define RETURNS_C_CopyObject                                                   \
	MAKE, CKR_ACTION_PROHIBITED, CKR_OBJECT_HANDLE_INVALID
#define RETURNS_C_DestroyObject                                                \
	SESSION, CKR_ACTION_PROHIBITED, CKR_OBJECT_HANDLE_INVALID,             \
	CKR_PIN_EXPIRED, CKR_SESSION_READ_ONLY, CKR_TOKEN_WRITE_PROTECTED
#define RETURNS_C_GetObjectSize                                                \
	SESSION, CKR_INFORMATION_SENSITIVE, CKR_OBJECT_HANDLE_INVALID
#define RETURNS_C_GetAttributeValue                                            \
	SESSION, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID,          \
	CKR_BUFFER_TOO_SMALL, CKR_OBJECT_HANDLE_INVALID
#define RETURNS_C_SetAttributeValue                                            \
	MAKE, CKR_ACTION_PROHIBITED, CKR_OBJECT_HANDLE_INVALID
#define RETURNS_C_FindObjectsInit                                              \
	SESSION, CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,      \
	CKR_OPERATION_ACTIVE, CKR_PIN_EXPIRED
#define RETURNS_C_FindObjects STEP
#define RETURNS_C_FindObjectsFinal STEP
#define RETURNS_C_EncryptInit                                                  \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_Encrypt                                                      \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE
#define RETURNS_C_EncryptUpdate STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE
#define RETURNS_C_EncryptFinal STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE
#define RETURNS_C_DecryptInit                                                  \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_Decrypt                                                      \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_ENCRYPTED_DATA_INVALID,                \
	CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_DecryptUpdate                                                \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_ENCRYPTED_DATA_INVALID,                \
	CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_DecryptFinal                                                 \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_ENCRYPTED_DATA_INVALID,                \
	CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_DigestInit START
#define RETURNS_C_Digest STEP, CKR_BUFFER_TOO_SMALL
#define RETURNS_C_DigestUpdate STEP
#define RETURNS_C_DigestKey                                                    \
	STEP, CKR_KEY_HANDLE_INVALID, CKR_KEY_INDIGESTIBLE,                    \
	CKR_KEY_SIZE_RANGE
#define RETURNS_C_DigestFinal STEP, CKR_BUFFER_TOO_SMALL
#define RETURNS_C_SignInit                                                     \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_Sign                                                         \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,      \
	CKR_FUNCTION_REJECTED, CKR_USER_NOT_LOGGED_IN,                         \
	CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_SignUpdate                                                   \
	STEP, CKR_DATA_LEN_RANGE, CKR_USER_NOT_LOGGED_IN,                      \
	CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_SignFinal                                                    \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE,                        \
	CKR_FUNCTION_REJECTED, CKR_USER_NOT_LOGGED_IN,                         \
	CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_SignRecoverInit                                              \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_SignRecover                                                  \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,      \
	CKR_FUNCTION_REJECTED, CKR_USER_NOT_LOGGED_IN,                         \
	CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_VerifyInit                                                   \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_Verify                                                       \
	STEP, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE, CKR_SIGNATURE_INVALID,     \
	CKR_SIGNATURE_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_VerifyUpdate                                                 \
	STEP, CKR_DATA_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_VerifyFinal                                                  \
	STEP, CKR_DATA_LEN_RANGE, CKR_SIGNATURE_INVALID,                       \
	CKR_SIGNATURE_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_VerifyRecoverInit                                            \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_VerifyRecover                                                \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,      \
	CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE
#define RETURNS_C_DigestEncryptUpdate                                          \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE
#define RETURNS_C_DecryptDigestUpdate                                          \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_ENCRYPTED_DATA_INVALID,                \
	CKR_ENCRYPTED_DATA_LEN_RANGE
#define RETURNS_C_SignEncryptUpdate                                            \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE,                        \
	CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_DecryptVerifyUpdate                                          \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE,                        \
	CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE
#define RETURNS_C_GenerateKey                                                  \
	MAKE, CKR_CURVE_NOT_SUPPORTED, CKR_TEMPLATE_INCOMPLETE,                \
	CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID,                    \
	CKR_OPERATION_ACTIVE
#define RETURNS_C_GenerateKeyPair                                              \
	MAKE, CKR_CURVE_NOT_SUPPORTED, CKR_DOMAIN_PARAMS_INVALID,              \
	CKR_TEMPLATE_INCOMPLETE, CKR_MECHANISM_INVALID,                        \
	CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_ACTIVE
#define RETURNS_C_WrapKey                                                      \
	START, CKR_BUFFER_TOO_SMALL, CKR_KEY_HANDLE_INVALID,                   \
	CKR_KEY_NOT_WRAPPABLE, CKR_KEY_SIZE_RANGE, CKR_KEY_UNEXTRACTABLE,      \
	CKR_WRAPPING_KEY_HANDLE_INVALID, CKR_WRAPPING_KEY_SIZE_RANGE,          \
	CKR_WRAPPING_KEY_TYPE_INCONSISTENT
#define RETURNS_C_UnwrapKey                                                    \
	MAKE, CKR_BUFFER_TOO_SMALL, CKR_CURVE_NOT_SUPPORTED,                   \
	CKR_DOMAIN_PARAMS_INVALID, CKR_TEMPLATE_INCOMPLETE,                    \
	CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_UNWRAPPING_KEY_SIZE_RANGE,      \
	CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, CKR_WRAPPED_KEY_INVALID,         \
	CKR_WRAPPED_KEY_LEN_RANGE, CKR_MECHANISM_INVALID,                      \
	CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_ACTIVE
#define RETURNS_C_DeriveKey                                                    \
	MAKE, CKR_CURVE_NOT_SUPPORTED, CKR_DOMAIN_PARAMS_INVALID,              \
	CKR_KEY_HANDLE_INVALID, CKR_KEY_SIZE_RANGE,                            \
	CKR_KEY_TYPE_INCONSISTENT, CKR_TEMPLATE_INCOMPLETE,                    \
	CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID,                    \
	CKR_OPERATION_ACTIVE
#define RETURNS_C_SeedRandom                                                   \
	SESSION, CKR_OPERATION_ACTIVE, CKR_RANDOM_SEED_NOT_SUPPORTED,          \
	CKR_RANDOM_NO_RNG, CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_GenerateRandom                                               \
	SESSION, CKR_OPERATION_ACTIVE, CKR_RANDOM_NO_RNG,                      \
	CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_GetFunctionStatus                                            \
	LIBRARY, CKR_FUNCTION_NOT_PARALLEL, CKR_SESSION_HANDLE_INVALID,        \
	CKR_SESSION_CLOSED
#define RETURNS_C_CancelFunction                                               \
	LIBRARY, CKR_FUNCTION_NOT_PARALLEL, CKR_SESSION_HANDLE_INVALID,        \
	CKR_SESSION_CLOSED
#define RETURNS_C_WaitForSlotEvent LIBRARY, CKR_NO_EVENT
#define RETURNS_C_MessageEncryptInit                                           \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_EncryptMessage                                               \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE
#define RETURNS_C_EncryptMessageBegin                                          \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE
#define RETURNS_C_EncryptMessageNext                                           \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE
#define RETURNS_C_MessageEncryptFinal STEP
#define RETURNS_C_MessageDecryptInit                                           \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_DecryptMessage                                               \
	STEP, CKR_AEAD_DECRYPT_FAILED, CKR_BUFFER_TOO_SMALL,                   \
	CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE,              \
	CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_DecryptMessageBegin                                          \
	STEP, CKR_AEAD_DECRYPT_FAILED, CKR_BUFFER_TOO_SMALL,                   \
	CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE,              \
	CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_DecryptMessageNext                                           \
	STEP, CKR_AEAD_DECRYPT_FAILED, CKR_BUFFER_TOO_SMALL,                   \
	CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE,              \
	CKR_USER_NOT_LOGGED_IN
#define RETURNS_C_MessageDecryptFinal STEP
#define RETURNS_C_MessageSignInit                                              \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_SignMessage                                                  \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,      \
	CKR_FUNCTION_REJECTED, CKR_USER_NOT_LOGGED_IN,                         \
	CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_SignMessageBegin                                             \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,      \
	CKR_FUNCTION_REJECTED, CKR_USER_NOT_LOGGED_IN,                         \
	CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_SignMessageNext                                              \
	STEP, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,      \
	CKR_FUNCTION_REJECTED, CKR_USER_NOT_LOGGED_IN,                         \
	CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_MessageSignFinal STEP
#define RETURNS_C_MessageVerifyInit                                            \
	START, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,         \
	CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT
#define RETURNS_C_VerifyMessage                                                \
	STEP, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE, CKR_SIGNATURE_INVALID,     \
	CKR_SIGNATURE_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_VerifyMessageBegin                                           \
	STEP, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE, CKR_SIGNATURE_INVALID,     \
	CKR_SIGNATURE_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_VerifyMessageNext                                            \
	STEP, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE, CKR_SIGNATURE_INVALID,     \
	CKR_SIGNATURE_LEN_RANGE, CKR_TOKEN_RESOURCE_EXCEEDED
#define RETURNS_C_MessageVerifyFinal STEP
#define RETURNS_C_GetInterfaceList                                             \
	ALWAYS, CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL
#define RETURNS_C_GetInterface ALWAYS, CKR_ARGUMENTS_BAD
#define RETURNS_C_LoginUser                                                    \
	SESSION, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED,          \
	CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_SESSION_READ_ONLY_EXISTS,       \
	CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN,        \
	CKR_USER_PIN_NOT_INITIALIZED, CKR_USER_TOO_MANY_TYPES,                 \
	CKR_USER_TYPE_INVALID
#define RETURNS_C_SessionCancel SESSION, CKR_OPERATION_CANCEL_FAILED
/* clang-format on */

#endif
