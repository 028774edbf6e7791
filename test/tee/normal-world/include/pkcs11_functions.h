/*
 * Every function of PKCS#11 v2.40, in the order of CK_FUNCTION_LIST.
 *
 * One table makes the prototypes and the list, so they cannot disagree.
 */
#ifndef PKCS11_FUNCTIONS_H
#define PKCS11_FUNCTIONS_H

typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
typedef CK_FUNCTION_LIST *CK_FUNCTION_LIST_PTR;
typedef CK_FUNCTION_LIST_PTR *CK_FUNCTION_LIST_PTR_PTR;

/* clang-format off */
#define PKCS11_FUNCTIONS(FUNCTION)                                             \
	FUNCTION(C_Initialize, (CK_VOID_PTR pInitArgs))                        \
	FUNCTION(C_Finalize, (CK_VOID_PTR pReserved))                          \
	FUNCTION(C_GetInfo, (CK_INFO_PTR pInfo))                               \
	FUNCTION(C_GetFunctionList, (CK_FUNCTION_LIST_PTR_PTR ppFunctionList)) \
	FUNCTION(C_GetSlotList, (CK_BBOOL tokenPresent,                        \
		CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount))              \
	FUNCTION(C_GetSlotInfo, (CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo))   \
	FUNCTION(C_GetTokenInfo, (CK_SLOT_ID slotID,                           \
		CK_TOKEN_INFO_PTR pInfo))                                      \
	FUNCTION(C_GetMechanismList, (CK_SLOT_ID slotID,                       \
		CK_MECHANISM_TYPE_PTR pMechanismList, CK_ULONG_PTR pulCount))  \
	FUNCTION(C_GetMechanismInfo, (CK_SLOT_ID slotID,                       \
		CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo))          \
	FUNCTION(C_InitToken, (CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin,        \
		CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pLabel))                    \
	FUNCTION(C_InitPIN, (CK_SESSION_HANDLE hSession,                       \
		CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen))                      \
	FUNCTION(C_SetPIN, (CK_SESSION_HANDLE hSession,                        \
		CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,                    \
		CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen))                   \
	FUNCTION(C_OpenSession, (CK_SLOT_ID slotID, CK_FLAGS flags,            \
		CK_VOID_PTR pApplication, CK_NOTIFY Notify,                    \
		CK_SESSION_HANDLE_PTR phSession))                              \
	FUNCTION(C_CloseSession, (CK_SESSION_HANDLE hSession))                 \
	FUNCTION(C_CloseAllSessions, (CK_SLOT_ID slotID))                      \
	FUNCTION(C_GetSessionInfo, (CK_SESSION_HANDLE hSession,                \
		CK_SESSION_INFO_PTR pInfo))                                    \
	FUNCTION(C_GetOperationState, (CK_SESSION_HANDLE hSession,             \
		CK_BYTE_PTR pOperationState,                                   \
		CK_ULONG_PTR pulOperationStateLen))                            \
	FUNCTION(C_SetOperationState, (CK_SESSION_HANDLE hSession,             \
		CK_BYTE_PTR pOperationState, CK_ULONG ulOperationStateLen,     \
		CK_OBJECT_HANDLE hEncryptionKey,                               \
		CK_OBJECT_HANDLE hAuthenticationKey))                          \
	FUNCTION(C_Login, (CK_SESSION_HANDLE hSession, CK_USER_TYPE userType,  \
		CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen))                      \
	FUNCTION(C_Logout, (CK_SESSION_HANDLE hSession))                       \
	FUNCTION(C_CreateObject, (CK_SESSION_HANDLE hSession,                  \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,                  \
		CK_OBJECT_HANDLE_PTR phObject))                                \
	FUNCTION(C_CopyObject, (CK_SESSION_HANDLE hSession,                    \
		CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,          \
		CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phNewObject))           \
	FUNCTION(C_DestroyObject, (CK_SESSION_HANDLE hSession,                 \
		CK_OBJECT_HANDLE hObject))                                     \
	FUNCTION(C_GetObjectSize, (CK_SESSION_HANDLE hSession,                 \
		CK_OBJECT_HANDLE hObject, CK_ULONG_PTR pulSize))               \
	FUNCTION(C_GetAttributeValue, (CK_SESSION_HANDLE hSession,             \
		CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,          \
		CK_ULONG ulCount))                                             \
	FUNCTION(C_SetAttributeValue, (CK_SESSION_HANDLE hSession,             \
		CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,          \
		CK_ULONG ulCount))                                             \
	FUNCTION(C_FindObjectsInit, (CK_SESSION_HANDLE hSession,               \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount))                 \
	FUNCTION(C_FindObjects, (CK_SESSION_HANDLE hSession,                   \
		CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,      \
		CK_ULONG_PTR pulObjectCount))                                  \
	FUNCTION(C_FindObjectsFinal, (CK_SESSION_HANDLE hSession))             \
	FUNCTION(C_EncryptInit, (CK_SESSION_HANDLE hSession,                   \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey))           \
	FUNCTION(C_Encrypt, (CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,    \
		CK_ULONG ulDataLen, CK_BYTE_PTR pEncryptedData,                \
		CK_ULONG_PTR pulEncryptedDataLen))                             \
	FUNCTION(C_EncryptUpdate, (CK_SESSION_HANDLE hSession,                 \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen,                         \
		CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)) \
	FUNCTION(C_EncryptFinal, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pLastEncryptedPart,                                \
		CK_ULONG_PTR pulLastEncryptedPartLen))                         \
	FUNCTION(C_DecryptInit, (CK_SESSION_HANDLE hSession,                   \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey))           \
	FUNCTION(C_Decrypt, (CK_SESSION_HANDLE hSession,                       \
		CK_BYTE_PTR pEncryptedData, CK_ULONG ulEncryptedDataLen,       \
		CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen))                   \
	FUNCTION(C_DecryptUpdate, (CK_SESSION_HANDLE hSession,                 \
		CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,       \
		CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen))                   \
	FUNCTION(C_DecryptFinal, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pLastPart, CK_ULONG_PTR pulLastPartLen))           \
	FUNCTION(C_DigestInit, (CK_SESSION_HANDLE hSession,                    \
		CK_MECHANISM_PTR pMechanism))                                  \
	FUNCTION(C_Digest, (CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,     \
		CK_ULONG ulDataLen, CK_BYTE_PTR pDigest,                       \
		CK_ULONG_PTR pulDigestLen))                                    \
	FUNCTION(C_DigestUpdate, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen))                        \
	FUNCTION(C_DigestKey, (CK_SESSION_HANDLE hSession,                     \
		CK_OBJECT_HANDLE hKey))                                        \
	FUNCTION(C_DigestFinal, (CK_SESSION_HANDLE hSession,                   \
		CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen))               \
	FUNCTION(C_SignInit, (CK_SESSION_HANDLE hSession,                      \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey))           \
	FUNCTION(C_Sign, (CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,       \
		CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,                    \
		CK_ULONG_PTR pulSignatureLen))                                 \
	FUNCTION(C_SignUpdate, (CK_SESSION_HANDLE hSession,                    \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen))                        \
	FUNCTION(C_SignFinal, (CK_SESSION_HANDLE hSession,                     \
		CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen))         \
	FUNCTION(C_SignRecoverInit, (CK_SESSION_HANDLE hSession,               \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey))           \
	FUNCTION(C_SignRecover, (CK_SESSION_HANDLE hSession,                   \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen))         \
	FUNCTION(C_VerifyInit, (CK_SESSION_HANDLE hSession,                    \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey))           \
	FUNCTION(C_Verify, (CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,     \
		CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,                    \
		CK_ULONG ulSignatureLen))                                      \
	FUNCTION(C_VerifyUpdate, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen))                        \
	FUNCTION(C_VerifyFinal, (CK_SESSION_HANDLE hSession,                   \
		CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen))              \
	FUNCTION(C_VerifyRecoverInit, (CK_SESSION_HANDLE hSession,             \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey))           \
	FUNCTION(C_VerifyRecover, (CK_SESSION_HANDLE hSession,                 \
		CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen,               \
		CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen))                   \
	FUNCTION(C_DigestEncryptUpdate, (CK_SESSION_HANDLE hSession,           \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen,                         \
		CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)) \
	FUNCTION(C_DecryptDigestUpdate, (CK_SESSION_HANDLE hSession,           \
		CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,       \
		CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen))                   \
	FUNCTION(C_SignEncryptUpdate, (CK_SESSION_HANDLE hSession,             \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen,                         \
		CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)) \
	FUNCTION(C_DecryptVerifyUpdate, (CK_SESSION_HANDLE hSession,           \
		CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,       \
		CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen))                   \
	FUNCTION(C_GenerateKey, (CK_SESSION_HANDLE hSession,                   \
		CK_MECHANISM_PTR pMechanism, CK_ATTRIBUTE_PTR pTemplate,       \
		CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey))                 \
	FUNCTION(C_GenerateKeyPair, (CK_SESSION_HANDLE hSession,               \
		CK_MECHANISM_PTR pMechanism,                                   \
		CK_ATTRIBUTE_PTR pPublicKeyTemplate,                           \
		CK_ULONG ulPublicKeyAttributeCount,                            \
		CK_ATTRIBUTE_PTR pPrivateKeyTemplate,                          \
		CK_ULONG ulPrivateKeyAttributeCount,                           \
		CK_OBJECT_HANDLE_PTR phPublicKey,                              \
		CK_OBJECT_HANDLE_PTR phPrivateKey))                            \
	FUNCTION(C_WrapKey, (CK_SESSION_HANDLE hSession,                       \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hWrappingKey,    \
		CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey,                \
		CK_ULONG_PTR pulWrappedKeyLen))                                \
	FUNCTION(C_UnwrapKey, (CK_SESSION_HANDLE hSession,                     \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hUnwrappingKey,  \
		CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen,             \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,         \
		CK_OBJECT_HANDLE_PTR phKey))                                   \
	FUNCTION(C_DeriveKey, (CK_SESSION_HANDLE hSession,                     \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hBaseKey,        \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,         \
		CK_OBJECT_HANDLE_PTR phKey))                                   \
	FUNCTION(C_SeedRandom, (CK_SESSION_HANDLE hSession,                    \
		CK_BYTE_PTR pSeed, CK_ULONG ulSeedLen))                        \
	FUNCTION(C_GenerateRandom, (CK_SESSION_HANDLE hSession,                \
		CK_BYTE_PTR pRandomData, CK_ULONG ulRandomLen))                \
	FUNCTION(C_GetFunctionStatus, (CK_SESSION_HANDLE hSession))            \
	FUNCTION(C_CancelFunction, (CK_SESSION_HANDLE hSession))               \
	FUNCTION(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID_PTR pSlot,    \
		CK_VOID_PTR pReserved))
/* clang-format on */

#define PKCS11_PROTOTYPE(name, arguments) CK_RV name arguments;
#define PKCS11_MEMBER(name, arguments)	  CK_RV(*name) arguments;

PKCS11_FUNCTIONS(PKCS11_PROTOTYPE)

struct CK_FUNCTION_LIST {
	CK_VERSION version;
	PKCS11_FUNCTIONS(PKCS11_MEMBER)
};

#endif
