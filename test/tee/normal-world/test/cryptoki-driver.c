/* Calls the Cryptoki library as the script on standard input says. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"

CK_FUNCTION_LIST *p11;

void print_rv(CK_RV rv)
{
	printf("0x%lx", rv);
}

void print_handle(CK_RV rv, CK_ULONG handle)
{
	print_rv(rv);
	if (rv == CKR_OK)
		printf(" handle=%lu", handle);
}

void print_data(CK_RV rv, const struct room *room, CK_ULONG size)
{
	print_rv(rv);
	if (room->absent)
		return;
	printf(" size=%lu", size);
	if (rv == CKR_OK && room->data)
		script_print_bytes("data", room->data, size);
}

void print_list(CK_RV rv, const struct room *room, CK_ULONG count)
{
	print_rv(rv);
	if (room->absent)
		return;
	printf(" count=%lu", count);
	if (rv == CKR_OK && room->data)
		script_print_bytes("list", room->data,
				   count * sizeof(CK_ULONG));
}

static CK_RV no_create(CK_VOID_PTR_PTR mutex)
{
	(void)mutex;
	abort();
}

static CK_RV no_mutex(CK_VOID_PTR mutex)
{
	(void)mutex;
	abort();
}

/* initialize [FLAGS [callbacks | partial | reserved]] */
static void initialize(void)
{
	const char *flags = script_word(false);
	const char *kind = flags ? script_word(false) : NULL;
	CK_C_INITIALIZE_ARGS arguments = { 0 };

	if (flags)
		arguments.flags = parse_number(flags);
	if (kind) {
		arguments.CreateMutex = no_create;
		if (strcmp(kind, "reserved") == 0)
			arguments.pReserved = &arguments;
	}
	if (kind && strcmp(kind, "partial") != 0) {
		arguments.DestroyMutex = no_mutex;
		arguments.LockMutex = no_mutex;
		arguments.UnlockMutex = no_mutex;
	}
	print_rv(p11->C_Initialize(flags ? &arguments : NULL));
}

static void finalize(void)
{
	print_rv(p11->C_Finalize(NULL));
}

static void get_info(void)
{
	CK_INFO info;
	CK_RV rv = p11->C_GetInfo(&info);

	print_rv(rv);
	if (rv == CKR_OK)
		printf(" cryptoki=%u.%u flags=%lu", info.cryptokiVersion.major,
		       info.cryptokiVersion.minor, info.flags);
}

/* A child has to initialize for itself; it tells both results, or hangs. */
static void fork_child(void)
{
	CK_RV before;
	CK_RV after;
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child < 0)
		script_fail("cannot fork", NULL);
	if (child == 0) {
		alarm(10);
		before = p11->C_GetSlotList(CK_TRUE, NULL, &(CK_ULONG){ 0 });
		after = p11->C_Initialize(NULL);
		printf("0x%lx 0x%lx ", before, after);
		p11->C_Finalize(NULL);
		fflush(stdout);
		/* What the parent's other threads had in hand is nobody's. */
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("status=%d", status);
}

static atomic_ulong thread_failures;
static atomic_ulong digests_done;
static atomic_bool finalizing;

struct digest {
	CK_BYTE bytes[32];
	CK_ULONG size;
};

static CK_RV digest_number(CK_SESSION_HANDLE session, struct digest *digest)
{
	CK_MECHANISM sha256 = { .mechanism = CKM_SHA256 };
	CK_BYTE in[sizeof(session)];
	CK_RV rv;

	memcpy(in, &session, sizeof(in));
	digest->size = sizeof(digest->bytes);
	rv = p11->C_DigestInit(session, &sha256);
	if (rv == CKR_OK)
		rv = p11->C_Digest(session, in, sizeof(in), digest->bytes,
				   &digest->size);
	atomic_fetch_add(&digests_done, 1);
	return rv;
}

/* Each thread digests a number of its own: an answer for another differs. */
static void *digest_numbers(void *argument)
{
	const CK_SESSION_HANDLE session =
		(CK_SESSION_HANDLE)(uintptr_t)argument;
	struct digest first = { 0 };
	struct digest again;
	CK_RV rv;

	for (unsigned long i = 0; i < 200; i++) {
		rv = digest_number(session, i ? &again : &first);
		if (rv == CKR_CRYPTOKI_NOT_INITIALIZED &&
		    atomic_load(&finalizing))
			break;
		if (rv != CKR_OK ||
		    (i && (again.size != first.size ||
			   memcmp(again.bytes, first.bytes, first.size) != 0)))
			atomic_fetch_add(&thread_failures, 1);
	}
	return NULL;
}

/*
 * threads N [finalize|fork]: N threads that digest at once, in sessions 1 to N.
 * Meanwhile the library is finalized, or the process forks.
 */
static void threads(void)
{
	const unsigned long count = script_number();
	const char *word = script_word(false);
	pthread_t *ids = script_allocate(count * sizeof(*ids));

	for (unsigned long i = 0; i < count; i++)
		if (pthread_create(&ids[i], NULL, digest_numbers,
				   (void *)(uintptr_t)(i + 1)))
			script_fail("cannot make a thread", NULL);
	while (atomic_load(&digests_done) < count)
		sched_yield();
	if (word && strcmp(word, "finalize") == 0) {
		atomic_store(&finalizing, true);
		print_rv(p11->C_Finalize(NULL));
	} else if (word) {
		fork_child();
	}
	for (unsigned long i = 0; i < count; i++)
		pthread_join(ids[i], NULL);
	printf(" failures=%lu", atomic_load(&thread_failures));
}

static void unsupported(void)
{
	print_rv(p11->C_GetOperationState(1, NULL, NULL));
	printf(" 0x%lx", p11->C_SetOperationState(1, NULL, 0, 0, 0));
	printf(" 0x%lx", p11->C_SignRecoverInit(1, NULL, 0));
	printf(" 0x%lx", p11->C_SignRecover(1, NULL, 0, NULL, NULL));
	printf(" 0x%lx", p11->C_VerifyRecoverInit(1, NULL, 0));
	printf(" 0x%lx", p11->C_VerifyRecover(1, NULL, 0, NULL, NULL));
	printf(" 0x%lx", p11->C_DigestEncryptUpdate(1, NULL, 0, NULL, NULL));
	printf(" 0x%lx", p11->C_DecryptDigestUpdate(1, NULL, 0, NULL, NULL));
	printf(" 0x%lx", p11->C_SignEncryptUpdate(1, NULL, 0, NULL, NULL));
	printf(" 0x%lx", p11->C_DecryptVerifyUpdate(1, NULL, 0, NULL, NULL));
	printf(" 0x%lx", p11->C_WaitForSlotEvent(0, NULL, NULL));
	printf(" 0x%lx", p11->C_GetFunctionStatus(1));
	printf(" 0x%lx", p11->C_CancelFunction(1));
}

static const struct script_call library_calls[] = {
	{ "initialize", initialize },
	{ "finalize", finalize },
	{ "get_info", get_info },
	{ "fork", fork_child },
	{ "threads", threads },
	{ "unsupported", unsupported },
	{ NULL, NULL },
};

int main(void)
{
	static const struct script_call *const tables[] = {
		library_calls,	  slot_calls,	   object_calls,
		processing_calls, interface_calls, NULL,
	};

	if (C_GetFunctionList(&p11) != CKR_OK)
		return 1;
	return script_run(tables);
}
