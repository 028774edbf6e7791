/* Interfaces, and the library's own description. */
#include <string.h>

#include "cryptoki.h"
#include "function_list.h"

#define INTERFACE_NAME "PKCS 11"

/*
 * The first is the default. None is fork-safe: a child has to initialize for
 * itself.
 */
static const struct {
	CK_INTERFACE interface;
	const CK_VERSION *version;
} interfaces[] = {
	{ { (CK_CHAR *)INTERFACE_NAME, (void *)(uintptr_t)&functions_3_0, 0 },
	  &functions_3_0.version },
	{ { (CK_CHAR *)INTERFACE_NAME, (void *)(uintptr_t)&functions_2_40, 0 },
	  &functions_2_40.version },
};

#define INTERFACE_COUNT (sizeof(interfaces) / sizeof(*interfaces))

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
	if (!ppFunctionList)
		return CKR_ARGUMENTS_BAD;
	*ppFunctionList = (CK_FUNCTION_LIST *)(uintptr_t)&functions_2_40;
	return CKR_OK;
}

CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList,
			 CK_ULONG_PTR pulCount)
{
	CK_ULONG room;

	if (!pulCount)
		return CKR_ARGUMENTS_BAD;
	room = *pulCount;
	*pulCount = INTERFACE_COUNT;
	if (!pInterfacesList)
		return CKR_OK;
	if (room < INTERFACE_COUNT)
		return CKR_BUFFER_TOO_SMALL;
	for (size_t i = 0; i < INTERFACE_COUNT; i++)
		pInterfacesList[i] = interfaces[i].interface;
	return CKR_OK;
}

CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
		     CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags)
{
	if (!ppInterface)
		return CKR_ARGUMENTS_BAD;
	if (pInterfaceName &&
	    strcmp((const char *)pInterfaceName, INTERFACE_NAME) != 0)
		return CKR_FUNCTION_FAILED;
	for (size_t i = 0; i < INTERFACE_COUNT; i++) {
		const CK_INTERFACE *interface = &interfaces[i].interface;
		const CK_VERSION *version = interfaces[i].version;

		if ((interface->flags & flags) != flags ||
		    (pVersion && (pVersion->major != version->major ||
				  pVersion->minor != version->minor)))
			continue;
		*ppInterface = (CK_INTERFACE *)(uintptr_t)interface;
		return CKR_OK;
	}
	return CKR_FUNCTION_FAILED;
}

static void set_text(CK_UTF8CHAR *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strlen(text));
}

static CK_RV get_info(CK_INFO_PTR pInfo, CK_VERSION version)
{
	if (!library_is_initialized())
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (!pInfo)
		return CKR_ARGUMENTS_BAD;
	*pInfo = (CK_INFO){
		.cryptokiVersion = version,
		.libraryVersion = { 0, 1 },
	};
	set_text(pInfo->manufacturerID, sizeof(pInfo->manufacturerID),
		 "ota-agent");
	set_text(pInfo->libraryDescription, sizeof(pInfo->libraryDescription),
		 "Cryptoki of the TEE emulator");
	return CKR_OK;
}

CK_RV C_GetInfo(CK_INFO_PTR pInfo)
{
	return get_info(pInfo, functions_2_40.version);
}

CK_RV get_info_3_0(CK_INFO_PTR pInfo)
{
	return get_info(pInfo, functions_3_0.version);
}
