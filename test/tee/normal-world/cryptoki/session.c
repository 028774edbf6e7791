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

static CK_RV get_session_info(CK_SESSION_HANDLE hSession,
			      CK_SESSION_INFO_PTR pInfo)
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

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
	return get_session_info(hSession, pInfo);
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

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user,
		   const CK_UTF8CHAR *pin, CK_ULONG size, bool is_nameless)
{
	struct ta_call call = ta_begin(PKCS11_CMD_LOGIN);

	args_require(&call.args, is_nameless);
	args_ulong(&call.args, session);
	args_ulong(&call.args, user);
	args_ulong(&call.args, size);
	args_bytes(&call.args, pin, size);
	return ta_invoke(&call);
}

CK_RV C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType,
	      CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
	return login(hSession, userType, pPin, ulPinLen, true);
}

/* The TA's users are two, and have no names. */
CK_RV C_LoginUser(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType,
		  CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen,
		  CK_UTF8CHAR_PTR pUsername, CK_ULONG ulUsernameLen)
{
	(void)pUsername;
	return login(hSession, userType, pPin, ulPinLen, ulUsernameLen == 0);
}

CK_RV C_Logout(CK_SESSION_HANDLE hSession)
{
	struct ta_call call = ta_begin(PKCS11_CMD_LOGOUT);

	args_ulong(&call.args, hSession);
	return ta_invoke(&call);
}

/* Ends one kind of operation. That there is none is no failure. */
static CK_RV cancel(CK_SESSION_HANDLE session, uint32_t command)
{
	const bool is_find = command == PKCS11_CMD_FIND_OBJECTS_FINAL;
	struct ta_call call = ta_begin(
		is_find ? command : PKCS11_CMD_RELEASE_ACTIVE_PROCESSING);
	CK_RV rv;

	args_ulong(&call.args, session);
	if (!is_find)
		args_ulong(&call.args, command);
	rv = ta_invoke(&call);
	return rv == CKR_OPERATION_NOT_INITIALIZED ? CKR_OK : rv;
}

/* Flags of operations that the TA has not are of such as are never active. */
CK_RV C_SessionCancel(CK_SESSION_HANDLE hSession, CK_FLAGS flags)
{
	static const struct {
		CK_FLAGS flag;
		uint32_t command;
	} kinds[] = {
		{ CKF_FIND_OBJECTS, PKCS11_CMD_FIND_OBJECTS_FINAL },
		{ CKF_ENCRYPT, PKCS11_CMD_ENCRYPT_INIT },
		{ CKF_DECRYPT, PKCS11_CMD_DECRYPT_INIT },
		{ CKF_DIGEST, PKCS11_CMD_DIGEST_INIT },
		{ CKF_SIGN, PKCS11_CMD_SIGN_INIT },
		{ CKF_VERIFY, PKCS11_CMD_VERIFY_INIT },
	};
	CK_SESSION_INFO info;
	CK_RV rv = get_session_info(hSession, &info);

	for (size_t i = 0; rv == CKR_OK && i < sizeof(kinds) / sizeof(*kinds);
	     i++)
		if (flags & kinds[i].flag)
			rv = cancel(hSession, kinds[i].command);
	return rv;
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
