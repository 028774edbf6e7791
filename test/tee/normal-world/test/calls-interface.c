/* Interfaces, and what v3.0 adds. */
#include <stdio.h>

#include "calls.h"

/* The driver is linked with libckteec too, which has no interfaces. */
#pragma weak C_GetInterface
#pragma weak C_GetInterfaceList

static const CK_FUNCTION_LIST_3_0 *p11_3_0(void)
{
	CK_VERSION version = { 3, 0 };
	CK_INTERFACE *interface = NULL;

	if (C_GetInterface(NULL, &version, &interface, 0) != CKR_OK)
		script_fail("there is no interface of version 3.0", NULL);
	return interface->pFunctionList;
}

static void print_interface(const CK_INTERFACE *interface)
{
	/* Every function list begins with its version. */
	const CK_VERSION *version = interface->pFunctionList;

	printf(" %s/%u.%u/%lu", (const char *)interface->pInterfaceName,
	       version->major, version->minor, interface->flags);
}

/* get_interface_list ROOM: the room in interfaces */
static void get_interface_list(void)
{
	struct room room = script_room();
	CK_INTERFACE *list =
		room.data ? script_allocate(room.size * sizeof(*list)) : NULL;
	CK_ULONG count = room.size;
	CK_RV rv = C_GetInterfaceList(list, room.absent ? NULL : &count);

	print_rv(rv);
	if (!room.absent)
		printf(" count=%lu", count);
	for (CK_ULONG i = 0; rv == CKR_OK && list && i < count; i++)
		print_interface(&list[i]);
}

/* get_interface NAME VERSION FLAGS: NAME ends with 00, VERSION has 2 bytes */
static void get_interface(void)
{
	const struct bytes name = script_bytes();
	const struct bytes version = script_bytes();
	const CK_FLAGS flags = script_number();
	CK_INTERFACE *interface = NULL;
	CK_RV rv = C_GetInterface(name.data, (CK_VERSION *)(void *)version.data,
				  &interface, flags);

	print_rv(rv);
	if (interface)
		print_interface(interface);
}

static void get_interface_nowhere(void)
{
	print_rv(C_GetInterface(NULL, NULL, NULL, 0));
}

/* entry_points: how many there are, and whether both ways lead to the same */
static void entry_points(void)
{
	CK_VERSION version = { 2, 40 };
	const CK_FUNCTION_LIST_3_0 *list = p11_3_0();
	CK_INTERFACE *interface = NULL;
	unsigned int missing = 0;
	unsigned int count = 0;
	unsigned int same = 0;

#define IS_THERE(name, parameters, names) \
	missing += list->name == NULL;    \
	count++;
#define IS_SAME(name, parameters, names) same += list->name == p11->name;
	PKCS11_FUNCTIONS(IS_THERE)
	PKCS11_FUNCTIONS_3_0(IS_THERE)
	PKCS11_FUNCTIONS(IS_SAME)
	C_GetInterface(NULL, &version, &interface, 0);
	printf("functions=%u missing=%u same=%u list=%u.%u %s", count, missing,
	       same, p11->version.major, p11->version.minor,
	       interface && interface->pFunctionList == p11 ? "one" : "two");
}

static void get_info_3_0(void)
{
	CK_INFO info;
	CK_RV rv = p11_3_0()->C_GetInfo(&info);

	print_rv(rv);
	if (rv == CKR_OK)
		printf(" cryptoki=%u.%u", info.cryptokiVersion.major,
		       info.cryptokiVersion.minor);
}

/* login_user SESSION USER PIN NAME */
static void login_user(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const CK_USER_TYPE user = script_number();
	const struct bytes pin = script_bytes();
	const struct bytes name = script_bytes();

	print_rv(p11_3_0()->C_LoginUser(session, user, pin.data, pin.size,
					name.data, name.size));
}

/* session_cancel SESSION FLAGS */
static void session_cancel(void)
{
	const CK_SESSION_HANDLE session = script_number();

	print_rv(p11_3_0()->C_SessionCancel(session, script_number()));
}

/* messages: what each of the functions on messages answers */
static void messages(void)
{
	const CK_FUNCTION_LIST_3_0 *p = p11_3_0();
	const CK_RV rvs[] = {
		p->C_MessageEncryptInit(1, NULL, 0),
		p->C_EncryptMessage(1, NULL, 0, NULL, 0, NULL, 0, NULL, NULL),
		p->C_EncryptMessageBegin(1, NULL, 0, NULL, 0),
		p->C_EncryptMessageNext(1, NULL, 0, NULL, 0, NULL, NULL, 0),
		p->C_MessageEncryptFinal(1),
		p->C_MessageDecryptInit(1, NULL, 0),
		p->C_DecryptMessage(1, NULL, 0, NULL, 0, NULL, 0, NULL, NULL),
		p->C_DecryptMessageBegin(1, NULL, 0, NULL, 0),
		p->C_DecryptMessageNext(1, NULL, 0, NULL, 0, NULL, NULL, 0),
		p->C_MessageDecryptFinal(1),
		p->C_MessageSignInit(1, NULL, 0),
		p->C_SignMessage(1, NULL, 0, NULL, 0, NULL, NULL),
		p->C_SignMessageBegin(1, NULL, 0),
		p->C_SignMessageNext(1, NULL, 0, NULL, 0, NULL, NULL),
		p->C_MessageSignFinal(1),
		p->C_MessageVerifyInit(1, NULL, 0),
		p->C_VerifyMessage(1, NULL, 0, NULL, 0, NULL, 0),
		p->C_VerifyMessageBegin(1, NULL, 0),
		p->C_VerifyMessageNext(1, NULL, 0, NULL, 0, NULL, 0),
		p->C_MessageVerifyFinal(1),
	};

	for (size_t i = 0; i < sizeof(rvs) / sizeof(*rvs); i++)
		printf(" 0x%lx", rvs[i]);
}

const struct script_call interface_calls[] = {
	{ "get_interface_list", get_interface_list },
	{ "get_interface", get_interface },
	{ "get_interface_nowhere", get_interface_nowhere },
	{ "entry_points", entry_points },
	{ "get_info_3_0", get_info_3_0 },
	{ "login_user", login_user },
	{ "session_cancel", session_cancel },
	{ "messages", messages },
	{ NULL, NULL },
};
