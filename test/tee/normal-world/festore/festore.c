/* Stores buffers under tags so that only the TEE can read them. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "festore_ta.h"
#include "tee_client_api.h"

#define EXIT_REFUSED   1
#define EXIT_USAGE     2
#define EXIT_NOT_FOUND 3

/* Beside the Client API's results: TEE Internal Core API v1.3 §3.3.3. */
#define TEE_ERROR_CORRUPT_OBJECT 0xF0100001

static const char usage[] =
	"usage: festore put TAG < VALUE    store, or replace\n"
	"       festore get TAG > VALUE\n"
	"       festore delete TAG\n"
	"       festore list\n"
	"\n"
	"A tag is 1 to 64 bytes, a value 0 to 1048576. The TEE is found by\n"
	"OTA_TEE_SOCKET. Ends with 0 when done, 1 when the TEE refuses or is not\n"
	"there, 2 for wrong arguments or input, 3 when there is no such tag.\n";

struct memory {
	uint8_t *bytes;
	size_t size;
};

struct client {
	TEEC_Context context;
	TEEC_Session session;
	const char *verb;
	const char *tag;
};

static const char *reason(TEEC_Result result)
{
	switch (result) {
	case TEEC_ERROR_ITEM_NOT_FOUND:
		return "nothing is stored under this tag: see `festore list`";
	case TEEC_ERROR_STORAGE_NO_SPACE:
		return "the store is full: make room with `festore delete TAG`, or on the disk";
	case TEE_ERROR_CORRUPT_OBJECT:
		return "what is stored was changed by somebody: put the value again, or put the right file back";
	case TEEC_ERROR_STORAGE_NOT_AVAILABLE:
		return "the TEE cannot reach its storage: look at the disk and at what the secure world says";
	case TEEC_ERROR_TARGET_DEAD:
		return "the TEE or its festore application died: look at what the secure world says, then try again";
	case TEEC_ERROR_OUT_OF_MEMORY:
		return "out of memory: try again";
	default:
		return "the TEE refuses: is it a festore application of the same version?";
	}
}

static int fail(const struct client *client, TEEC_Result result,
		uint32_t origin)
{
	fprintf(stderr, "festore: %s%s%s: %s (0x%08x, origin %u)\n",
		client->verb, client->tag ? " " : "",
		client->tag ? client->tag : "", reason(result), result, origin);
	return result == TEEC_ERROR_ITEM_NOT_FOUND ? EXIT_NOT_FOUND
						   : EXIT_REFUSED;
}

static int fail_locally(const struct client *client, const char *what)
{
	fprintf(stderr, "festore: %s%s%s: %s\n", client->verb,
		client->tag ? " " : "", client->tag ? client->tag : "", what);
	return EXIT_REFUSED;
}

static TEEC_Operation operation_on(const char *tag, uint32_t second)
{
	TEEC_Operation operation = { 0 };

	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT, second,
						TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = (void *)(uintptr_t)tag;
	operation.params[0].tmpref.size = strlen(tag);
	return operation;
}

/* One byte more than a value may have, to see that there is more. */
static int read_input(const struct client *client, struct memory *value)
{
	const size_t room = FESTORE_MAX_VALUE_BYTES + 1;

	value->bytes = malloc(room);
	if (!value->bytes)
		return fail_locally(client, reason(TEEC_ERROR_OUT_OF_MEMORY));
	value->size = fread(value->bytes, 1, room, stdin);
	if (ferror(stdin)) {
		fail_locally(client, "cannot read standard input");
		return EXIT_USAGE;
	}
	if (value->size > FESTORE_MAX_VALUE_BYTES) {
		fail_locally(
			client,
			"standard input is too long: a value has at most 1048576 bytes");
		return EXIT_USAGE;
	}
	return EXIT_SUCCESS;
}

static int put(struct client *client)
{
	TEEC_Operation operation =
		operation_on(client->tag, TEEC_MEMREF_TEMP_INPUT);
	struct memory value = { 0 };
	uint32_t origin = 0;
	TEEC_Result result;
	int status = read_input(client, &value);

	if (status == EXIT_SUCCESS) {
		operation.params[1].tmpref.buffer = value.bytes;
		operation.params[1].tmpref.size = value.size;
		result = TEEC_InvokeCommand(&client->session,
					    FESTORE_CMD_WRITE_OBJECT,
					    &operation, &origin);
		if (result != TEEC_SUCCESS)
			status = fail(client, result, origin);
	}
	if (value.bytes)
		explicit_bzero(value.bytes, value.size);
	free(value.bytes);
	return status;
}

/*
 * Invokes until the output fits: first without memory, for the size. Parameter
 * `at` is the output. Somebody else may store a longer value in between.
 */
static int fetch(struct client *client, uint32_t command,
		 TEEC_Operation *operation, unsigned int at,
		 struct memory *output)
{
	TEEC_TempMemoryReference *out = &operation->params[at].tmpref;
	TEEC_Result result;
	uint32_t origin = 0;

	for (;;) {
		*out = (TEEC_TempMemoryReference){ output->bytes,
						   output->size };
		result = TEEC_InvokeCommand(&client->session, command,
					    operation, &origin);
		if (result != TEEC_ERROR_SHORT_BUFFER)
			break;
		free(output->bytes);
		*output = (struct memory){ malloc(out->size), out->size };
		if (!output->bytes)
			return fail_locally(client,
					    reason(TEEC_ERROR_OUT_OF_MEMORY));
	}
	if (result != TEEC_SUCCESS)
		return fail(client, result, origin);
	output->size = out->size;
	return EXIT_SUCCESS;
}

static int end_output(const struct client *client)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	return fail_locally(client, "cannot write to standard output");
}

static int get(struct client *client)
{
	TEEC_Operation operation =
		operation_on(client->tag, TEEC_MEMREF_TEMP_OUTPUT);
	struct memory value = { 0 };
	int status =
		fetch(client, FESTORE_CMD_READ_OBJECT, &operation, 1, &value);

	if (status == EXIT_SUCCESS) {
		if (value.size)
			fwrite(value.bytes, 1, value.size, stdout);
		status = end_output(client);
	}
	if (value.bytes)
		explicit_bzero(value.bytes, value.size);
	free(value.bytes);
	return status;
}

static int delete (struct client *client)
{
	TEEC_Operation operation = operation_on(client->tag, TEEC_NONE);
	uint32_t origin = 0;
	TEEC_Result result = TEEC_InvokeCommand(&client->session,
						FESTORE_CMD_DELETE_OBJECT,
						&operation, &origin);

	return result == TEEC_SUCCESS ? EXIT_SUCCESS
				      : fail(client, result, origin);
}

/* Attack: a tag that moves the terminal's cursor, or pretends to be two. */
static void print_tag(const uint8_t *tag, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (tag[i] >= ' ' && tag[i] < 0x7f && tag[i] != '\\')
			putchar(tag[i]);
		else
			printf("\\x%02x", tag[i]);
	putchar('\n');
}

static int list(struct client *client)
{
	TEEC_Operation operation = {
		.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT,
					       TEEC_NONE, TEEC_NONE, TEEC_NONE),
	};
	struct memory tags = { 0 };
	size_t at = 0;
	int status =
		fetch(client, FESTORE_CMD_LIST_OBJECTS, &operation, 0, &tags);

	while (status == EXIT_SUCCESS && at < tags.size) {
		const size_t size = tags.bytes[at++];

		if (size > tags.size - at) {
			status = fail_locally(
				client, "the TEE's list ends within a tag");
			break;
		}
		print_tag(tags.bytes + at, size);
		at += size;
	}
	if (status == EXIT_SUCCESS)
		status = end_output(client);
	free(tags.bytes);
	return status;
}

static int with_session(struct client *client,
			int (*run)(struct client *client))
{
	static const TEEC_UUID uuid = FESTORE_TA_UUID;
	uint32_t origin = 0;
	TEEC_Result result = TEEC_InitializeContext(NULL, &client->context);
	int status;

	if (result != TEEC_SUCCESS)
		return fail_locally(client, "there is no TEE");
	result = TEEC_OpenSession(&client->context, &client->session, &uuid,
				  TEEC_LOGIN_PUBLIC, NULL, NULL, &origin);
	if (result == TEEC_SUCCESS) {
		status = run(client);
		TEEC_CloseSession(&client->session);
	} else if (result == TEEC_ERROR_ITEM_NOT_FOUND) {
		status = fail_locally(
			client,
			"this TEE has no festore application: start a secure world that has it");
	} else {
		status = fail(client, result, origin);
	}
	TEEC_FinalizeContext(&client->context);
	return status;
}

static const struct {
	const char *verb;
	bool has_tag;
	int (*run)(struct client *client);
} commands[] = {
	{ "put", true, put },
	{ "get", true, get },
	{ "delete", true, delete },
	{ "list", false, list },
};

int main(int argc, char **argv)
{
	struct client client = { 0 };

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return fputs(usage, stdout) < 0 ? EXIT_REFUSED : EXIT_SUCCESS;
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (argc != 2 + commands[i].has_tag ||
		    strcmp(argv[1], commands[i].verb) != 0)
			continue;
		client.verb = argv[1];
		client.tag = commands[i].has_tag ? argv[2] : NULL;
		if (!client.tag ||
		    (*client.tag &&
		     strlen(client.tag) <= FESTORE_MAX_TAG_BYTES))
			return with_session(&client, commands[i].run);
		fprintf(stderr,
			"festore: %s: a tag has 1 to 64 bytes, this one has %zu\n",
			client.verb, strlen(client.tag));
		return EXIT_USAGE;
	}
	fputs(usage, stderr);
	return EXIT_USAGE;
}
