#include "cryptoki.h"

/* Instead of a structure's size: the bytes as they are, which the TA judges. */
#define ANY_SIZE (~0UL)

static void args_counted(struct args *args, const void *bytes, CK_ULONG size)
{
	if (!bytes && size)
		args_fail(args, CKR_MECHANISM_PARAM_INVALID);
	args_ulong(args, size);
	args_bytes(args, bytes, size);
}

static void mac_length_params(struct args *args, const void *params)
{
	const CK_MAC_GENERAL_PARAMS *length = params;

	args_ulong(args, *length);
}

static void ctr_params(struct args *args, const void *params)
{
	const CK_AES_CTR_PARAMS *ctr = params;

	args_ulong(args, ctr->ulCounterBits);
	args_bytes(args, ctr->cb, sizeof(ctr->cb));
}

static void gcm_params(struct args *args, const void *params)
{
	const CK_GCM_PARAMS *gcm = params;

	if (!gcm->pIv)
		args_fail(args, CKR_MECHANISM_PARAM_INVALID);
	args_counted(args, gcm->pIv, gcm->ulIvLen);
	args_counted(args, gcm->pAAD, gcm->ulAADLen);
	args_ulong(args, gcm->ulTagBits);
}

static void pss_params(struct args *args, const void *params)
{
	const CK_RSA_PKCS_PSS_PARAMS *pss = params;

	args_ulong(args, pss->hashAlg);
	args_ulong(args, pss->mgf);
	args_ulong(args, pss->sLen);
}

static void oaep_params(struct args *args, const void *params)
{
	const CK_RSA_PKCS_OAEP_PARAMS *oaep = params;

	args_ulong(args, oaep->hashAlg);
	args_ulong(args, oaep->mgf);
	args_ulong(args, oaep->source);
	args_counted(args, oaep->pSourceData, oaep->ulSourceDataLen);
}

static void rsa_aes_wrap_params(struct args *args, const void *params)
{
	const CK_RSA_AES_KEY_WRAP_PARAMS *wrap = params;

	args_ulong(args, wrap->ulAESKeyBits);
	if (wrap->pOAEPParams)
		oaep_params(args, wrap->pOAEPParams);
	else
		args_fail(args, CKR_MECHANISM_PARAM_INVALID);
}

/* The one mechanism here whose parameter may be left out. */
static void eddsa_params(struct args *args, const void *params)
{
	static const CK_EDDSA_PARAMS none;
	const CK_EDDSA_PARAMS *eddsa = params ? params : &none;

	args_ulong(args, eddsa->phFlag);
	args_counted(args, eddsa->pContextData, eddsa->ulContextDataLen);
}

static void ecdh1_params(struct args *args, const void *params)
{
	const CK_ECDH1_DERIVE_PARAMS *ecdh1 = params;

	args_ulong(args, ecdh1->kdf);
	args_counted(args, ecdh1->pSharedData, ecdh1->ulSharedDataLen);
	args_counted(args, ecdh1->pPublicData, ecdh1->ulPublicDataLen);
}

static void ecb_data_params(struct args *args, const void *params)
{
	const CK_KEY_DERIVATION_STRING_DATA *data = params;

	args_counted(args, data->pData, data->ulLen);
}

static void cbc_data_params(struct args *args, const void *params)
{
	const CK_AES_CBC_ENCRYPT_DATA_PARAMS *data = params;

	args_bytes(args, data->iv, sizeof(data->iv));
	args_counted(args, data->pData, data->length);
}

/* `write` is NULL where the parameter is bytes, or nothing. */
struct format {
	CK_ULONG size;
	void (*write)(struct args *args, const void *params);
	bool may_be_absent;
};

static const struct format no_format = { .size = 0 };
static const struct format iv_format = { .size = ANY_SIZE };
static const struct format mac_length_format = {
	.size = sizeof(CK_MAC_GENERAL_PARAMS),
	.write = mac_length_params,
};
static const struct format ctr_format = {
	.size = sizeof(CK_AES_CTR_PARAMS),
	.write = ctr_params,
};
static const struct format gcm_format = {
	.size = sizeof(CK_GCM_PARAMS),
	.write = gcm_params,
};
static const struct format pss_format = {
	.size = sizeof(CK_RSA_PKCS_PSS_PARAMS),
	.write = pss_params,
};
static const struct format oaep_format = {
	.size = sizeof(CK_RSA_PKCS_OAEP_PARAMS),
	.write = oaep_params,
};
static const struct format rsa_aes_wrap_format = {
	.size = sizeof(CK_RSA_AES_KEY_WRAP_PARAMS),
	.write = rsa_aes_wrap_params,
};
static const struct format eddsa_format = {
	.size = sizeof(CK_EDDSA_PARAMS),
	.write = eddsa_params,
	.may_be_absent = true,
};
static const struct format ecdh1_format = {
	.size = sizeof(CK_ECDH1_DERIVE_PARAMS),
	.write = ecdh1_params,
};
static const struct format ecb_data_format = {
	.size = sizeof(CK_KEY_DERIVATION_STRING_DATA),
	.write = ecb_data_params,
};
static const struct format cbc_data_format = {
	.size = sizeof(CK_AES_CBC_ENCRYPT_DATA_PARAMS),
	.write = cbc_data_params,
};

/* NULL for a mechanism that libckteec has no serialized form for. */
static const struct format *format_of(CK_MECHANISM_TYPE mechanism)
{
	switch (mechanism) {
	case CKM_RSA_PKCS_KEY_PAIR_GEN:
	case CKM_RSA_PKCS:
	case CKM_RSA_X_509:
	case CKM_MD5_RSA_PKCS:
	case CKM_SHA1_RSA_PKCS:
	case CKM_SHA224_RSA_PKCS:
	case CKM_SHA256_RSA_PKCS:
	case CKM_SHA384_RSA_PKCS:
	case CKM_SHA512_RSA_PKCS:
	case CKM_MD5:
	case CKM_MD5_HMAC:
	case CKM_SHA_1:
	case CKM_SHA_1_HMAC:
	case CKM_SHA224:
	case CKM_SHA224_HMAC:
	case CKM_SHA256:
	case CKM_SHA256_HMAC:
	case CKM_SHA384:
	case CKM_SHA384_HMAC:
	case CKM_SHA512:
	case CKM_SHA512_HMAC:
	case CKM_GENERIC_SECRET_KEY_GEN:
	case CKM_EC_KEY_PAIR_GEN:
	case CKM_EC_EDWARDS_KEY_PAIR_GEN:
	case CKM_ECDSA:
	case CKM_ECDSA_SHA1:
	case CKM_ECDSA_SHA224:
	case CKM_ECDSA_SHA256:
	case CKM_ECDSA_SHA384:
	case CKM_ECDSA_SHA512:
	case CKM_AES_KEY_GEN:
	case CKM_AES_ECB:
	case CKM_AES_CMAC:
		return &no_format;
	case CKM_AES_CBC:
	case CKM_AES_CBC_PAD:
	case CKM_AES_CTS:
		return &iv_format;
	case CKM_AES_CTR:
		return &ctr_format;
	case CKM_AES_GCM:
		return &gcm_format;
	case CKM_AES_CMAC_GENERAL:
	case CKM_MD5_HMAC_GENERAL:
	case CKM_SHA_1_HMAC_GENERAL:
	case CKM_SHA224_HMAC_GENERAL:
	case CKM_SHA256_HMAC_GENERAL:
	case CKM_SHA384_HMAC_GENERAL:
	case CKM_SHA512_HMAC_GENERAL:
		return &mac_length_format;
	case CKM_RSA_PKCS_PSS:
	case CKM_SHA1_RSA_PKCS_PSS:
	case CKM_SHA224_RSA_PKCS_PSS:
	case CKM_SHA256_RSA_PKCS_PSS:
	case CKM_SHA384_RSA_PKCS_PSS:
	case CKM_SHA512_RSA_PKCS_PSS:
		return &pss_format;
	case CKM_RSA_PKCS_OAEP:
		return &oaep_format;
	case CKM_RSA_AES_KEY_WRAP:
		return &rsa_aes_wrap_format;
	case CKM_EDDSA:
		return &eddsa_format;
	case CKM_ECDH1_DERIVE:
	case CKM_ECDH1_COFACTOR_DERIVE:
		return &ecdh1_format;
	case CKM_AES_ECB_ENCRYPT_DATA:
		return &ecb_data_format;
	case CKM_AES_CBC_ENCRYPT_DATA:
		return &cbc_data_format;
	default:
		return NULL;
	}
}

/* The codes are libckteec's: a structure of another size is a bad argument. */
static CK_RV check_params(const struct format *format,
			  const CK_MECHANISM *mechanism)
{
	const CK_ULONG size = mechanism->ulParameterLen;

	if (size && !mechanism->pParameter)
		return CKR_MECHANISM_PARAM_INVALID;
	if (format->size == ANY_SIZE || size == format->size)
		return CKR_OK;
	if (size == 0 && format->may_be_absent)
		return CKR_OK;
	return format->size ? CKR_ARGUMENTS_BAD : CKR_MECHANISM_PARAM_INVALID;
}

void args_mechanism(struct args *args, const CK_MECHANISM *mechanism)
{
	const struct format *format;
	const void *params;
	size_t length;
	CK_RV rv;

	args_require(args, mechanism != NULL);
	if (!mechanism)
		return;
	format = format_of(mechanism->mechanism);
	rv = format ? check_params(format, mechanism) : CKR_MECHANISM_INVALID;
	if (rv != CKR_OK) {
		args_fail(args, rv);
		return;
	}
	params = mechanism->ulParameterLen ? mechanism->pParameter : NULL;
	args_ulong(args, mechanism->mechanism);
	length = args_open(args);
	if (format->write)
		format->write(args, params);
	else
		args_bytes(args, params, mechanism->ulParameterLen);
	args_close(args, length, 0);
}
