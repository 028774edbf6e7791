/* Encrypting, decrypting, digesting, signing and verifying. */
#include "cryptoki.h"

/*
 * §5.2: a call with bad arguments ends the operation. The TA has not seen the
 * call, so it has to be told.
 */
static CK_RV refuse(struct ta_call *call, CK_SESSION_HANDLE session)
{
	struct ta_call release = ta_begin(PKCS11_CMD_RELEASE_ACTIVE_PROCESSING);

	args_discard(&call->args);
	args_ulong(&release.args, session);
	args_ulong(&release.args, call->command);
	ta_invoke(&release);
	return CKR_ARGUMENTS_BAD;
}

static struct ta_call begin_step(uint32_t command, CK_SESSION_HANDLE session)
{
	struct ta_call call = ta_begin(command);

	args_ulong(&call.args, session);
	return call;
}

/*
 * Data in: which commands leave it out, and when, is libckteec's habit and not
 * written anywhere.
 */
static void in_unless_empty(struct ta_call *call, const void *in, CK_ULONG size)
{
	if (size)
		ta_in(call, in, size);
}

static void in_unless_null(struct ta_call *call, const void *in, CK_ULONG size)
{
	if (in || size)
		ta_in(call, in, size);
}

static CK_RV end_step(struct ta_call *call, CK_SESSION_HANDLE session)
{
	if (call->args.failure == CKR_ARGUMENTS_BAD)
		return refuse(call, session);
	return ta_invoke(call);
}

static CK_RV end_sized_step(struct ta_call *call, CK_SESSION_HANDLE session,
			    CK_BYTE_PTR out, CK_ULONG_PTR size)
{
	args_require(&call->args, size != NULL);
	if (call->args.failure == CKR_ARGUMENTS_BAD)
		return refuse(call, session);
	return ta_invoke_sized(call, out, size);
}

static CK_RV init_with_key(uint32_t command, CK_SESSION_HANDLE session,
			   CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
	struct ta_call call = begin_step(command, session);

	args_ulong(&call.args, key);
	args_mechanism(&call.args, mechanism);
	return ta_invoke(&call);
}

/* A step with data in and nothing out. */
static CK_RV absorb(uint32_t command, CK_SESSION_HANDLE session, CK_BYTE_PTR in,
		    CK_ULONG in_size)
{
	struct ta_call call = begin_step(command, session);

	ta_in(&call, in, in_size);
	return end_step(&call, session);
}

/* A step with data in and out. */
static CK_RV transform(uint32_t command, CK_SESSION_HANDLE session,
		       CK_BYTE_PTR in, CK_ULONG in_size, CK_BYTE_PTR out,
		       CK_ULONG_PTR out_size)
{
	struct ta_call call = begin_step(command, session);

	in_unless_empty(&call, in, in_size);
	return end_sized_step(&call, session, out, out_size);
}

/* Encrypting or decrypting at once. */
static CK_RV cipher(uint32_t command, CK_SESSION_HANDLE session, CK_BYTE_PTR in,
		    CK_ULONG in_size, CK_BYTE_PTR out, CK_ULONG_PTR out_size)
{
	struct ta_call call = begin_step(command, session);

	in_unless_null(&call, in, in_size);
	return end_sized_step(&call, session, out, out_size);
}

/* A last step: nothing in, data out. */
static CK_RV finish(uint32_t command, CK_SESSION_HANDLE session,
		    CK_BYTE_PTR out, CK_ULONG_PTR out_size)
{
	struct ta_call call = begin_step(command, session);

	return end_sized_step(&call, session, out, out_size);
}

CK_RV C_EncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		    CK_OBJECT_HANDLE hKey)
{
	return init_with_key(PKCS11_CMD_ENCRYPT_INIT, hSession, pMechanism,
			     hKey);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,
		CK_ULONG ulDataLen, CK_BYTE_PTR pEncryptedData,
		CK_ULONG_PTR pulEncryptedDataLen)
{
	return cipher(PKCS11_CMD_ENCRYPT_ONESHOT, hSession, pData, ulDataLen,
		      pEncryptedData, pulEncryptedDataLen);
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
		      CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart,
		      CK_ULONG_PTR pulEncryptedPartLen)
{
	return transform(PKCS11_CMD_ENCRYPT_UPDATE, hSession, pPart, ulPartLen,
			 pEncryptedPart, pulEncryptedPartLen);
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastEncryptedPart,
		     CK_ULONG_PTR pulLastEncryptedPartLen)
{
	return finish(PKCS11_CMD_ENCRYPT_FINAL, hSession, pLastEncryptedPart,
		      pulLastEncryptedPartLen);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		    CK_OBJECT_HANDLE hKey)
{
	return init_with_key(PKCS11_CMD_DECRYPT_INIT, hSession, pMechanism,
			     hKey);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData,
		CK_ULONG ulEncryptedDataLen, CK_BYTE_PTR pData,
		CK_ULONG_PTR pulDataLen)
{
	return cipher(PKCS11_CMD_DECRYPT_ONESHOT, hSession, pEncryptedData,
		      ulEncryptedDataLen, pData, pulDataLen);
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
		      CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart,
		      CK_ULONG_PTR pulPartLen)
{
	return transform(PKCS11_CMD_DECRYPT_UPDATE, hSession, pEncryptedPart,
			 ulEncryptedPartLen, pPart, pulPartLen);
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastPart,
		     CK_ULONG_PTR pulLastPartLen)
{
	return finish(PKCS11_CMD_DECRYPT_FINAL, hSession, pLastPart,
		      pulLastPartLen);
}

CK_RV C_DigestInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism)
{
	struct ta_call call = begin_step(PKCS11_CMD_DIGEST_INIT, hSession);

	args_mechanism(&call.args, pMechanism);
	return ta_invoke(&call);
}

CK_RV C_Digest(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,
	       CK_ULONG ulDataLen, CK_BYTE_PTR pDigest,
	       CK_ULONG_PTR pulDigestLen)
{
	return transform(PKCS11_CMD_DIGEST_ONESHOT, hSession, pData, ulDataLen,
			 pDigest, pulDigestLen);
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
		     CK_ULONG ulPartLen)
{
	struct ta_call call = begin_step(PKCS11_CMD_DIGEST_UPDATE, hSession);

	in_unless_empty(&call, pPart, ulPartLen);
	return end_step(&call, hSession);
}

CK_RV C_DigestKey(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hKey)
{
	struct ta_call call = begin_step(PKCS11_CMD_DIGEST_KEY, hSession);

	args_ulong(&call.args, hKey);
	return ta_invoke(&call);
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest,
		    CK_ULONG_PTR pulDigestLen)
{
	return finish(PKCS11_CMD_DIGEST_FINAL, hSession, pDigest, pulDigestLen);
}

CK_RV C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		 CK_OBJECT_HANDLE hKey)
{
	return init_with_key(PKCS11_CMD_SIGN_INIT, hSession, pMechanism, hKey);
}

CK_RV C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
	     CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
	return transform(PKCS11_CMD_SIGN_ONESHOT, hSession, pData, ulDataLen,
			 pSignature, pulSignatureLen);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
		   CK_ULONG ulPartLen)
{
	return absorb(PKCS11_CMD_SIGN_UPDATE, hSession, pPart, ulPartLen);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
		  CK_ULONG_PTR pulSignatureLen)
{
	return finish(PKCS11_CMD_SIGN_FINAL, hSession, pSignature,
		      pulSignatureLen);
}

CK_RV C_VerifyInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		   CK_OBJECT_HANDLE hKey)
{
	return init_with_key(PKCS11_CMD_VERIFY_INIT, hSession, pMechanism,
			     hKey);
}

CK_RV C_Verify(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,
	       CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
	       CK_ULONG ulSignatureLen)
{
	struct ta_call call = begin_step(PKCS11_CMD_VERIFY_ONESHOT, hSession);

	in_unless_empty(&call, pData, ulDataLen);
	ta_signature_in(&call, pSignature, ulSignatureLen);
	return end_step(&call, hSession);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
		     CK_ULONG ulPartLen)
{
	return absorb(PKCS11_CMD_VERIFY_UPDATE, hSession, pPart, ulPartLen);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
		    CK_ULONG ulSignatureLen)
{
	struct ta_call call = begin_step(PKCS11_CMD_VERIFY_FINAL, hSession);

	ta_signature_in(&call, pSignature, ulSignatureLen);
	return end_step(&call, hSession);
}
