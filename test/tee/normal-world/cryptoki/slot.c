#include <stdlib.h>
#include <string.h>

#include "cryptoki.h"

/* Far above any list of the TA's; a bound for what the caller claims to have.
 */
#define LIST_MAX 4096u

static void take(const uint8_t **from, void *to, size_t size)
{
	memcpy(to, *from, size);
	*from += size;
}

static CK_ULONG take_ulong(const uint8_t **from)
{
	const uint8_t *at = *from;

	*from += sizeof(uint32_t);
	return load_ulong(at);
}

/* A list of u32 as a list of CK_ULONG, with the two-call convention of §5.2. */
static CK_RV invoke_list(struct ta_call *call, CK_ULONG *list, CK_ULONG *count)
{
	CK_ULONG room = list && count ? *count : 0;
	CK_ULONG size;
	uint8_t *ids = NULL;
	CK_RV rv;

	if (room > LIST_MAX)
		room = LIST_MAX;
	size = room * sizeof(uint32_t);
	if (list) {
		ids = malloc(size ? size : 1);
		if (!ids)
			args_fail(&call->args, CKR_HOST_MEMORY);
	}
	args_require(&call->args, count != NULL);
	rv = ta_invoke_sized(call, ids, &size);
	if (rv == CKR_OK && size % sizeof(uint32_t) != 0)
		rv = CKR_GENERAL_ERROR;
	if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL)
		*count = size / sizeof(uint32_t);
	for (CK_ULONG i = 0; rv == CKR_OK && list && i < *count; i++)
		list[i] = load_u32(ids + i * sizeof(uint32_t));
	free(ids);
	return rv;
}

CK_RV C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList,
		    CK_ULONG_PTR pulCount)
{
	struct ta_call call = ta_begin(PKCS11_CMD_SLOT_LIST);

	/* Every slot has its token, for ever. */
	(void)tokenPresent;
	/* The TA ignores it; left as it is, it reads as a failure. */
	args_ulong(&call.args, CKR_GENERAL_ERROR);
	return invoke_list(&call, pSlotList, pulCount);
}

CK_RV C_GetMechanismList(CK_SLOT_ID slotID,
			 CK_MECHANISM_TYPE_PTR pMechanismList,
			 CK_ULONG_PTR pulCount)
{
	struct ta_call call = ta_begin(PKCS11_CMD_MECHANISM_IDS);

	args_ulong(&call.args, slotID);
	return invoke_list(&call, pMechanismList, pulCount);
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
	struct ta_call call = ta_begin(PKCS11_CMD_SLOT_INFO);
	uint8_t answer[PKCS11_SLOT_INFO_SIZE] = { 0 };
	const uint8_t *from = answer;
	CK_RV rv;

	args_require(&call.args, pInfo != NULL);
	args_ulong(&call.args, slotID);
	ta_out(&call, answer, sizeof(answer));
	rv = ta_invoke_exact(&call);
	if (rv != CKR_OK)
		return rv;
	take(&from, pInfo->slotDescription, sizeof(pInfo->slotDescription));
	take(&from, pInfo->manufacturerID, sizeof(pInfo->manufacturerID));
	pInfo->flags = take_ulong(&from);
	take(&from, &pInfo->hardwareVersion, sizeof(pInfo->hardwareVersion));
	take(&from, &pInfo->firmwareVersion, sizeof(pInfo->firmwareVersion));
	return CKR_OK;
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
	struct ta_call call = ta_begin(PKCS11_CMD_TOKEN_INFO);
	uint8_t answer[PKCS11_TOKEN_INFO_SIZE] = { 0 };
	const uint8_t *from = answer;
	CK_RV rv;

	args_require(&call.args, pInfo != NULL);
	args_ulong(&call.args, slotID);
	ta_out(&call, answer, sizeof(answer));
	rv = ta_invoke_exact(&call);
	if (rv != CKR_OK)
		return rv;
	take(&from, pInfo->label, sizeof(pInfo->label));
	take(&from, pInfo->manufacturerID, sizeof(pInfo->manufacturerID));
	take(&from, pInfo->model, sizeof(pInfo->model));
	take(&from, pInfo->serialNumber, sizeof(pInfo->serialNumber));
	pInfo->flags = take_ulong(&from);
	pInfo->ulMaxSessionCount = take_ulong(&from);
	pInfo->ulSessionCount = take_ulong(&from);
	pInfo->ulMaxRwSessionCount = take_ulong(&from);
	pInfo->ulRwSessionCount = take_ulong(&from);
	pInfo->ulMaxPinLen = take_ulong(&from);
	pInfo->ulMinPinLen = take_ulong(&from);
	pInfo->ulTotalPublicMemory = take_ulong(&from);
	pInfo->ulFreePublicMemory = take_ulong(&from);
	pInfo->ulTotalPrivateMemory = take_ulong(&from);
	pInfo->ulFreePrivateMemory = take_ulong(&from);
	take(&from, &pInfo->hardwareVersion, sizeof(pInfo->hardwareVersion));
	take(&from, &pInfo->firmwareVersion, sizeof(pInfo->firmwareVersion));
	take(&from, pInfo->utcTime, sizeof(pInfo->utcTime));
	return CKR_OK;
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type,
			 CK_MECHANISM_INFO_PTR pInfo)
{
	struct ta_call call = ta_begin(PKCS11_CMD_MECHANISM_INFO);
	uint8_t answer[PKCS11_MECHANISM_INFO_SIZE] = { 0 };
	const uint8_t *from = answer;
	CK_RV rv;

	args_require(&call.args, pInfo != NULL);
	args_ulong(&call.args, slotID);
	args_ulong(&call.args, type);
	ta_out(&call, answer, sizeof(answer));
	rv = ta_invoke_exact(&call);
	if (rv != CKR_OK)
		return rv;
	pInfo->ulMinKeySize = take_ulong(&from);
	pInfo->ulMaxKeySize = take_ulong(&from);
	pInfo->flags = take_ulong(&from);
	return CKR_OK;
}

CK_RV C_InitToken(CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen,
		  CK_UTF8CHAR_PTR pLabel)
{
	struct ta_call call = ta_begin(PKCS11_CMD_INIT_TOKEN);

	args_require(&call.args, pLabel != NULL);
	args_ulong(&call.args, slotID);
	args_ulong(&call.args, ulPinLen);
	args_bytes(&call.args, pLabel, PKCS11_LABEL_SIZE);
	args_bytes(&call.args, pPin, ulPinLen);
	return ta_invoke(&call);
}
