/* Objects and keys. */
#include <stdio.h>

#include "calls.h"

static void create_object(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct template template = script_template();
	CK_OBJECT_HANDLE object = 0;
	CK_RV rv = p11->C_CreateObject(session, template.attributes,
				       template.count, &object);

	print_handle(rv, object);
}

static void copy_object(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const CK_OBJECT_HANDLE from = script_number();
	const struct template template = script_template();
	CK_OBJECT_HANDLE object = 0;
	CK_RV rv = p11->C_CopyObject(session, from, template.attributes,
				     template.count, &object);

	print_handle(rv, object);
}

static void destroy_object(void)
{
	const CK_SESSION_HANDLE session = script_number();

	print_rv(p11->C_DestroyObject(session, script_number()));
}

static void get_object_size(void)
{
	const CK_SESSION_HANDLE session = script_number();
	CK_ULONG size = 0;
	CK_RV rv = p11->C_GetObjectSize(session, script_number(), &size);

	print_rv(rv);
	if (rv == CKR_OK)
		printf(" size=%lu", size);
}

static void get_attribute_value(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const CK_OBJECT_HANDLE object = script_number();
	const struct template wanted = script_rooms();

	print_rv(p11->C_GetAttributeValue(session, object, wanted.attributes,
					  wanted.count));
	print_rooms(&wanted);
}

static void set_attribute_value(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const CK_OBJECT_HANDLE object = script_number();
	const struct template template = script_template();

	print_rv(p11->C_SetAttributeValue(session, object, template.attributes,
					  template.count));
}

static void find_objects_init(void)
{
	const CK_SESSION_HANDLE session = script_number();
	const struct template template = script_template();

	print_rv(p11->C_FindObjectsInit(session, template.attributes,
					template.count));
}

static void find_objects(void)
{
	const CK_SESSION_HANDLE session = script_number();
	struct room room = script_room();
	CK_ULONG count = 0;
	CK_RV rv = p11->C_FindObjects(
		session, (CK_OBJECT_HANDLE_PTR)(void *)room.data,
		room.size / sizeof(CK_ULONG), room.absent ? NULL : &count);

	print_list(rv, &room, count);
}

static void find_objects_final(void)
{
	print_rv(p11->C_FindObjectsFinal(script_number()));
}

static void generate_key(void)
{
	const CK_SESSION_HANDLE session = script_number();
	CK_MECHANISM *mechanism = script_mechanism();
	const struct template template = script_template();
	CK_OBJECT_HANDLE key = 0;
	CK_RV rv = p11->C_GenerateKey(session, mechanism, template.attributes,
				      template.count, &key);

	print_handle(rv, key);
}

static void generate_key_pair(void)
{
	const CK_SESSION_HANDLE session = script_number();
	CK_MECHANISM *mechanism = script_mechanism();
	const struct template public = script_template();
	const struct template private = script_template();
	CK_OBJECT_HANDLE public_key = 0;
	CK_OBJECT_HANDLE private_key = 0;
	CK_RV rv = p11->C_GenerateKeyPair(
		session, mechanism, public.attributes, public.count,
		private.attributes, private.count, &public_key, &private_key);

	print_handle(rv, public_key);
	if (rv == CKR_OK)
		printf(" private=%lu", private_key);
}

static void derive_key(void)
{
	const CK_SESSION_HANDLE session = script_number();
	CK_MECHANISM *mechanism = script_mechanism();
	const CK_OBJECT_HANDLE base = script_number();
	const struct template template = script_template();
	CK_OBJECT_HANDLE key = 0;
	CK_RV rv = p11->C_DeriveKey(session, mechanism, base,
				    template.attributes, template.count, &key);

	print_handle(rv, key);
}

static void wrap_key(void)
{
	const CK_SESSION_HANDLE session = script_number();
	CK_MECHANISM *mechanism = script_mechanism();
	const CK_OBJECT_HANDLE with = script_number();
	const CK_OBJECT_HANDLE key = script_number();
	struct room room = script_room();
	CK_ULONG size = room.size;
	CK_RV rv = p11->C_WrapKey(session, mechanism, with, key, room.data,
				  room.absent ? NULL : &size);

	print_data(rv, &room, size);
}

static void unwrap_key(void)
{
	const CK_SESSION_HANDLE session = script_number();
	CK_MECHANISM *mechanism = script_mechanism();
	const CK_OBJECT_HANDLE with = script_number();
	const struct bytes wrapped = script_bytes();
	const struct template template = script_template();
	CK_OBJECT_HANDLE key = 0;
	CK_RV rv = p11->C_UnwrapKey(session, mechanism, with, wrapped.data,
				    wrapped.size, template.attributes,
				    template.count, &key);

	print_handle(rv, key);
}

const struct script_call object_calls[] = {
	{ "create_object", create_object },
	{ "copy_object", copy_object },
	{ "destroy_object", destroy_object },
	{ "get_object_size", get_object_size },
	{ "get_attribute_value", get_attribute_value },
	{ "set_attribute_value", set_attribute_value },
	{ "find_objects_init", find_objects_init },
	{ "find_objects", find_objects },
	{ "find_objects_final", find_objects_final },
	{ "generate_key", generate_key },
	{ "generate_key_pair", generate_key_pair },
	{ "derive_key", derive_key },
	{ "wrap_key", wrap_key },
	{ "unwrap_key", unwrap_key },
	{ NULL, NULL },
};
