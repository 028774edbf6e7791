#include "template.h"

#include <stdio.h>
#include <string.h>

#include "script.h"

#define ATTRIBUTES_MAX 32

static struct template parse_template(char *text);

static void parse_value(char *text, CK_ATTRIBUTE *attribute)
{
	struct template nested;
	struct bytes bytes;

	if (*text == '[') {
		text[strlen(text) - 1] = '\0';
		nested = parse_template(text + 1);
		attribute->pValue = nested.attributes;
		attribute->ulValueLen = nested.count * sizeof(CK_ATTRIBUTE);
		return;
	}
	bytes = parse_bytes(text);
	attribute->pValue = bytes.data;
	attribute->ulValueLen = bytes.size;
}

static struct template empty_template(void)
{
	struct template template = {
		.attributes =
			script_allocate(ATTRIBUTES_MAX * sizeof(CK_ATTRIBUTE)),
	};

	return template;
}

static CK_ATTRIBUTE *next_attribute(struct template *template, char **part)
{
	const char *type = parse_part(part, '=');
	CK_ATTRIBUTE *attribute = &template->attributes[template->count++];

	if (template->count > ATTRIBUTES_MAX || !*part)
		script_fail("not an attribute", type);
	attribute->type = parse_number(type);
	return attribute;
}

static struct template parse_template(char *text)
{
	struct template template = empty_template();
	char *part;

	if (!*text)
		return template;
	while ((part = parse_part(&text, ','))) {
		CK_ATTRIBUTE *attribute = next_attribute(&template, &part);

		parse_value(part, attribute);
	}
	return template;
}

struct template script_template(void)
{
	char *word = script_word(true);

	if (strcmp(word, "null") == 0)
		return (struct template){ 0 };
	return parse_template(word);
}

struct template script_rooms(void)
{
	struct template template = empty_template();
	char *text = script_word(true);
	char *part;

	while ((part = parse_part(&text, ','))) {
		CK_ATTRIBUTE *attribute = next_attribute(&template, &part);

		attribute->pValue = NULL;
		attribute->ulValueLen = 0;
		if (strcmp(part, "null") == 0)
			continue;
		attribute->ulValueLen = parse_number(part);
		attribute->pValue = script_allocate(attribute->ulValueLen);
	}
	return template;
}

void print_rooms(const struct template *wanted)
{
	for (CK_ULONG i = 0; i < wanted->count; i++) {
		const CK_ATTRIBUTE *attribute = &wanted->attributes[i];
		char name[32];

		snprintf(name, sizeof(name), "0x%lx", attribute->type);
		if (attribute->ulValueLen == CK_UNAVAILABLE_INFORMATION)
			printf(" %s=unavailable", name);
		else if (!attribute->pValue)
			printf(" %s=%lu", name, attribute->ulValueLen);
		else
			script_print_bytes(name, attribute->pValue,
					   attribute->ulValueLen);
	}
}

static CK_ULONG part_number(char **text)
{
	const char *part = parse_part(text, ':');

	if (!part)
		script_fail("a number is missing", part);
	return parse_number(part);
}

static struct bytes part_bytes(char **text)
{
	const char *part = parse_part(text, ':');

	if (!part)
		script_fail("bytes are missing", part);
	return parse_bytes(part);
}

static CK_ULONG parse_gcm(char *text, void **parameter)
{
	CK_GCM_PARAMS *gcm = script_allocate(sizeof(*gcm));
	const struct bytes iv = part_bytes(&text);
	const struct bytes aad = part_bytes(&text);

	*gcm = (CK_GCM_PARAMS){ iv.data,  iv.size,  iv.size * 8,
				aad.data, aad.size, part_number(&text) };
	*parameter = gcm;
	return sizeof(*gcm);
}

static CK_ULONG parse_oaep(char *text, void **parameter)
{
	CK_RSA_PKCS_OAEP_PARAMS *oaep = script_allocate(sizeof(*oaep));
	struct bytes label;

	oaep->hashAlg = part_number(&text);
	oaep->mgf = part_number(&text);
	oaep->source = part_number(&text);
	label = part_bytes(&text);
	oaep->pSourceData = label.data;
	oaep->ulSourceDataLen = label.size;
	*parameter = oaep;
	return sizeof(*oaep);
}

static CK_ULONG parse_eddsa(char *text, void **parameter)
{
	CK_EDDSA_PARAMS *eddsa = script_allocate(sizeof(*eddsa));
	struct bytes context;

	eddsa->phFlag = (CK_BBOOL)part_number(&text);
	context = part_bytes(&text);
	eddsa->pContextData = context.data;
	eddsa->ulContextDataLen = context.size;
	*parameter = eddsa;
	return sizeof(*eddsa);
}

static CK_ULONG parse_ecdh(char *text, void **parameter)
{
	CK_ECDH1_DERIVE_PARAMS *ecdh = script_allocate(sizeof(*ecdh));
	struct bytes bytes;

	ecdh->kdf = part_number(&text);
	bytes = part_bytes(&text);
	ecdh->pSharedData = bytes.data;
	ecdh->ulSharedDataLen = bytes.size;
	bytes = part_bytes(&text);
	ecdh->pPublicData = bytes.data;
	ecdh->ulPublicDataLen = bytes.size;
	*parameter = ecdh;
	return sizeof(*ecdh);
}

static CK_ULONG parse_ecb(char *text, void **parameter)
{
	CK_KEY_DERIVATION_STRING_DATA *ecb = script_allocate(sizeof(*ecb));
	const struct bytes data = part_bytes(&text);

	*ecb = (CK_KEY_DERIVATION_STRING_DATA){ data.data, data.size };
	*parameter = ecb;
	return sizeof(*ecb);
}

static CK_ULONG parse_cbc(char *text, void **parameter)
{
	CK_AES_CBC_ENCRYPT_DATA_PARAMS *cbc = script_allocate(sizeof(*cbc));
	const struct bytes iv = part_bytes(&text);
	const struct bytes data = part_bytes(&text);

	if (iv.size != sizeof(cbc->iv))
		script_fail("not an IV", NULL);
	memcpy(cbc->iv, iv.data, sizeof(cbc->iv));
	cbc->pData = data.data;
	cbc->length = data.size;
	*parameter = cbc;
	return sizeof(*cbc);
}

static CK_ULONG parse_rsaaes(char *text, void **parameter)
{
	CK_RSA_AES_KEY_WRAP_PARAMS *wrap = script_allocate(sizeof(*wrap));
	void *oaep = NULL;

	wrap->ulAESKeyBits = part_number(&text);
	if (text)
		parse_oaep(text, &oaep);
	wrap->pOAEPParams = oaep;
	*parameter = wrap;
	return sizeof(*wrap);
}

static const struct {
	const char *name;
	CK_ULONG (*parse)(char *text, void **parameter);
} parameters[] = {
	{ "gcm", parse_gcm },	    { "oaep", parse_oaep },
	{ "eddsa", parse_eddsa },   { "ecdh", parse_ecdh },
	{ "ecb", parse_ecb },	    { "cbc", parse_cbc },
	{ "rsaaes", parse_rsaaes },
};

CK_MECHANISM *script_mechanism(void)
{
	CK_MECHANISM *mechanism = script_allocate(sizeof(*mechanism));
	char *text = script_word(true);
	struct bytes bytes;
	char *name;

	if (strcmp(text, "null") == 0)
		return NULL;
	*mechanism = (CK_MECHANISM){ .mechanism = part_number(&text) };
	if (!text)
		return mechanism;
	for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
		const size_t length = strlen(parameters[i].name);

		if (strncmp(text, parameters[i].name, length) != 0 ||
		    text[length] != ':')
			continue;
		name = parse_part(&text, ':');
		(void)name;
		mechanism->ulParameterLen =
			parameters[i].parse(text, &mechanism->pParameter);
		return mechanism;
	}
	bytes = parse_bytes(text);
	mechanism->pParameter = bytes.data;
	mechanism->ulParameterLen = bytes.size;
	return mechanism;
}
