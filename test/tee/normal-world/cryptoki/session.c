#include "cryptoki.h"

CK_RV C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication,
		    CK_NOTIFY Notify, CK_SESSION_HANDLE_PTR phSession)
{
	struct ta_call call = ta_begin(PKCS11_CMD_OPEN_SESSION);

	/* Nothing ever happens that an application would be notified of. */
	(void)pApplication;
	(void)Notify;
	args_ulong(&call.args, slotID);
	args_ulong(&call.args, flags);
	return ta_invoke_handle(&call, phSession);
}

CK_RV C_CloseSession(CK_SESSION_HANDLE hSession)
{
	struct ta_call call = ta_begin(PKCS11_CMD_CLOSE_SESSION);

	args_ulong(&call.args, hSession);
	return ta_invoke(&call);
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slotID)
{
	struct ta_call call = ta_begin(PKCS11_CMD_CLOSE_ALL_SESSIONS);

	args_ulong(&call.args, slotID);
	return ta_invoke(&call);
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
	struct ta_call call = ta_begin(PKCS11_CMD_SESSION_INFO);
	uint8_t answer[PKCS11_SESSION_INFO_SIZE] = { 0 };
	CK_RV rv;

	args_require(&call.args, pInfo != NULL);
	args_ulong(&call.args, hSession);
	ta_out(&call, answer, sizeof(answer));
	rv = ta_invoke_exact(&call);
	if (rv != CKR_OK)
		return rv;
	pInfo->slotID = load_ulong(answer);
	pInfo->state = load_ulong(answer + 4);
	pInfo->flags = load_ulong(answer + 8);
	pInfo->ulDeviceError = load_ulong(answer + 12);
	return CKR_OK;
}

CK_RV C_InitPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pPin,
		CK_ULONG ulPinLen)
{
	struct ta_call call = ta_begin(PKCS11_CMD_INIT_PIN);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, ulPinLen);
	args_bytes(&call.args, pPin, ulPinLen);
	return ta_invoke(&call);
}

CK_RV C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin,
	       CK_ULONG ulOldLen, CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
	struct ta_call call = ta_begin(PKCS11_CMD_SET_PIN);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, ulOldLen);
	args_ulong(&call.args, ulNewLen);
	args_bytes(&call.args, pOldPin, ulOldLen);
	args_bytes(&call.args, pNewPin, ulNewLen);
	return ta_invoke(&call);
}

CK_RV C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType,
	      CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
	struct ta_call call = ta_begin(PKCS11_CMD_LOGIN);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, userType);
	args_ulong(&call.args, ulPinLen);
	args_bytes(&call.args, pPin, ulPinLen);
	return ta_invoke(&call);
}

CK_RV C_Logout(CK_SESSION_HANDLE hSession)
{
	struct ta_call call = ta_begin(PKCS11_CMD_LOGOUT);

	args_ulong(&call.args, hSession);
	return ta_invoke(&call);
}

CK_RV C_SeedRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSeed,
		   CK_ULONG ulSeedLen)
{
	struct ta_call call = ta_begin(PKCS11_CMD_SEED_RANDOM);

	args_ulong(&call.args, hSession);
	ta_in(&call, pSeed, ulSeedLen);
	return ta_invoke(&call);
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pRandomData,
		       CK_ULONG ulRandomLen)
{
	struct ta_call call = ta_begin(PKCS11_CMD_GENERATE_RANDOM);

	args_ulong(&call.args, hSession);
	ta_out(&call, pRandomData, ulRandomLen);
	return ta_invoke_exact(&call);
}
