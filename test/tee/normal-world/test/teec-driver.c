/* Calls the TEE Client API as the script on standard input says. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operation.h"
#include "script.h"

#define SLOTS 4

static TEEC_Context contexts[SLOTS];
static TEEC_Session sessions[SLOTS];

static unsigned long slot_number(void)
{
	const unsigned long number = script_number();

	if (number >= SLOTS)
		script_fail("no such slot", NULL);
	return number;
}

/* sizes: the ABI */
static void sizes(void)
{
	printf("context=%zu session=%zu memory=%zu operation=%zu",
	       sizeof(TEEC_Context), sizeof(TEEC_Session),
	       sizeof(TEEC_SharedMemory), sizeof(TEEC_Operation));
}

/* initialize CONTEXT [NAME] */
static void initialize(void)
{
	const unsigned long context = slot_number();

	printf("0x%08x",
	       TEEC_InitializeContext(script_word(false), &contexts[context]));
}

static void finalize(void)
{
	TEEC_FinalizeContext(&contexts[slot_number()]);
	printf("done");
}

/* open SESSION CONTEXT LOGIN GID PARAM…; GID is null for no data */
static void open_session(void)
{
	static const TEEC_UUID uuid = {
		0x01020304, 0x0506, 0x0708, { 9, 10, 11, 12, 13, 14, 15, 16 }
	};
	const unsigned long session = slot_number();
	const unsigned long context = slot_number();
	const uint32_t login = (uint32_t)script_number();
	const char *word = script_word(true);
	const bool has_gid = strcmp(word, "null") != 0;
	const uint32_t gid = has_gid ? (uint32_t)parse_number(word) : 0;
	TEEC_Operation operation = script_operation(&contexts[0]);
	uint32_t origin = 0;
	TEEC_Result result = TEEC_OpenSession(
		&contexts[context], &sessions[session], &uuid, login,
		has_gid ? &gid : NULL, &operation, &origin);

	print_result(result, origin, &operation);
}

static void close_session(void)
{
	TEEC_CloseSession(&sessions[slot_number()]);
	printf("done");
}

/* invoke SESSION COMMAND PARAM… */
static void invoke(void)
{
	const unsigned long session = slot_number();
	const uint32_t command = (uint32_t)script_number();
	TEEC_Operation operation = script_operation(&contexts[0]);
	uint32_t origin = 0;
	TEEC_Result result = TEEC_InvokeCommand(&sessions[session], command,
						&operation, &origin);

	print_result(result, origin, &operation);
}

/* invoke_bare SESSION COMMAND: neither operation nor place for an origin */
static void invoke_bare(void)
{
	const unsigned long session = slot_number();
	const uint32_t command = (uint32_t)script_number();

	printf("0x%08x",
	       TEEC_InvokeCommand(&sessions[session], command, NULL, NULL));
}

/* write_only SESSION COMMAND: output into a page, input from a read-only one */
static void protections(void)
{
	const unsigned long session = slot_number();
	const uint32_t command = (uint32_t)script_number();
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	TEEC_SharedMemory in = { .flags = TEEC_MEM_INPUT, .size = page };
	TEEC_SharedMemory unused = { .flags = TEEC_MEM_INPUT, .size = page };
	TEEC_Operation operation = {
		.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_WHOLE, 0, 0, 0),
	};
	TEEC_Result registered;
	uint32_t origin = 0;

	in.buffer =
		mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unused.buffer =
		mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	registered = TEEC_RegisterSharedMemory(&contexts[0], &unused);
	operation.params[0].memref.parent = &in;
	printf("0x%08x 0x%08x ", registered,
	       TEEC_RegisterSharedMemory(&contexts[0], &in));
	printf("0x%08x", TEEC_InvokeCommand(&sessions[session], command,
					    &operation, &origin));
	munmap(in.buffer, page);
	munmap(unused.buffer, page);
}

static TEEC_Operation cancellable;
static atomic_uint cancelled_result;

static void *invoke_cancellable(void *session)
{
	uint32_t origin;

	atomic_store(&cancelled_result,
		     TEEC_InvokeCommand(session, 9, &cancellable, &origin));
	return NULL;
}

/* cancel SESSION: command 9 in a thread, cancelled until it has ended */
static void cancel(void)
{
	const unsigned long session = slot_number();
	pthread_t thread;

	TEEC_RequestCancellation(&cancellable);
	atomic_store(&cancelled_result, 1);
	pthread_create(&thread, NULL, invoke_cancellable, &sessions[session]);
	while (atomic_load(&cancelled_result) == 1) {
		TEEC_RequestCancellation(&cancellable);
		usleep(100);
	}
	pthread_join(thread, NULL);
	printf("0x%08x", atomic_load(&cancelled_result));
}

static atomic_ulong thread_failures;

/* Each thread sends a number of its own and wants it back. */
static void *echo_numbers(void *argument)
{
	const uint32_t thread = (uint32_t)(uintptr_t)argument;

	for (uint32_t i = 0; i < 200; i++) {
		TEEC_Operation operation = {
			.paramTypes =
				TEEC_PARAM_TYPES(TEEC_VALUE_INOUT, 0, 0, 0),
		};

		operation.params[0].value.a = thread;
		operation.params[0].value.b = i;
		if (TEEC_InvokeCommand(&sessions[thread % 2], 5, &operation,
				       NULL) != TEEC_SUCCESS ||
		    operation.params[0].value.a != i ||
		    operation.params[0].value.b != thread)
			atomic_fetch_add(&thread_failures, 1);
	}
	return NULL;
}

/* threads N: on sessions 0 and 1; the world swaps the two values */
static void threads(void)
{
	const unsigned long count = script_number();
	pthread_t *ids = script_allocate(count * sizeof(*ids));

	for (unsigned long i = 0; i < count; i++)
		if (pthread_create(&ids[i], NULL, echo_numbers,
				   (void *)(uintptr_t)i))
			script_fail("cannot make a thread", NULL);
	for (unsigned long i = 0; i < count; i++)
		pthread_join(ids[i], NULL);
	printf("failures=%lu", atomic_load(&thread_failures));
}

/* fork SESSION: the child tells what it gets, then makes a context itself */
static void fork_child(void)
{
	const unsigned long session = slot_number();
	uint32_t origin = 0;
	TEEC_Result result;
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child < 0)
		script_fail("cannot fork", NULL);
	if (child == 0) {
		result = TEEC_InvokeCommand(&sessions[session], 1, NULL,
					    &origin);
		printf("0x%08x origin=%u ", result, origin);
		TEEC_CloseSession(&sessions[session]);
		TEEC_FinalizeContext(&contexts[0]);
		printf("0x%08x ", TEEC_InitializeContext(NULL, &contexts[0]));
		TEEC_FinalizeContext(&contexts[0]);
		exit(0);
	}
	waitpid(child, &status, 0);
	printf("status=%d", status);
}

int main(void)
{
	static const struct script_call calls[] = {
		{ "sizes", sizes },
		{ "initialize", initialize },
		{ "finalize", finalize },
		{ "open", open_session },
		{ "close", close_session },
		{ "invoke", invoke },
		{ "invoke_bare", invoke_bare },
		{ "protections", protections },
		{ "cancel", cancel },
		{ "threads", threads },
		{ "fork", fork_child },
		{ NULL, NULL },
	};
	static const struct script_call *const tables[] = { calls, NULL };

	return script_run(tables);
}
