/* Calls the TEE Client API as the script on standard input says. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "operation.h"
#include "teec.h"

TEEC_Context contexts[SLOTS];
TEEC_Session sessions[SLOTS];

unsigned long slot_number(void)
{
	const unsigned long number = script_number();

	if (number >= SLOTS)
		script_fail("no such slot", NULL);
	return number;
}

#define SIZE_AND_ALIGNMENT(type) sizeof(type), _Alignof(type)

/* sizes: the ABI */
static void sizes(void)
{
	printf("context=%zu/%zu session=%zu/%zu memory=%zu/%zu operation=%zu/%zu",
	       SIZE_AND_ALIGNMENT(TEEC_Context),
	       SIZE_AND_ALIGNMENT(TEEC_Session),
	       SIZE_AND_ALIGNMENT(TEEC_SharedMemory),
	       SIZE_AND_ALIGNMENT(TEEC_Operation));
	printf(" size@%zu flags@%zu types@%zu params@%zu",
	       offsetof(TEEC_SharedMemory, size),
	       offsetof(TEEC_SharedMemory, flags),
	       offsetof(TEEC_Operation, paramTypes),
	       offsetof(TEEC_Operation, params));
}

/* misaligned: a context that stands where a pointer may not */
static void misaligned(void)
{
	static const TEEC_UUID uuid = { 0 };
	struct {
		_Alignas(8) uint32_t before;
		TEEC_Context context;
	} owner;
	TEEC_Session session;
	TEEC_Result result = TEEC_InitializeContext(NULL, &owner.context);

	printf("0x%08x ", result);
	result = TEEC_OpenSession(&owner.context, &session, &uuid,
				  TEEC_LOGIN_PUBLIC, NULL, NULL, NULL);
	printf("0x%08x ", result);
	printf("0x%08x", TEEC_InvokeCommand(&session, 1, NULL, NULL));
	TEEC_CloseSession(&session);
	TEEC_FinalizeContext(&owner.context);
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

/* wrong leak | uninitialised: what a checker of memory has to find */
static void wrong(void)
{
	uint8_t *volatile bytes = malloc(64);

	if (strcmp(script_word(true), "leak") == 0)
		bytes = NULL;
	else if (bytes[1])
		printf("one ");
	free(bytes);
	printf("done");
}

int main(void)
{
	static const struct script_call calls[] = {
		{ "sizes", sizes },
		{ "misaligned", misaligned },
		{ "initialize", initialize },
		{ "finalize", finalize },
		{ "open", open_session },
		{ "close", close_session },
		{ "invoke", invoke },
		{ "invoke_bare", invoke_bare },
		{ "protections", protections },
		{ "wrong", wrong },
		{ NULL, NULL },
	};
	static const struct script_call *const tables[] = { calls,
							    process_calls,
							    NULL };

	return script_run(tables);
}
