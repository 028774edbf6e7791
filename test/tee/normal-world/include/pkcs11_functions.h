/*
 * Every function of PKCS#11 v2.40 and v3.0, in the order of their lists.
 *
 * One table makes the prototypes and the list, so they cannot disagree: name,
 * parameters, and the parameters' names alone.
 */
#ifndef PKCS11_FUNCTIONS_H
#define PKCS11_FUNCTIONS_H

typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
typedef CK_FUNCTION_LIST *CK_FUNCTION_LIST_PTR;
typedef CK_FUNCTION_LIST_PTR *CK_FUNCTION_LIST_PTR_PTR;
typedef struct CK_FUNCTION_LIST_3_0 CK_FUNCTION_LIST_3_0;
typedef CK_FUNCTION_LIST_3_0 *CK_FUNCTION_LIST_3_0_PTR;
typedef CK_FUNCTION_LIST_3_0_PTR *CK_FUNCTION_LIST_3_0_PTR_PTR;

/* clang-format off */
#define PKCS11_FUNCTIONS(FUNCTION)                                             \
	FUNCTION(C_Initialize, (CK_VOID_PTR pInitArgs),                        \
		(pInitArgs))                                                   \
	FUNCTION(C_Finalize, (CK_VOID_PTR pReserved),                          \
		(pReserved))                                                   \
	FUNCTION(C_GetInfo, (CK_INFO_PTR pInfo),                               \
		(pInfo))                                                       \
	FUNCTION(C_GetFunctionList, (                                          \
		CK_FUNCTION_LIST_PTR_PTR ppFunctionList),                      \
		(ppFunctionList))                                              \
	FUNCTION(C_GetSlotList, (CK_BBOOL tokenPresent,                        \
		CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount),              \
		(tokenPresent, pSlotList, pulCount))                           \
	FUNCTION(C_GetSlotInfo, (CK_SLOT_ID slotID,                            \
		CK_SLOT_INFO_PTR pInfo),                                       \
		(slotID, pInfo))                                               \
	FUNCTION(C_GetTokenInfo, (CK_SLOT_ID slotID,                           \
		CK_TOKEN_INFO_PTR pInfo),                                      \
		(slotID, pInfo))                                               \
	FUNCTION(C_GetMechanismList, (CK_SLOT_ID slotID,                       \
		CK_MECHANISM_TYPE_PTR pMechanismList,                          \
		CK_ULONG_PTR pulCount),                                        \
		(slotID, pMechanismList, pulCount))                            \
	FUNCTION(C_GetMechanismInfo, (CK_SLOT_ID slotID,                       \
		CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo),          \
		(slotID, type, pInfo))                                         \
	FUNCTION(C_InitToken, (CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin,        \
		CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pLabel),                    \
		(slotID, pPin, ulPinLen, pLabel))                              \
	FUNCTION(C_InitPIN, (CK_SESSION_HANDLE hSession,                       \
		CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen),                      \
		(hSession, pPin, ulPinLen))                                    \
	FUNCTION(C_SetPIN, (CK_SESSION_HANDLE hSession,                        \
		CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,                    \
		CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen),                   \
		(hSession, pOldPin, ulOldLen, pNewPin, ulNewLen))              \
	FUNCTION(C_OpenSession, (CK_SLOT_ID slotID, CK_FLAGS flags,            \
		CK_VOID_PTR pApplication, CK_NOTIFY Notify,                    \
		CK_SESSION_HANDLE_PTR phSession),                              \
		(slotID, flags, pApplication, Notify, phSession))              \
	FUNCTION(C_CloseSession, (CK_SESSION_HANDLE hSession),                 \
		(hSession))                                                    \
	FUNCTION(C_CloseAllSessions, (CK_SLOT_ID slotID),                      \
		(slotID))                                                      \
	FUNCTION(C_GetSessionInfo, (CK_SESSION_HANDLE hSession,                \
		CK_SESSION_INFO_PTR pInfo),                                    \
		(hSession, pInfo))                                             \
	FUNCTION(C_GetOperationState, (CK_SESSION_HANDLE hSession,             \
		CK_BYTE_PTR pOperationState,                                   \
		CK_ULONG_PTR pulOperationStateLen),                            \
		(hSession, pOperationState, pulOperationStateLen))             \
	FUNCTION(C_SetOperationState, (CK_SESSION_HANDLE hSession,             \
		CK_BYTE_PTR pOperationState,                                   \
		CK_ULONG ulOperationStateLen,                                  \
		CK_OBJECT_HANDLE hEncryptionKey,                               \
		CK_OBJECT_HANDLE hAuthenticationKey),                          \
		(hSession, pOperationState, ulOperationStateLen,               \
		hEncryptionKey, hAuthenticationKey))                           \
	FUNCTION(C_Login, (CK_SESSION_HANDLE hSession,                         \
		CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,                   \
		CK_ULONG ulPinLen),                                            \
		(hSession, userType, pPin, ulPinLen))                          \
	FUNCTION(C_Logout, (CK_SESSION_HANDLE hSession),                       \
		(hSession))                                                    \
	FUNCTION(C_CreateObject, (CK_SESSION_HANDLE hSession,                  \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,                  \
		CK_OBJECT_HANDLE_PTR phObject),                                \
		(hSession, pTemplate, ulCount, phObject))                      \
	FUNCTION(C_CopyObject, (CK_SESSION_HANDLE hSession,                    \
		CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,          \
		CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phNewObject),           \
		(hSession, hObject, pTemplate, ulCount, phNewObject))          \
	FUNCTION(C_DestroyObject, (CK_SESSION_HANDLE hSession,                 \
		CK_OBJECT_HANDLE hObject),                                     \
		(hSession, hObject))                                           \
	FUNCTION(C_GetObjectSize, (CK_SESSION_HANDLE hSession,                 \
		CK_OBJECT_HANDLE hObject, CK_ULONG_PTR pulSize),               \
		(hSession, hObject, pulSize))                                  \
	FUNCTION(C_GetAttributeValue, (CK_SESSION_HANDLE hSession,             \
		CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,          \
		CK_ULONG ulCount),                                             \
		(hSession, hObject, pTemplate, ulCount))                       \
	FUNCTION(C_SetAttributeValue, (CK_SESSION_HANDLE hSession,             \
		CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,          \
		CK_ULONG ulCount),                                             \
		(hSession, hObject, pTemplate, ulCount))                       \
	FUNCTION(C_FindObjectsInit, (CK_SESSION_HANDLE hSession,               \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount),                 \
		(hSession, pTemplate, ulCount))                                \
	FUNCTION(C_FindObjects, (CK_SESSION_HANDLE hSession,                   \
		CK_OBJECT_HANDLE_PTR phObject,                                 \
		CK_ULONG ulMaxObjectCount,                                     \
		CK_ULONG_PTR pulObjectCount),                                  \
		(hSession, phObject, ulMaxObjectCount, pulObjectCount))        \
	FUNCTION(C_FindObjectsFinal, (CK_SESSION_HANDLE hSession),             \
		(hSession))                                                    \
	FUNCTION(C_EncryptInit, (CK_SESSION_HANDLE hSession,                   \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_Encrypt, (CK_SESSION_HANDLE hSession,                       \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pEncryptedData,                                    \
		CK_ULONG_PTR pulEncryptedDataLen),                             \
		(hSession, pData, ulDataLen, pEncryptedData,                   \
		pulEncryptedDataLen))                                          \
	FUNCTION(C_EncryptUpdate, (CK_SESSION_HANDLE hSession,                 \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen,                         \
		CK_BYTE_PTR pEncryptedPart,                                    \
		CK_ULONG_PTR pulEncryptedPartLen),                             \
		(hSession, pPart, ulPartLen, pEncryptedPart,                   \
		pulEncryptedPartLen))                                          \
	FUNCTION(C_EncryptFinal, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pLastEncryptedPart,                                \
		CK_ULONG_PTR pulLastEncryptedPartLen),                         \
		(hSession, pLastEncryptedPart,                                 \
		pulLastEncryptedPartLen))                                      \
	FUNCTION(C_DecryptInit, (CK_SESSION_HANDLE hSession,                   \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_Decrypt, (CK_SESSION_HANDLE hSession,                       \
		CK_BYTE_PTR pEncryptedData,                                    \
		CK_ULONG ulEncryptedDataLen, CK_BYTE_PTR pData,                \
		CK_ULONG_PTR pulDataLen),                                      \
		(hSession, pEncryptedData, ulEncryptedDataLen, pData,          \
		pulDataLen))                                                   \
	FUNCTION(C_DecryptUpdate, (CK_SESSION_HANDLE hSession,                 \
		CK_BYTE_PTR pEncryptedPart,                                    \
		CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart,                \
		CK_ULONG_PTR pulPartLen),                                      \
		(hSession, pEncryptedPart, ulEncryptedPartLen, pPart,          \
		pulPartLen))                                                   \
	FUNCTION(C_DecryptFinal, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pLastPart, CK_ULONG_PTR pulLastPartLen),           \
		(hSession, pLastPart, pulLastPartLen))                         \
	FUNCTION(C_DigestInit, (CK_SESSION_HANDLE hSession,                    \
		CK_MECHANISM_PTR pMechanism),                                  \
		(hSession, pMechanism))                                        \
	FUNCTION(C_Digest, (CK_SESSION_HANDLE hSession,                        \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen),               \
		(hSession, pData, ulDataLen, pDigest, pulDigestLen))           \
	FUNCTION(C_DigestUpdate, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen),                        \
		(hSession, pPart, ulPartLen))                                  \
	FUNCTION(C_DigestKey, (CK_SESSION_HANDLE hSession,                     \
		CK_OBJECT_HANDLE hKey),                                        \
		(hSession, hKey))                                              \
	FUNCTION(C_DigestFinal, (CK_SESSION_HANDLE hSession,                   \
		CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen),               \
		(hSession, pDigest, pulDigestLen))                             \
	FUNCTION(C_SignInit, (CK_SESSION_HANDLE hSession,                      \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_Sign, (CK_SESSION_HANDLE hSession,                          \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen),         \
		(hSession, pData, ulDataLen, pSignature,                       \
		pulSignatureLen))                                              \
	FUNCTION(C_SignUpdate, (CK_SESSION_HANDLE hSession,                    \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen),                        \
		(hSession, pPart, ulPartLen))                                  \
	FUNCTION(C_SignFinal, (CK_SESSION_HANDLE hSession,                     \
		CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen),         \
		(hSession, pSignature, pulSignatureLen))                       \
	FUNCTION(C_SignRecoverInit, (CK_SESSION_HANDLE hSession,               \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_SignRecover, (CK_SESSION_HANDLE hSession,                   \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen),         \
		(hSession, pData, ulDataLen, pSignature,                       \
		pulSignatureLen))                                              \
	FUNCTION(C_VerifyInit, (CK_SESSION_HANDLE hSession,                    \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_Verify, (CK_SESSION_HANDLE hSession,                        \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen),              \
		(hSession, pData, ulDataLen, pSignature,                       \
		ulSignatureLen))                                               \
	FUNCTION(C_VerifyUpdate, (CK_SESSION_HANDLE hSession,                  \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen),                        \
		(hSession, pPart, ulPartLen))                                  \
	FUNCTION(C_VerifyFinal, (CK_SESSION_HANDLE hSession,                   \
		CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen),              \
		(hSession, pSignature, ulSignatureLen))                        \
	FUNCTION(C_VerifyRecoverInit, (CK_SESSION_HANDLE hSession,             \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_VerifyRecover, (CK_SESSION_HANDLE hSession,                 \
		CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen,               \
		CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen),                   \
		(hSession, pSignature, ulSignatureLen, pData,                  \
		pulDataLen))                                                   \
	FUNCTION(C_DigestEncryptUpdate, (CK_SESSION_HANDLE hSession,           \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen,                         \
		CK_BYTE_PTR pEncryptedPart,                                    \
		CK_ULONG_PTR pulEncryptedPartLen),                             \
		(hSession, pPart, ulPartLen, pEncryptedPart,                   \
		pulEncryptedPartLen))                                          \
	FUNCTION(C_DecryptDigestUpdate, (CK_SESSION_HANDLE hSession,           \
		CK_BYTE_PTR pEncryptedPart,                                    \
		CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart,                \
		CK_ULONG_PTR pulPartLen),                                      \
		(hSession, pEncryptedPart, ulEncryptedPartLen, pPart,          \
		pulPartLen))                                                   \
	FUNCTION(C_SignEncryptUpdate, (CK_SESSION_HANDLE hSession,             \
		CK_BYTE_PTR pPart, CK_ULONG ulPartLen,                         \
		CK_BYTE_PTR pEncryptedPart,                                    \
		CK_ULONG_PTR pulEncryptedPartLen),                             \
		(hSession, pPart, ulPartLen, pEncryptedPart,                   \
		pulEncryptedPartLen))                                          \
	FUNCTION(C_DecryptVerifyUpdate, (CK_SESSION_HANDLE hSession,           \
		CK_BYTE_PTR pEncryptedPart,                                    \
		CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart,                \
		CK_ULONG_PTR pulPartLen),                                      \
		(hSession, pEncryptedPart, ulEncryptedPartLen, pPart,          \
		pulPartLen))                                                   \
	FUNCTION(C_GenerateKey, (CK_SESSION_HANDLE hSession,                   \
		CK_MECHANISM_PTR pMechanism,                                   \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,                  \
		CK_OBJECT_HANDLE_PTR phKey),                                   \
		(hSession, pMechanism, pTemplate, ulCount, phKey))             \
	FUNCTION(C_GenerateKeyPair, (CK_SESSION_HANDLE hSession,               \
		CK_MECHANISM_PTR pMechanism,                                   \
		CK_ATTRIBUTE_PTR pPublicKeyTemplate,                           \
		CK_ULONG ulPublicKeyAttributeCount,                            \
		CK_ATTRIBUTE_PTR pPrivateKeyTemplate,                          \
		CK_ULONG ulPrivateKeyAttributeCount,                           \
		CK_OBJECT_HANDLE_PTR phPublicKey,                              \
		CK_OBJECT_HANDLE_PTR phPrivateKey),                            \
		(hSession, pMechanism, pPublicKeyTemplate,                     \
		ulPublicKeyAttributeCount, pPrivateKeyTemplate,                \
		ulPrivateKeyAttributeCount, phPublicKey, phPrivateKey))        \
	FUNCTION(C_WrapKey, (CK_SESSION_HANDLE hSession,                       \
		CK_MECHANISM_PTR pMechanism,                                   \
		CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey,          \
		CK_BYTE_PTR pWrappedKey,                                       \
		CK_ULONG_PTR pulWrappedKeyLen),                                \
		(hSession, pMechanism, hWrappingKey, hKey, pWrappedKey,        \
		pulWrappedKeyLen))                                             \
	FUNCTION(C_UnwrapKey, (CK_SESSION_HANDLE hSession,                     \
		CK_MECHANISM_PTR pMechanism,                                   \
		CK_OBJECT_HANDLE hUnwrappingKey,                               \
		CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen,             \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,         \
		CK_OBJECT_HANDLE_PTR phKey),                                   \
		(hSession, pMechanism, hUnwrappingKey, pWrappedKey,            \
		ulWrappedKeyLen, pTemplate, ulAttributeCount, phKey))          \
	FUNCTION(C_DeriveKey, (CK_SESSION_HANDLE hSession,                     \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hBaseKey,        \
		CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,         \
		CK_OBJECT_HANDLE_PTR phKey),                                   \
		(hSession, pMechanism, hBaseKey, pTemplate,                    \
		ulAttributeCount, phKey))                                      \
	FUNCTION(C_SeedRandom, (CK_SESSION_HANDLE hSession,                    \
		CK_BYTE_PTR pSeed, CK_ULONG ulSeedLen),                        \
		(hSession, pSeed, ulSeedLen))                                  \
	FUNCTION(C_GenerateRandom, (CK_SESSION_HANDLE hSession,                \
		CK_BYTE_PTR pRandomData, CK_ULONG ulRandomLen),                \
		(hSession, pRandomData, ulRandomLen))                          \
	FUNCTION(C_GetFunctionStatus, (CK_SESSION_HANDLE hSession),            \
		(hSession))                                                    \
	FUNCTION(C_CancelFunction, (CK_SESSION_HANDLE hSession),               \
		(hSession))                                                    \
	FUNCTION(C_WaitForSlotEvent, (CK_FLAGS flags,                          \
		CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved),                  \
		(flags, pSlot, pReserved))

/* Operations on messages: v3.0 adds them, the TA has none. */
#define PKCS11_MESSAGE_FUNCTIONS(FUNCTION)                                     \
	FUNCTION(C_MessageEncryptInit, (CK_SESSION_HANDLE hSession,            \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_EncryptMessage, (CK_SESSION_HANDLE hSession,                \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pAssociatedData,                                   \
		CK_ULONG ulAssociatedDataLen, CK_BYTE_PTR pPlaintext,          \
		CK_ULONG ulPlaintextLen, CK_BYTE_PTR pCiphertext,              \
		CK_ULONG_PTR pulCiphertextLen),                                \
		(hSession, pParameter, ulParameterLen, pAssociatedData,        \
		ulAssociatedDataLen, pPlaintext, ulPlaintextLen,               \
		pCiphertext, pulCiphertextLen))                                \
	FUNCTION(C_EncryptMessageBegin, (CK_SESSION_HANDLE hSession,           \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pAssociatedData,                                   \
		CK_ULONG ulAssociatedDataLen),                                 \
		(hSession, pParameter, ulParameterLen, pAssociatedData,        \
		ulAssociatedDataLen))                                          \
	FUNCTION(C_EncryptMessageNext, (CK_SESSION_HANDLE hSession,            \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pPlaintextPart,                                    \
		CK_ULONG ulPlaintextPartLen,                                   \
		CK_BYTE_PTR pCiphertextPart,                                   \
		CK_ULONG_PTR pulCiphertextPartLen, CK_FLAGS flags),            \
		(hSession, pParameter, ulParameterLen, pPlaintextPart,         \
		ulPlaintextPartLen, pCiphertextPart,                           \
		pulCiphertextPartLen, flags))                                  \
	FUNCTION(C_MessageEncryptFinal, (CK_SESSION_HANDLE hSession),          \
		(hSession))                                                    \
	FUNCTION(C_MessageDecryptInit, (CK_SESSION_HANDLE hSession,            \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_DecryptMessage, (CK_SESSION_HANDLE hSession,                \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pAssociatedData,                                   \
		CK_ULONG ulAssociatedDataLen, CK_BYTE_PTR pCiphertext,         \
		CK_ULONG ulCiphertextLen, CK_BYTE_PTR pPlaintext,              \
		CK_ULONG_PTR pulPlaintextLen),                                 \
		(hSession, pParameter, ulParameterLen, pAssociatedData,        \
		ulAssociatedDataLen, pCiphertext, ulCiphertextLen,             \
		pPlaintext, pulPlaintextLen))                                  \
	FUNCTION(C_DecryptMessageBegin, (CK_SESSION_HANDLE hSession,           \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pAssociatedData,                                   \
		CK_ULONG ulAssociatedDataLen),                                 \
		(hSession, pParameter, ulParameterLen, pAssociatedData,        \
		ulAssociatedDataLen))                                          \
	FUNCTION(C_DecryptMessageNext, (CK_SESSION_HANDLE hSession,            \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pCiphertextPart,                                   \
		CK_ULONG ulCiphertextPartLen,                                  \
		CK_BYTE_PTR pPlaintextPart,                                    \
		CK_ULONG_PTR pulPlaintextPartLen, CK_FLAGS flags),             \
		(hSession, pParameter, ulParameterLen, pCiphertextPart,        \
		ulCiphertextPartLen, pPlaintextPart,                           \
		pulPlaintextPartLen, flags))                                   \
	FUNCTION(C_MessageDecryptFinal, (CK_SESSION_HANDLE hSession),          \
		(hSession))                                                    \
	FUNCTION(C_MessageSignInit, (CK_SESSION_HANDLE hSession,               \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_SignMessage, (CK_SESSION_HANDLE hSession,                   \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen),         \
		(hSession, pParameter, ulParameterLen, pData,                  \
		ulDataLen, pSignature, pulSignatureLen))                       \
	FUNCTION(C_SignMessageBegin, (CK_SESSION_HANDLE hSession,              \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen),              \
		(hSession, pParameter, ulParameterLen))                        \
	FUNCTION(C_SignMessageNext, (CK_SESSION_HANDLE hSession,               \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen),         \
		(hSession, pParameter, ulParameterLen, pData,                  \
		ulDataLen, pSignature, pulSignatureLen))                       \
	FUNCTION(C_MessageSignFinal, (CK_SESSION_HANDLE hSession),             \
		(hSession))                                                    \
	FUNCTION(C_MessageVerifyInit, (CK_SESSION_HANDLE hSession,             \
		CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey),           \
		(hSession, pMechanism, hKey))                                  \
	FUNCTION(C_VerifyMessage, (CK_SESSION_HANDLE hSession,                 \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen),              \
		(hSession, pParameter, ulParameterLen, pData,                  \
		ulDataLen, pSignature, ulSignatureLen))                        \
	FUNCTION(C_VerifyMessageBegin, (CK_SESSION_HANDLE hSession,            \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen),              \
		(hSession, pParameter, ulParameterLen))                        \
	FUNCTION(C_VerifyMessageNext, (CK_SESSION_HANDLE hSession,             \
		CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,               \
		CK_BYTE_PTR pData, CK_ULONG ulDataLen,                         \
		CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen),              \
		(hSession, pParameter, ulParameterLen, pData,                  \
		ulDataLen, pSignature, ulSignatureLen))                        \
	FUNCTION(C_MessageVerifyFinal, (CK_SESSION_HANDLE hSession),           \
		(hSession))

/* What v3.0 adds, in the order of CK_FUNCTION_LIST_3_0. */
#define PKCS11_FUNCTIONS_3_0(FUNCTION)                                         \
	FUNCTION(C_GetInterfaceList, (CK_INTERFACE_PTR pInterfacesList,        \
		CK_ULONG_PTR pulCount),                                        \
		(pInterfacesList, pulCount))                                   \
	FUNCTION(C_GetInterface, (CK_UTF8CHAR_PTR pInterfaceName,              \
		CK_VERSION_PTR pVersion,                                       \
		CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags),             \
		(pInterfaceName, pVersion, ppInterface, flags))                \
	FUNCTION(C_LoginUser, (CK_SESSION_HANDLE hSession,                     \
		CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,                   \
		CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pUsername,                  \
		CK_ULONG ulUsernameLen),                                       \
		(hSession, userType, pPin, ulPinLen, pUsername,                \
		ulUsernameLen))                                                \
	FUNCTION(C_SessionCancel, (CK_SESSION_HANDLE hSession,                 \
		CK_FLAGS flags),                                               \
		(hSession, flags))                                             \
	PKCS11_MESSAGE_FUNCTIONS(FUNCTION)
/* clang-format on */

/* The library replaces it to put checks in between. */
#ifndef PKCS11_PROTOTYPE
#define PKCS11_PROTOTYPE(name, parameters, names) CK_RV name parameters;
#endif
#define PKCS11_MEMBER(name, parameters, names) CK_RV(*name) parameters;

PKCS11_FUNCTIONS(PKCS11_PROTOTYPE)
PKCS11_FUNCTIONS_3_0(PKCS11_PROTOTYPE)

struct CK_FUNCTION_LIST {
	CK_VERSION version;
	PKCS11_FUNCTIONS(PKCS11_MEMBER)
};

struct CK_FUNCTION_LIST_3_0 {
	CK_VERSION version;
	PKCS11_FUNCTIONS(PKCS11_MEMBER)
	PKCS11_FUNCTIONS_3_0(PKCS11_MEMBER)
};

#endif
