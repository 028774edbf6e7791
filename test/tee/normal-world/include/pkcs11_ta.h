/*
 * The command interface of OP-TEE's PKCS#11 TA: numbers and layouts, data only.
 *
 * Parameter 0 of every command is an in/out memory reference: serialized
 * arguments in, one u32 return code out. Everything is little-endian and
 * packed, and a CK_ULONG is a u32.
 */
#ifndef PKCS11_TA_H
#define PKCS11_TA_H

#define PKCS11_TA_UUID                                                 \
	{                                                              \
		0xfd02c9da, 0x306c, 0x48c7,                            \
		{                                                      \
			0xa4, 0x9c, 0xbb, 0xd8, 0x27, 0xae, 0x86, 0xee \
		}                                                      \
	}

#define PKCS11_TA_VERSION_MAJOR 1

/* Says "not available" and "undefined" in every u32 of this interface. */
#define PKCS11_UNAVAILABLE 0xFFFFFFFFu

/* How deep templates may be nested in templates. */
#define PKCS11_TEMPLATE_DEPTH_MAX	     5

#define PKCS11_CTRL_STATUS_SIZE		     4
#define PKCS11_PING_SIZE		     12
#define PKCS11_SLOT_INFO_SIZE		     104
#define PKCS11_TOKEN_INFO_SIZE		     160
#define PKCS11_MECHANISM_INFO_SIZE	     12
#define PKCS11_SESSION_INFO_SIZE	     16
#define PKCS11_LABEL_SIZE		     32

#define PKCS11_CMD_PING			     0
#define PKCS11_CMD_SLOT_LIST		     1
#define PKCS11_CMD_SLOT_INFO		     2
#define PKCS11_CMD_TOKEN_INFO		     3
#define PKCS11_CMD_MECHANISM_IDS	     4
#define PKCS11_CMD_MECHANISM_INFO	     5
#define PKCS11_CMD_OPEN_SESSION		     6
#define PKCS11_CMD_CLOSE_SESSION	     7
#define PKCS11_CMD_CLOSE_ALL_SESSIONS	     8
#define PKCS11_CMD_SESSION_INFO		     9
#define PKCS11_CMD_INIT_TOKEN		     10
#define PKCS11_CMD_INIT_PIN		     11
#define PKCS11_CMD_SET_PIN		     12
#define PKCS11_CMD_LOGIN		     13
#define PKCS11_CMD_LOGOUT		     14
#define PKCS11_CMD_CREATE_OBJECT	     15
#define PKCS11_CMD_DESTROY_OBJECT	     16
#define PKCS11_CMD_ENCRYPT_INIT		     17
#define PKCS11_CMD_DECRYPT_INIT		     18
#define PKCS11_CMD_ENCRYPT_UPDATE	     19
#define PKCS11_CMD_DECRYPT_UPDATE	     20
#define PKCS11_CMD_ENCRYPT_FINAL	     21
#define PKCS11_CMD_DECRYPT_FINAL	     22
#define PKCS11_CMD_ENCRYPT_ONESHOT	     23
#define PKCS11_CMD_DECRYPT_ONESHOT	     24
#define PKCS11_CMD_SIGN_INIT		     25
#define PKCS11_CMD_VERIFY_INIT		     26
#define PKCS11_CMD_SIGN_UPDATE		     27
#define PKCS11_CMD_VERIFY_UPDATE	     28
#define PKCS11_CMD_SIGN_FINAL		     29
#define PKCS11_CMD_VERIFY_FINAL		     30
#define PKCS11_CMD_SIGN_ONESHOT		     31
#define PKCS11_CMD_VERIFY_ONESHOT	     32
#define PKCS11_CMD_GENERATE_KEY		     33
#define PKCS11_CMD_FIND_OBJECTS_INIT	     34
#define PKCS11_CMD_FIND_OBJECTS		     35
#define PKCS11_CMD_FIND_OBJECTS_FINAL	     36
#define PKCS11_CMD_GET_OBJECT_SIZE	     37
#define PKCS11_CMD_GET_ATTRIBUTE_VALUE	     38
#define PKCS11_CMD_SET_ATTRIBUTE_VALUE	     39
#define PKCS11_CMD_COPY_OBJECT		     40
#define PKCS11_CMD_SEED_RANDOM		     41
#define PKCS11_CMD_GENERATE_RANDOM	     42
#define PKCS11_CMD_DERIVE_KEY		     43
#define PKCS11_CMD_RELEASE_ACTIVE_PROCESSING 44
#define PKCS11_CMD_DIGEST_INIT		     45
#define PKCS11_CMD_DIGEST_KEY		     46
#define PKCS11_CMD_DIGEST_UPDATE	     47
#define PKCS11_CMD_DIGEST_FINAL		     48
#define PKCS11_CMD_DIGEST_ONESHOT	     49
#define PKCS11_CMD_GENERATE_KEY_PAIR	     50
#define PKCS11_CMD_WRAP_KEY		     51
#define PKCS11_CMD_UNWRAP_KEY		     52

#endif
