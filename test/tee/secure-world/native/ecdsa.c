/*
 * ECDSA over a digest that somebody else computed, by the OpenSSL inside Node:
 * node:crypto does not offer it. Nothing is decided here, and nothing links
 * with the system's libcrypto: every symbol is one that the node binary
 * exports.
 *
 * A key is made once and signs often. OpenSSL's nonces, its inversions and its
 * point multiplications take time that does not depend on the key.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <node_api.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

/* Of P-521: the longest order there is. */
#define HALF_MAX 66u
/* SEQUENCE of two INTEGERs of HALF_MAX + 1 bytes, with their heads. */
#define DER_MAX 160u

/* One half of a pair, ready for use. */
struct key {
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *context;
	/* Bytes of the order: half of a signature. */
	int half;
	bool is_private;
};

/* Tells our keys from other values, which must not be read as keys. */
static const napi_type_tag key_tag = { 0x9d5c3e0b7a4f4c1eu,
				       0xa1f2087ce65b93d4u };

struct bytes {
	void *data;
	size_t size;
};

static napi_value refuse(napi_env env, const char *what)
{
	ERR_clear_error();
	napi_throw_error(env, NULL, what);
	return NULL;
}

/* Returns false when there are not exactly `count` arguments. */
static bool read_arguments(napi_env env, napi_callback_info info,
			   napi_value *arguments, size_t count)
{
	size_t given = count;

	return napi_get_cb_info(env, info, &given, arguments, NULL, NULL) ==
		       napi_ok &&
	       given == count;
}

/* Returns false for anything but a Uint8Array: a Buffer is one. */
static bool read_bytes(napi_env env, napi_value value, struct bytes *bytes)
{
	napi_typedarray_type type;
	bool is;

	return napi_is_typedarray(env, value, &is) == napi_ok && is &&
	       napi_get_typedarray_info(env, value, &type, &bytes->size,
					&bytes->data, NULL, NULL) == napi_ok &&
	       type == napi_uint8_array;
}

static struct key *read_key(napi_env env, napi_value value, bool is_private)
{
	void *key;
	bool is;

	if (napi_check_object_type_tag(env, value, &key_tag, &is) != napi_ok ||
	    !is || napi_get_value_external(env, value, &key) != napi_ok)
		return NULL;
	return ((struct key *)key)->is_private == is_private ? key : NULL;
}

static void free_key(napi_env env, void *data, void *hint)
{
	struct key *key = data;

	(void)env;
	(void)hint;
	EVP_PKEY_CTX_free(key->context);
	EVP_PKEY_free(key->pkey);
	free(key);
}

/* Takes `pkey` over, which may be NULL. Returns NULL for what is no EC key. */
static struct key *make_key(EVP_PKEY *pkey, bool is_private)
{
	struct key *key = calloc(1, sizeof(*key));

	if (!key) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	key->pkey = pkey;
	key->is_private = is_private;
	if (pkey && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC) {
		key->half = (EVP_PKEY_get_bits(pkey) + 7) / 8;
		key->context = EVP_PKEY_CTX_new(pkey, NULL);
	}
	if (key->context && key->half <= (int)HALF_MAX &&
	    (is_private ? EVP_PKEY_sign_init(key->context)
			: EVP_PKEY_verify_init(key->context)) == 1)
		return key;
	free_key(NULL, key, NULL);
	return NULL;
}

static napi_value export_key(napi_env env, EVP_PKEY *pkey, bool is_private)
{
	struct key *key = make_key(pkey, is_private);
	napi_value value;

	if (!key)
		return refuse(env, "not an EC key");
	if (napi_create_external(env, key, free_key, NULL, &value) != napi_ok) {
		free_key(env, key, NULL);
		return refuse(env, "no room for a key");
	}
	napi_type_tag_object(env, value, &key_tag);
	return value;
}

/* importPrivate(RFC 5915 DER): key */
static napi_value import_private(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct bytes der;
	const unsigned char *at;

	if (!read_arguments(env, info, arguments, 1) ||
	    !read_bytes(env, arguments[0], &der))
		return refuse(env, "importPrivate takes DER");
	at = der.data;
	return export_key(
		env, d2i_PrivateKey(EVP_PKEY_EC, NULL, &at, (long)der.size),
		true);
}

/* importPublic(RFC 5280 SubjectPublicKeyInfo): key */
static napi_value import_public(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct bytes der;
	const unsigned char *at;

	if (!read_arguments(env, info, arguments, 1) ||
	    !read_bytes(env, arguments[0], &der))
		return refuse(env, "importPublic takes DER");
	at = der.data;
	return export_key(env, d2i_PUBKEY(NULL, &at, (long)der.size), false);
}

/* r then s, each `half` bytes. */
static bool split(const unsigned char *der, size_t size, int half, uint8_t *out)
{
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)size);
	bool is_split;

	if (!signature)
		return false;
	is_split =
		BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, half) == half &&
		BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + half, half) ==
			half;
	ECDSA_SIG_free(signature);
	return is_split;
}

/* Returns how many bytes of DER there are, 0 for none. */
static size_t join(const uint8_t *in, int half, unsigned char *der)
{
	ECDSA_SIG *signature = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(in, half, NULL);
	BIGNUM *s = BN_bin2bn(in + half, half, NULL);
	int size = 0;

	if (signature && r && s && ECDSA_SIG_set0(signature, r, s) == 1) {
		size = i2d_ECDSA_SIG(signature, &der);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(signature);
	return size > 0 ? (size_t)size : 0;
}

/* sign(private key, digest): r then s */
static napi_value sign(napi_env env, napi_callback_info info)
{
	unsigned char der[DER_MAX];
	size_t size = sizeof(der);
	napi_value arguments[2];
	napi_value signature;
	struct bytes digest;
	struct key *key;
	void *out;

	if (!read_arguments(env, info, arguments, 2) ||
	    !read_bytes(env, arguments[1], &digest))
		return refuse(env, "sign takes a key and a digest");
	key = read_key(env, arguments[0], true);
	if (!key)
		return refuse(env, "sign takes a private key");
	if (EVP_PKEY_sign(key->context, der, &size, digest.data, digest.size) !=
	    1)
		return refuse(env, "OpenSSL does not sign");
	if (napi_create_buffer(env, 2 * (size_t)key->half, &out, &signature) !=
		    napi_ok ||
	    !split(der, size, key->half, out))
		return refuse(env, "no room for a signature");
	return signature;
}

/* verify(public key, digest, r then s): boolean */
static napi_value verify(napi_env env, napi_callback_info info)
{
	unsigned char der[DER_MAX];
	napi_value arguments[3];
	struct bytes signature;
	struct bytes digest;
	struct key *key;
	napi_value answer;
	size_t size;
	int verdict;

	if (!read_arguments(env, info, arguments, 3) ||
	    !read_bytes(env, arguments[1], &digest) ||
	    !read_bytes(env, arguments[2], &signature))
		return refuse(env, "verify takes key, digest and signature");
	key = read_key(env, arguments[0], false);
	if (!key)
		return refuse(env, "verify takes a public key");
	if (signature.size != 2 * (size_t)key->half)
		return refuse(env, "a signature is twice as long as the order");
	size = join(signature.data, key->half, der);
	verdict = size ? EVP_PKEY_verify(key->context, der, size, digest.data,
					 digest.size)
		       : -1;
	/* What is no signature at all is an error to OpenSSL: to us it is bad.
	 */
	ERR_clear_error();
	napi_get_boolean(env, verdict == 1, &answer);
	return answer;
}

static bool offer(napi_env env, napi_value exports, const char *name,
		  napi_callback function)
{
	napi_value value;

	return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL,
				    &value) == napi_ok &&
	       napi_set_named_property(env, exports, name, value) == napi_ok;
}

NAPI_MODULE_INIT()
{
	if (OPENSSL_version_major() != OPENSSL_VERSION_MAJOR)
		return refuse(env, "built for another OpenSSL: build it again");
	if (!offer(env, exports, "importPrivate", import_private) ||
	    !offer(env, exports, "importPublic", import_public) ||
	    !offer(env, exports, "sign", sign) ||
	    !offer(env, exports, "verify", verify))
		return NULL;
	return exports;
}
