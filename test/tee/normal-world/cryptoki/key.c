#include "cryptoki.h"

CK_RV C_GenerateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		    CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
		    CK_OBJECT_HANDLE_PTR phKey)
{
	struct ta_call call = ta_begin(PKCS11_CMD_GENERATE_KEY);

	args_ulong(&call.args, hSession);
	args_mechanism(&call.args, pMechanism);
	args_attributes(&call.args, pTemplate, ulCount);
	return ta_invoke_handle(&call, phKey);
}

CK_RV C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
			CK_ATTRIBUTE_PTR pPublicKeyTemplate,
			CK_ULONG ulPublicKeyAttributeCount,
			CK_ATTRIBUTE_PTR pPrivateKeyTemplate,
			CK_ULONG ulPrivateKeyAttributeCount,
			CK_OBJECT_HANDLE_PTR phPublicKey,
			CK_OBJECT_HANDLE_PTR phPrivateKey)
{
	struct ta_call call = ta_begin(PKCS11_CMD_GENERATE_KEY_PAIR);
	uint8_t handles[2 * sizeof(uint32_t)] = { 0 };
	CK_RV rv;

	args_require(&call.args, phPublicKey && phPrivateKey);
	args_require(&call.args, pPublicKeyTemplate && pPrivateKeyTemplate);
	args_ulong(&call.args, hSession);
	args_mechanism(&call.args, pMechanism);
	args_attributes(&call.args, pPublicKeyTemplate,
			ulPublicKeyAttributeCount);
	args_attributes(&call.args, pPrivateKeyTemplate,
			ulPrivateKeyAttributeCount);
	ta_out(&call, handles, sizeof(handles));
	rv = ta_invoke_exact(&call);
	if (rv != CKR_OK)
		return rv;
	*phPublicKey = load_u32(handles);
	*phPrivateKey = load_u32(handles + sizeof(uint32_t));
	return CKR_OK;
}

CK_RV C_WrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey,
		CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
	struct ta_call call = ta_begin(PKCS11_CMD_WRAP_KEY);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hWrappingKey);
	args_ulong(&call.args, hKey);
	args_mechanism(&call.args, pMechanism);
	return ta_invoke_sized(&call, pWrappedKey, pulWrappedKeyLen);
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		  CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey,
		  CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE_PTR pTemplate,
		  CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
	struct ta_call call = ta_begin(PKCS11_CMD_UNWRAP_KEY);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hUnwrappingKey);
	args_mechanism(&call.args, pMechanism);
	args_attributes(&call.args, pTemplate, ulAttributeCount);
	ta_in(&call, pWrappedKey, ulWrappedKeyLen);
	return ta_invoke_handle(&call, phKey);
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
		  CK_OBJECT_HANDLE hBaseKey, CK_ATTRIBUTE_PTR pTemplate,
		  CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
	struct ta_call call = ta_begin(PKCS11_CMD_DERIVE_KEY);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hBaseKey);
	args_mechanism(&call.args, pMechanism);
	args_attributes(&call.args, pTemplate, ulAttributeCount);
	return ta_invoke_handle(&call, phKey);
}
