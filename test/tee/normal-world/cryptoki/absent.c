/* What the TA has no command for. */
#include "cryptoki.h"

static CK_RV no_command(CK_RV rv)
{
	return library_is_initialized() ? rv : CKR_CRYPTOKI_NOT_INITIALIZED;
}

/* clang-format off */
#define NO_COMMAND(name, arguments, rv)                                        \
	CK_RV name arguments                                                   \
	{                                                                      \
		return no_command(rv);                                         \
	}

_Pragma("GCC diagnostic push")
_Pragma("GCC diagnostic ignored \"-Wunused-parameter\"")
NO_COMMAND(C_GetOperationState,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR state, CK_ULONG_PTR size),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_SetOperationState,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR state, CK_ULONG size,
	    CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_SignRecoverInit,
	   (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
	    CK_OBJECT_HANDLE key),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_SignRecover,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_size,
	    CK_BYTE_PTR out, CK_ULONG_PTR out_size),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_VerifyRecoverInit,
	   (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
	    CK_OBJECT_HANDLE key),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_VerifyRecover,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_size,
	    CK_BYTE_PTR out, CK_ULONG_PTR out_size),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_DigestEncryptUpdate,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_size,
	    CK_BYTE_PTR out, CK_ULONG_PTR out_size),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_DecryptDigestUpdate,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_size,
	    CK_BYTE_PTR out, CK_ULONG_PTR out_size),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_SignEncryptUpdate,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_size,
	    CK_BYTE_PTR out, CK_ULONG_PTR out_size),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_DecryptVerifyUpdate,
	   (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_size,
	    CK_BYTE_PTR out, CK_ULONG_PTR out_size),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_WaitForSlotEvent,
	   (CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved),
	   CKR_FUNCTION_NOT_SUPPORTED)
NO_COMMAND(C_GetFunctionStatus, (CK_SESSION_HANDLE session),
	   CKR_FUNCTION_NOT_PARALLEL)
NO_COMMAND(C_CancelFunction, (CK_SESSION_HANDLE session),
	   CKR_FUNCTION_NOT_PARALLEL)

#define NO_MESSAGE(name, parameters, names)                                    \
	NO_COMMAND(name, parameters, CKR_FUNCTION_NOT_SUPPORTED)
PKCS11_MESSAGE_FUNCTIONS(NO_MESSAGE)
_Pragma("GCC diagnostic pop")
	/* clang-format on */
