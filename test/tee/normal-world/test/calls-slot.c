/* Slots, tokens, sessions. */
#include <stdio.h>

#include "calls.h"

/* The room of a list is in bytes, so 8 for each. */
static void get_slot_list(void)
{
	struct room room = script_room();
	CK_ULONG count = room.size / sizeof(CK_ULONG);
	CK_RV rv = p11->C_GetSlotList(CK_TRUE,
				      (CK_SLOT_ID_PTR)(void *)room.data,
				      room.absent ? NULL : &count);

	print_list(rv, &room, count);
}

static void get_mechanism_list(void)
{
	const CK_SLOT_ID slot = script_number();
	struct room room = script_room();
	CK_ULONG count = room.size / sizeof(CK_ULONG);
	CK_RV rv = p11->C_GetMechanismList(
		slot, (CK_MECHANISM_TYPE_PTR)(void *)room.data,
		room.absent ? NULL : &count);

	print_list(rv, &room, count);
}

static void get_slot_info(void)
{
	CK_SLOT_INFO info;
	CK_RV rv = p11->C_GetSlotInfo(script_number(), &info);

	print_rv(rv);
	if (rv != CKR_OK)
		return;
	printf(" description=%.64s| manufacturer=%.32s| flags=0x%lx hardware=%u.%u firmware=%u.%u",
	       info.slotDescription, info.manufacturerID, info.flags,
	       info.hardwareVersion.major, info.hardwareVersion.minor,
	       info.firmwareVersion.major, info.firmwareVersion.minor);
}

static void get_token_info(void)
{
	CK_TOKEN_INFO info;
	CK_RV rv = p11->C_GetTokenInfo(script_number(), &info);

	print_rv(rv);
	if (rv != CKR_OK)
		return;
	printf(" label=%.32s| manufacturer=%.32s| model=%.16s| serial=%.16s| flags=0x%lx",
	       info.label, info.manufacturerID, info.model, info.serialNumber,
	       info.flags);
	printf(" sessions=%ld/%ld/%ld/%ld pin=%lu-%lu memory=%ld/%ld/%ld/%ld",
	       (long)info.ulSessionCount, (long)info.ulMaxSessionCount,
	       (long)info.ulRwSessionCount, (long)info.ulMaxRwSessionCount,
	       info.ulMinPinLen, info.ulMaxPinLen,
	       (long)info.ulFreePublicMemory, (long)info.ulTotalPublicMemory,
	       (long)info.ulFreePrivateMemory, (long)info.ulTotalPrivateMemory);
	printf(" hardware=%u.%u firmware=%u.%u", info.hardwareVersion.major,
	       info.hardwareVersion.minor, info.firmwareVersion.major,
	       info.firmwareVersion.minor);
	script_print_bytes("time", info.utcTime, sizeof(info.utcTime));
}

static void get_mechanism_info(void)
{
	const CK_SLOT_ID slot = script_number();
	const CK_MECHANISM_TYPE type = script_number();
	CK_MECHANISM_INFO info;
	CK_RV rv = p11->C_GetMechanismInfo(slot, type, &info);

	print_rv(rv);
	if (rv == CKR_OK)
		printf(" min=%lu max=%lu flags=0x%lx", info.ulMinKeySize,
		       info.ulMaxKeySize, info.flags);
}

static void init_token(void)
{
	const CK_SLOT_ID slot = script_number();
	const struct bytes pin = script_bytes();
	const struct bytes label = script_bytes();

	print_rv(p11->C_InitToken(slot, pin.data, pin.size, label.data));
}

static void init_pin(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct bytes pin = script_bytes();

	print_rv(p11->C_InitPIN(session, pin.data, pin.size));
}

static void set_pin(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct bytes before = script_bytes();
	const struct bytes after = script_bytes();

	print_rv(p11->C_SetPIN(session, before.data, before.size, after.data,
			       after.size));
}

static void open_session(void)
{
	const CK_SLOT_ID slot = script_number();
	const CK_FLAGS flags = script_number();
	CK_SESSION_HANDLE session = 0;
	CK_RV rv = p11->C_OpenSession(slot, flags, NULL, NULL, &session);

	print_handle(rv, session);
}

static void close_session(void)
{
	print_rv(p11->C_CloseSession(script_number()));
}

static void close_all_sessions(void)
{
	print_rv(p11->C_CloseAllSessions(script_number()));
}

static void get_session_info(void)
{
	CK_SESSION_INFO info;
	CK_RV rv = p11->C_GetSessionInfo(script_number(), &info);

	print_rv(rv);
	if (rv == CKR_OK)
		printf(" slot=%lu state=%lu flags=0x%lx error=%lu", info.slotID,
		       info.state, info.flags, info.ulDeviceError);
}

static void login(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const CK_USER_TYPE user = script_number();
	const struct bytes pin = script_bytes();

	print_rv(p11->C_Login(session, user, pin.data, pin.size));
}

static void logout(void)
{
	print_rv(p11->C_Logout(script_number()));
}

static void seed_random(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct bytes seed = script_bytes();

	print_rv(p11->C_SeedRandom(session, seed.data, seed.size));
}

static void generate_random(void)
{
	const CK_SESSION_HANDLE session = script_number();
	struct room room = script_room();
	CK_RV rv = p11->C_GenerateRandom(session, room.data, room.size);

	print_data(rv, &room, room.size);
}

const struct script_call slot_calls[] = {
	{ "get_slot_list", get_slot_list },
	{ "get_mechanism_list", get_mechanism_list },
	{ "get_slot_info", get_slot_info },
	{ "get_token_info", get_token_info },
	{ "get_mechanism_info", get_mechanism_info },
	{ "init_token", init_token },
	{ "init_pin", init_pin },
	{ "set_pin", set_pin },
	{ "open_session", open_session },
	{ "close_session", close_session },
	{ "close_all_sessions", close_all_sessions },
	{ "get_session_info", get_session_info },
	{ "login", login },
	{ "logout", logout },
	{ "seed_random", seed_random },
	{ "generate_random", generate_random },
	{ NULL, NULL },
};
