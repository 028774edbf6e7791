/*
 * Fuzzes how Cryptoki arguments are serialized and answers read back:
 * templates, mechanisms, and the TA's copy of a C_GetAttributeValue template.
 *
 * Every pointer the input asks for is to memory of exactly its size, so that
 * AddressSanitizer sees the first byte too many.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cryptoki.h"
#include "fuzz.h"

#define MAX_ATTRIBUTES 6u
/* One level more than the library takes. */
#define MAX_DEPTH  7u
#define MAX_BLOCKS 256u
#define HEAD_SIZE  8u

static const CK_ATTRIBUTE_TYPE types[] = {
	CKA_CLASS,	     CKA_TOKEN,
	CKA_LABEL,	     CKA_VALUE,
	CKA_KEY_TYPE,	     CKA_VALUE_LEN,
	CKA_MODULUS_BITS,    CKA_ALLOWED_MECHANISMS,
	CKA_WRAP_TEMPLATE,   CKA_UNWRAP_TEMPLATE,
	CKA_DERIVE_TEMPLATE, CKA_EC_PARAMS,
	0xfffffffful,	     ~0ul,
};

/* Where a structure points to bytes, and where it says how many. */
struct pointer {
	size_t at;
	size_t length_at;
};

struct structure {
	CK_MECHANISM_TYPE mechanism;
	size_t size;
	unsigned int count;
	struct pointer pointers[2];
};

#define POINTER(type, pointer, length)               \
	{                                            \
		.at = offsetof(type, pointer),       \
		.length_at = offsetof(type, length), \
	}

static const struct structure structures[] = {
	{ CKM_AES_ECB, 0, 0, { { 0 } } },
	{ CKM_AES_CBC, 16, 0, { { 0 } } },
	{ CKM_SHA256_HMAC_GENERAL,
	  sizeof(CK_MAC_GENERAL_PARAMS),
	  0,
	  { { 0 } } },
	{ CKM_AES_CTR, sizeof(CK_AES_CTR_PARAMS), 0, { { 0 } } },
	{ CKM_RSA_PKCS_PSS, sizeof(CK_RSA_PKCS_PSS_PARAMS), 0, { { 0 } } },
	{ CKM_AES_GCM,
	  sizeof(CK_GCM_PARAMS),
	  2,
	  { POINTER(CK_GCM_PARAMS, pIv, ulIvLen),
	    POINTER(CK_GCM_PARAMS, pAAD, ulAADLen) } },
	{ CKM_RSA_PKCS_OAEP,
	  sizeof(CK_RSA_PKCS_OAEP_PARAMS),
	  1,
	  { POINTER(CK_RSA_PKCS_OAEP_PARAMS, pSourceData, ulSourceDataLen) } },
	{ CKM_ECDH1_DERIVE,
	  sizeof(CK_ECDH1_DERIVE_PARAMS),
	  2,
	  { POINTER(CK_ECDH1_DERIVE_PARAMS, pSharedData, ulSharedDataLen),
	    POINTER(CK_ECDH1_DERIVE_PARAMS, pPublicData, ulPublicDataLen) } },
	{ CKM_AES_ECB_ENCRYPT_DATA,
	  sizeof(CK_KEY_DERIVATION_STRING_DATA),
	  1,
	  { POINTER(CK_KEY_DERIVATION_STRING_DATA, pData, ulLen) } },
	{ CKM_AES_CBC_ENCRYPT_DATA,
	  sizeof(CK_AES_CBC_ENCRYPT_DATA_PARAMS),
	  1,
	  { POINTER(CK_AES_CBC_ENCRYPT_DATA_PARAMS, pData, length) } },
	{ CKM_EDDSA,
	  sizeof(CK_EDDSA_PARAMS),
	  1,
	  { POINTER(CK_EDDSA_PARAMS, pContextData, ulContextDataLen) } },
};

/* What is left of the input, and what was allocated for it. */
struct source {
	const uint8_t *next;
	size_t left;
	void *blocks[MAX_BLOCKS];
	size_t block_count;
};

static uint8_t take(struct source *from)
{
	if (!from->left)
		return 0;
	from->left--;
	return *from->next++;
}

/* Never NULL; freed with the source. */
static void *allocate(struct source *from, size_t size)
{
	void *block;

	assert(from->block_count < MAX_BLOCKS);
	block = malloc(size ? size : 1);
	assert(block);
	memset(block, 0xa5, size);
	from->blocks[from->block_count++] = block;
	return block;
}

static void *take_bytes(struct source *from, size_t size)
{
	uint8_t *bytes = allocate(from, size);
	const size_t there = size < from->left ? size : from->left;

	memcpy(bytes, from->next, there);
	from->next += there;
	from->left -= there;
	return bytes;
}

static void free_all(struct source *from)
{
	while (from->block_count)
		free(from->blocks[--from->block_count]);
}

static CK_ATTRIBUTE *take_template(struct source *from, CK_ULONG *count,
				   unsigned int depth);

static void take_attribute(struct source *from, CK_ATTRIBUTE *attribute,
			   unsigned int depth)
{
	const uint8_t kind = take(from);
	CK_ULONG count;

	attribute->type = types[take(from) % (sizeof(types) / sizeof(*types))];
	switch (kind % 5) {
	case 0:
		attribute->pValue = NULL;
		attribute->ulValueLen = take(from);
		break;
	case 1:
		attribute->ulValueLen = sizeof(CK_ULONG);
		attribute->pValue = take_bytes(from, sizeof(CK_ULONG));
		break;
	case 2:
		if (depth < MAX_DEPTH) {
			attribute->pValue =
				take_template(from, &count, depth + 1);
			attribute->ulValueLen = count * sizeof(CK_ATTRIBUTE);
			attribute->type = CKA_UNWRAP_TEMPLATE;
			break;
		}
		/* fallthrough */
	default:
		attribute->ulValueLen = take(from) % 64u;
		attribute->pValue = take_bytes(from, attribute->ulValueLen);
		/* What is no template must not be read as one. */
		if (attribute->type == CKA_WRAP_TEMPLATE ||
		    attribute->type == CKA_UNWRAP_TEMPLATE ||
		    attribute->type == CKA_DERIVE_TEMPLATE)
			attribute->type = CKA_ID;
	}
}

static CK_ATTRIBUTE *take_template(struct source *from, CK_ULONG *count,
				   unsigned int depth)
{
	CK_ATTRIBUTE *attributes;

	*count = depth > 2 ? take(from) % 3u : take(from) % MAX_ATTRIBUTES;
	if (from->block_count > MAX_BLOCKS / 2)
		*count = 0;
	attributes = allocate(from, *count * sizeof(*attributes));
	for (CK_ULONG i = 0; i < *count; i++)
		take_attribute(from, &attributes[i], depth);
	return attributes;
}

/* What the TA would read: sizes that add up, counts that are right. */
static void check_serialized(const uint8_t *bytes, size_t size, CK_ULONG count)
{
	size_t at = HEAD_SIZE;

	assert(size >= HEAD_SIZE && load_u32(bytes) == size - HEAD_SIZE);
	assert(load_u32(bytes + 4) == count);
	for (CK_ULONG i = 0; i < count; i++) {
		assert(size - at >= HEAD_SIZE);
		at += HEAD_SIZE + load_u32(bytes + at + 4);
		assert(at <= size);
	}
	assert(at == size);
}

static void fuzz_serialize(struct source *from)
{
	struct args args = { 0 };
	CK_ULONG count;
	CK_ATTRIBUTE *attributes = take_template(from, &count, 0);

	args_attributes(&args, attributes, count);
	if (args.failure == CKR_OK)
		check_serialized(args.bytes, args.size, count);
	args_discard(&args);
}

/* The answer is what was asked, with some of it changed; or anything. */
static void fuzz_load(struct source *from)
{
	struct args args = { 0 };
	CK_ULONG count;
	CK_ATTRIBUTE *attributes = take_template(from, &count, MAX_DEPTH);
	CK_ATTRIBUTE *before;
	uint8_t *answer;
	size_t size;

	args_attribute_buffers(&args, attributes, count);
	if (args.failure != CKR_OK) {
		args_discard(&args);
		return;
	}
	check_serialized(args.bytes, args.size, count);
	size = take(from) % 8 ? args.size : take(from);
	answer = allocate(from, size);
	memcpy(answer, args.bytes, size < args.size ? size : args.size);
	for (unsigned int changes = take(from) % 16; changes > 0; changes--) {
		const size_t at = take(from) * 256u + take(from);

		if (size)
			answer[at % size] = take(from);
	}
	before = allocate(from, count * sizeof(*before));
	memcpy(before, attributes, count * sizeof(*before));
	attributes_load(answer, size, attributes, count);
	for (CK_ULONG i = 0; i < count; i++)
		assert(!before[i].pValue ||
		       attributes[i].ulValueLen == CK_UNAVAILABLE_INFORMATION ||
		       attributes[i].ulValueLen <= before[i].ulValueLen);
	args_discard(&args);
}

static void point(struct source *from, uint8_t *params,
		  const struct pointer *pointer)
{
	const CK_ULONG length = take(from) % 80u;
	void *bytes = take(from) % 8 ? take_bytes(from, length) : NULL;

	memcpy(params + pointer->at, &bytes, sizeof(bytes));
	memcpy(params + pointer->length_at, &length, sizeof(length));
}

static void fuzz_mechanism(struct source *from)
{
	const struct structure *structure =
		&structures[take(from) %
			    (sizeof(structures) / sizeof(*structures))];
	const bool is_whole = take(from) % 8 != 0;
	uint8_t *params = take_bytes(from, structure->size);
	struct args args = { 0 };
	CK_MECHANISM mechanism = {
		.mechanism = structure->mechanism,
		.pParameter = params,
		.ulParameterLen = structure->size,
	};

	for (unsigned int i = 0; i < structure->count; i++)
		point(from, params, &structure->pointers[i]);
	/* Of another size nothing in it may be looked at. */
	if (!is_whole) {
		mechanism.ulParameterLen = take(from);
		mechanism.pParameter =
			take_bytes(from, mechanism.ulParameterLen);
		if (mechanism.ulParameterLen == structure->size)
			return;
	}
	args_mechanism(&args, &mechanism);
	if (args.failure == CKR_OK)
		assert(load_u32(args.bytes + 4) == args.size - HEAD_SIZE);
	args_discard(&args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source from = { .next = data, .left = size };

	switch (take(&from) % 3) {
	case 0:
		fuzz_serialize(&from);
		break;
	case 1:
		fuzz_load(&from);
		break;
	default:
		fuzz_mechanism(&from);
		break;
	}
	free_all(&from);
	return 0;
}
