#include <stdlib.h>

#include "cryptoki.h"

/* A bound for what the caller claims to have room for; it may ask again. */
#define FIND_MAX 4096u

CK_RV C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate,
		     CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phObject)
{
	struct ta_call call = ta_begin(PKCS11_CMD_CREATE_OBJECT);

	args_require(&call.args, pTemplate != NULL);
	args_ulong(&call.args, hSession);
	args_attributes(&call.args, pTemplate, ulCount);
	return ta_invoke_handle(&call, phObject);
}

CK_RV C_CopyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
		   CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
		   CK_OBJECT_HANDLE_PTR phNewObject)
{
	struct ta_call call = ta_begin(PKCS11_CMD_COPY_OBJECT);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hObject);
	args_attributes(&call.args, pTemplate, ulCount);
	return ta_invoke_handle(&call, phNewObject);
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject)
{
	struct ta_call call = ta_begin(PKCS11_CMD_DESTROY_OBJECT);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hObject);
	return ta_invoke(&call);
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
		      CK_ULONG_PTR pulSize)
{
	struct ta_call call = ta_begin(PKCS11_CMD_GET_OBJECT_SIZE);
	uint8_t answer[sizeof(uint32_t)] = { 0 };
	CK_RV rv;

	args_require(&call.args, pulSize != NULL);
	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hObject);
	ta_out(&call, answer, sizeof(answer));
	rv = ta_invoke_exact(&call);
	if (rv == CKR_OK)
		*pulSize = load_ulong(answer);
	return rv;
}

/* §5.7: these codes come with values; any other leaves the template alone. */
static bool fills_template(CK_RV rv)
{
	return rv == CKR_OK || rv == CKR_ATTRIBUTE_SENSITIVE ||
	       rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL;
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
			  CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
	struct ta_call call = ta_begin(PKCS11_CMD_GET_ATTRIBUTE_VALUE);
	size_t start;
	size_t size;
	uint8_t *answer;
	bool sent;
	CK_RV rv;
	CK_RV loaded;

	args_require(&call.args, pTemplate != NULL);
	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hObject);
	start = call.args.size;
	args_attribute_buffers(&call.args, pTemplate, ulCount);
	size = call.args.size - start;
	answer = calloc(1, size ? size : 1);
	if (!answer)
		args_fail(&call.args, CKR_HOST_MEMORY);
	ta_out(&call, answer, size);
	sent = call.args.failure == CKR_OK;
	rv = ta_invoke(&call);
	if (sent && fills_template(rv)) {
		loaded = call.out_size == size
				 ? attributes_load(answer, size, pTemplate,
						   ulCount)
				 : CKR_GENERAL_ERROR;
		if (loaded != CKR_OK)
			rv = loaded;
	}
	free(answer);
	return rv;
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
			  CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
	struct ta_call call = ta_begin(PKCS11_CMD_SET_ATTRIBUTE_VALUE);

	args_ulong(&call.args, hSession);
	args_ulong(&call.args, hObject);
	args_attributes(&call.args, pTemplate, ulCount);
	return ta_invoke(&call);
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate,
			CK_ULONG ulCount)
{
	struct ta_call call = ta_begin(PKCS11_CMD_FIND_OBJECTS_INIT);

	args_ulong(&call.args, hSession);
	args_attributes(&call.args, pTemplate, ulCount);
	return ta_invoke(&call);
}

CK_RV C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
		    CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount)
{
	struct ta_call call = ta_begin(PKCS11_CMD_FIND_OBJECTS);
	const CK_ULONG room = ulMaxObjectCount < FIND_MAX ? ulMaxObjectCount
							  : FIND_MAX;
	uint8_t *handles = calloc(room ? room : 1, sizeof(uint32_t));
	CK_RV rv;

	args_require(&call.args,
		     pulObjectCount && (phObject || !ulMaxObjectCount));
	if (!handles)
		args_fail(&call.args, CKR_HOST_MEMORY);
	args_ulong(&call.args, hSession);
	ta_out(&call, handles, room * sizeof(uint32_t));
	rv = ta_invoke(&call);
	if (rv == CKR_OK && call.out_size % sizeof(uint32_t) != 0)
		rv = CKR_GENERAL_ERROR;
	if (rv == CKR_OK) {
		*pulObjectCount = call.out_size / sizeof(uint32_t);
		for (CK_ULONG i = 0; i < *pulObjectCount; i++)
			phObject[i] = load_u32(handles + i * sizeof(uint32_t));
	}
	free(handles);
	return rv;
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE hSession)
{
	struct ta_call call = ta_begin(PKCS11_CMD_FIND_OBJECTS_FINAL);

	args_ulong(&call.args, hSession);
	return ta_invoke(&call);
}
