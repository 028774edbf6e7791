#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cryptoki.h"

/*
 * From C_Initialize to C_Finalize: one session to the TA.
 *
 * Calls read, C_Initialize and C_Finalize write: a thread that finalizes waits
 * for the calls of the others, which then answer CKR_CRYPTOKI_NOT_INITIALIZED.
 */
static struct {
	pthread_rwlock_t lock;
	atomic_bool initialized;
	bool inherited;
	TEEC_Context context;
	TEEC_Session session;
} library = { .lock = PTHREAD_RWLOCK_INITIALIZER };

static pthread_once_t fork_watched = PTHREAD_ONCE_INIT;

/* PKCS#11: a child starts uninitialized. libteec has closed its connection. */
static void after_fork_in_child(void)
{
	static const pthread_rwlock_t unlocked = PTHREAD_RWLOCK_INITIALIZER;

	library.lock = unlocked;
	if (atomic_exchange(&library.initialized, false))
		library.inherited = true;
}

static void watch_fork(void)
{
	pthread_atfork(NULL, NULL, after_fork_in_child);
}

CK_RV library_enter(TEEC_Session **session)
{
	pthread_rwlock_rdlock(&library.lock);
	if (atomic_load(&library.initialized)) {
		*session = &library.session;
		return CKR_OK;
	}
	pthread_rwlock_unlock(&library.lock);
	return CKR_CRYPTOKI_NOT_INITIALIZED;
}

void library_leave(void)
{
	pthread_rwlock_unlock(&library.lock);
}

bool library_is_initialized(void)
{
	return atomic_load(&library.initialized);
}

/* §5.4: locks of the application's are not used; ours are the system's. */
static CK_RV check_arguments(const CK_C_INITIALIZE_ARGS *arguments)
{
	int callbacks;

	if (!arguments)
		return CKR_OK;
	callbacks = (arguments->CreateMutex != NULL) +
		    (arguments->DestroyMutex != NULL) +
		    (arguments->LockMutex != NULL) +
		    (arguments->UnlockMutex != NULL);
	if (arguments->pReserved || (callbacks != 0 && callbacks != 4))
		return CKR_ARGUMENTS_BAD;
	if (callbacks && !(arguments->flags & CKF_OS_LOCKING_OK))
		return CKR_CANT_LOCK;
	return CKR_OK;
}

static bool parse_gid(const char *text, uint32_t *gid)
{
	unsigned long value;
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	*gid = (uint32_t)value;
	return errno == 0 && *end == '\0' && value <= UINT32_MAX;
}

/* As libckteec: whom the TA is to see when a token's PIN is an identity. */
static CK_RV read_login(uint32_t *method, uint32_t *gid, const void **data)
{
	const char *type = secure_getenv("CKTEEC_LOGIN_TYPE");

	*method = TEEC_LOGIN_PUBLIC;
	*data = NULL;
	if (!type || strcmp(type, "public") == 0)
		return CKR_OK;
	if (strcmp(type, "user") == 0) {
		*method = TEEC_LOGIN_USER;
		return CKR_OK;
	}
	if (strcmp(type, "group") != 0 ||
	    !parse_gid(secure_getenv("CKTEEC_LOGIN_GID"), gid))
		return CKR_ARGUMENTS_BAD;
	*method = TEEC_LOGIN_GROUP;
	*data = gid;
	return CKR_OK;
}

static void explain(const char *what, CK_ULONG value, uint32_t origin)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (getenv("OTA_TEE_QUIET") || atomic_flag_test_and_set(&said))
		return;
	dprintf(STDERR_FILENO,
		"libtee-cryptoki: the PKCS#11 TA %s: 0x%lx, origin %u\n", what,
		value, origin);
}

static CK_RV ping(TEEC_Session *session)
{
	struct ta_call call = { .command = PKCS11_CMD_PING };
	uint8_t version[PKCS11_PING_SIZE];
	CK_RV rv;

	args_ulong(&call.args, 0);
	ta_out(&call, version, sizeof(version));
	rv = call.args.failure;
	if (rv == CKR_OK)
		rv = ta_invoke_on(session, &call);
	args_discard(&call.args);
	if (rv == CKR_OK && call.out_size != sizeof(version))
		rv = CKR_GENERAL_ERROR;
	if (rv != CKR_OK) {
		explain("does not answer PING", rv, TEEC_ORIGIN_TRUSTED_APP);
		return CKR_GENERAL_ERROR;
	}
	if (load_u32(version) > PKCS11_TA_VERSION_MAJOR) {
		explain("has another version", load_u32(version),
			TEEC_ORIGIN_TRUSTED_APP);
		return CKR_GENERAL_ERROR;
	}
	return CKR_OK;
}

/* Opens the library's session; on failure nothing stays open. */
static CK_RV connect_ta(void)
{
	static const TEEC_UUID uuid = PKCS11_TA_UUID;
	uint32_t method;
	uint32_t gid;
	uint32_t origin = 0;
	const void *data;
	TEEC_Result result;
	CK_RV rv = read_login(&method, &gid, &data);

	if (rv != CKR_OK)
		return rv;
	if (TEEC_InitializeContext(NULL, &library.context) != TEEC_SUCCESS)
		return CKR_GENERAL_ERROR;
	result = TEEC_OpenSession(&library.context, &library.session, &uuid,
				  method, data, NULL, &origin);
	if (result != TEEC_SUCCESS) {
		explain("cannot be opened", result, origin);
		TEEC_FinalizeContext(&library.context);
		return CKR_GENERAL_ERROR;
	}
	rv = ping(&library.session);
	if (rv != CKR_OK) {
		TEEC_CloseSession(&library.session);
		TEEC_FinalizeContext(&library.context);
	}
	return rv;
}

CK_RV C_Initialize(CK_VOID_PTR pInitArgs)
{
	CK_RV rv;

	pthread_once(&fork_watched, watch_fork);
	pthread_rwlock_wrlock(&library.lock);
	if (atomic_load(&library.initialized))
		rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
	else
		rv = check_arguments(pInitArgs);
	if (rv == CKR_OK) {
		if (library.inherited)
			TEEC_FinalizeContext(&library.context);
		library.inherited = false;
		rv = connect_ta();
		atomic_store(&library.initialized, rv == CKR_OK);
	}
	pthread_rwlock_unlock(&library.lock);
	return rv;
}

CK_RV C_Finalize(CK_VOID_PTR pReserved)
{
	CK_RV rv = CKR_OK;

	if (!library_is_initialized())
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (pReserved)
		return CKR_ARGUMENTS_BAD;
	pthread_rwlock_wrlock(&library.lock);
	if (atomic_exchange(&library.initialized, false)) {
		TEEC_CloseSession(&library.session);
		TEEC_FinalizeContext(&library.context);
	} else {
		rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	}
	pthread_rwlock_unlock(&library.lock);
	return rv;
}
