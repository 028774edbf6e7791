#include <string.h>

#include "cryptoki.h"

/* { u32 bytes, u32 count } before attributes, { u32 type, u32 length } in each
 */
#define HEAD_SIZE 8u

/* How a value is written: CK_ULONG has another size here than in the TA. */
enum kind {
	KIND_BYTES,
	KIND_ULONG,
	KIND_MECHANISMS,
	KIND_TEMPLATE,
};

/* The CK_ULONG attributes that libckteec narrows; others stay 8 bytes. */
static enum kind kind_of(CK_ATTRIBUTE_TYPE type)
{
	switch (type) {
	case CKA_CLASS:
	case CKA_CERTIFICATE_TYPE:
	case CKA_CERTIFICATE_CATEGORY:
	case CKA_NAME_HASH_ALGORITHM:
	case CKA_KEY_TYPE:
	case CKA_HW_FEATURE_TYPE:
	case CKA_MECHANISM_TYPE:
	case CKA_KEY_GEN_MECHANISM:
	case CKA_VALUE_LEN:
	case CKA_MODULUS_BITS:
		return KIND_ULONG;
	case CKA_ALLOWED_MECHANISMS:
		return KIND_MECHANISMS;
	case CKA_WRAP_TEMPLATE:
	case CKA_UNWRAP_TEMPLATE:
	case CKA_DERIVE_TEMPLATE:
		return KIND_TEMPLATE;
	default:
		return KIND_BYTES;
	}
}

static void args_template(struct args *args, const CK_ATTRIBUTE *attributes,
			  CK_ULONG count, unsigned int depth);

static void args_type(struct args *args, CK_ATTRIBUTE_TYPE type)
{
	if (type >= PKCS11_UNAVAILABLE)
		args_fail(args, CKR_ATTRIBUTE_TYPE_INVALID);
	args_ulong(args, type);
}

static void args_ulongs(struct args *args, const CK_ATTRIBUTE *attribute)
{
	const uint8_t *value = attribute->pValue;
	CK_ULONG element;

	if (attribute->ulValueLen % sizeof(element) != 0)
		args_fail(args, CKR_ATTRIBUTE_VALUE_INVALID);
	for (CK_ULONG at = 0;
	     args->failure == CKR_OK && at < attribute->ulValueLen;
	     at += sizeof(element)) {
		memcpy(&element, value + at, sizeof(element));
		args_ulong(args, element);
	}
}

/* Without a value it is an empty template, not an empty value. */
static void args_nested(struct args *args, const CK_ATTRIBUTE *attribute,
			unsigned int depth)
{
	const CK_ULONG size = attribute->pValue ? attribute->ulValueLen : 0;

	if (size % sizeof(CK_ATTRIBUTE) != 0)
		args_fail(args, CKR_ATTRIBUTE_VALUE_INVALID);
	args_template(args, attribute->pValue, size / sizeof(CK_ATTRIBUTE),
		      depth);
}

static void args_value(struct args *args, const CK_ATTRIBUTE *attribute,
		       unsigned int depth)
{
	switch (kind_of(attribute->type)) {
	case KIND_ULONG:
		if (attribute->ulValueLen != sizeof(CK_ULONG))
			args_fail(args, CKR_ATTRIBUTE_VALUE_INVALID);
		args_ulongs(args, attribute);
		break;
	case KIND_MECHANISMS:
		args_ulongs(args, attribute);
		break;
	case KIND_TEMPLATE:
		args_nested(args, attribute, depth + 1);
		break;
	case KIND_BYTES:
		args_bytes(args, attribute->pValue, attribute->ulValueLen);
		break;
	}
}

static void args_template(struct args *args, const CK_ATTRIBUTE *attributes,
			  CK_ULONG count, unsigned int depth)
{
	size_t size;
	size_t length;

	args_require(args, attributes || !count);
	/* Attack: a template that contains itself. */
	if (depth > PKCS11_TEMPLATE_DEPTH_MAX)
		args_fail(args, CKR_ATTRIBUTE_VALUE_INVALID);
	size = args_open(args);
	args_ulong(args, count);
	for (CK_ULONG i = 0; args->failure == CKR_OK && i < count; i++) {
		args_type(args, attributes[i].type);
		length = args_open(args);
		if (attributes[i].pValue ||
		    kind_of(attributes[i].type) == KIND_TEMPLATE)
			args_value(args, &attributes[i], depth);
		args_close(args, length, 0);
	}
	args_close(args, size, sizeof(uint32_t));
}

void args_attributes(struct args *args, const CK_ATTRIBUTE *attributes,
		     CK_ULONG count)
{
	args_template(args, attributes, count, 1);
}

/*
 * The bytes that the TA may fill for this attribute; 0 asks for its length.
 *
 * A buffer that is too small for a whole CK_ULONG is asked for its length as
 * well. A template always has room for an empty one: the TA never gives any.
 */
static CK_ULONG room_of(const CK_ATTRIBUTE *attribute)
{
	const CK_ULONG size = attribute->pValue ? attribute->ulValueLen : 0;

	switch (kind_of(attribute->type)) {
	case KIND_ULONG:
		return size < sizeof(CK_ULONG) ? 0 : sizeof(uint32_t);
	case KIND_MECHANISMS:
		return size / sizeof(CK_ULONG) * sizeof(uint32_t);
	case KIND_TEMPLATE:
		return HEAD_SIZE;
	case KIND_BYTES:
		break;
	}
	return size;
}

/* Attack: the caller's buffers are not initialized; what they held stays. */
void args_attribute_buffers(struct args *args, const CK_ATTRIBUTE *attributes,
			    CK_ULONG count)
{
	size_t size;
	size_t length;

	args_require(args, attributes || !count);
	size = args_open(args);
	args_ulong(args, count);
	for (CK_ULONG i = 0; args->failure == CKR_OK && i < count; i++) {
		args_type(args, attributes[i].type);
		length = args_open(args);
		args_zeros(args, room_of(&attributes[i]));
		args_close(args, length, 0);
	}
	args_close(args, size, sizeof(uint32_t));
}

static CK_RV unavailable(CK_ATTRIBUTE *attribute, CK_RV rv)
{
	attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
	return rv;
}

static CK_RV load_value(CK_ATTRIBUTE *attribute, const uint8_t *value,
			uint32_t length)
{
	const bool widens = kind_of(attribute->type) != KIND_BYTES;
	const CK_ULONG size =
		widens ? length / sizeof(uint32_t) * sizeof(CK_ULONG) : length;
	uint8_t *to = attribute->pValue;
	CK_ULONG element;

	if (kind_of(attribute->type) == KIND_TEMPLATE)
		return unavailable(attribute, CKR_ATTRIBUTE_TYPE_INVALID);
	if (to && size > attribute->ulValueLen)
		return unavailable(attribute, CKR_BUFFER_TOO_SMALL);
	attribute->ulValueLen = size;
	if (!to || !size)
		return CKR_OK;
	if (!widens) {
		memcpy(to, value, size);
		return CKR_OK;
	}
	for (uint32_t at = 0; at < length; at += sizeof(uint32_t)) {
		element = load_ulong(value + at);
		memcpy(to + at * 2, &element, sizeof(element));
	}
	return CKR_OK;
}

/*
 * One attribute at `at`, `left` bytes from the end. Its place has the length
 * that was asked for, whatever length the TA wrote there.
 */
static CK_RV load_attribute(CK_ATTRIBUTE *attribute, const uint8_t *at,
			    size_t left, size_t room)
{
	const bool widens = kind_of(attribute->type) != KIND_BYTES;
	uint32_t length;

	if (left < HEAD_SIZE || left - HEAD_SIZE < room ||
	    load_u32(at) != attribute->type)
		return CKR_GENERAL_ERROR;
	length = load_u32(at + sizeof(uint32_t));
	if (length == PKCS11_UNAVAILABLE)
		return unavailable(attribute, CKR_OK);
	if (widens && length % sizeof(uint32_t) != 0)
		return CKR_GENERAL_ERROR;
	/* Attack: a length beyond its place reads what follows it. */
	if (length > room && room > 0)
		return unavailable(attribute, CKR_BUFFER_TOO_SMALL);
	return load_value(attribute, at + HEAD_SIZE, length);
}

CK_RV attributes_load(const uint8_t *bytes, size_t size,
		      CK_ATTRIBUTE *attributes, CK_ULONG count)
{
	CK_RV rv = CKR_OK;
	CK_RV failure;
	size_t at = HEAD_SIZE;
	size_t room;

	if (size < HEAD_SIZE || load_u32(bytes) != size - HEAD_SIZE ||
	    load_u32(bytes + sizeof(uint32_t)) != count)
		return CKR_GENERAL_ERROR;
	for (CK_ULONG i = 0; i < count; i++) {
		room = room_of(&attributes[i]);
		failure = load_attribute(&attributes[i], bytes + at, size - at,
					 room);
		if (failure == CKR_GENERAL_ERROR)
			return failure;
		if (failure != CKR_OK)
			rv = failure;
		at += HEAD_SIZE + room;
	}
	return at == size ? rv : CKR_GENERAL_ERROR;
}
