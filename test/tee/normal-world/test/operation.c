#include "operation.h"

#include <stdio.h>
#include <string.h>

#include "script.h"

/* What a parameter refers to, and how large the caller's buffer was. */
struct block {
	TEEC_Context *context;
	TEEC_SharedMemory memory;
	size_t room;
};

static struct block blocks[4];

static const struct {
	const char *name;
	uint32_t type;
} types[] = {
	{ "none", TEEC_NONE },
	{ "value-in", TEEC_VALUE_INPUT },
	{ "value-out", TEEC_VALUE_OUTPUT },
	{ "value-inout", TEEC_VALUE_INOUT },
	{ "temp-in", TEEC_MEMREF_TEMP_INPUT },
	{ "temp-out", TEEC_MEMREF_TEMP_OUTPUT },
	{ "temp-inout", TEEC_MEMREF_TEMP_INOUT },
	{ "whole", TEEC_MEMREF_WHOLE },
	{ "part-in", TEEC_MEMREF_PARTIAL_INPUT },
	{ "part-out", TEEC_MEMREF_PARTIAL_OUTPUT },
	{ "part-inout", TEEC_MEMREF_PARTIAL_INOUT },
	{ "type4", 4 },
	{ "type8", 8 },
};

static uint32_t parse_type(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(types[i].name, name) == 0)
			return types[i].type;
	script_fail("no such parameter type", name);
}

/* FLAGS:BYTES of a block: registered, or allocated when BYTES is allocate:N */
static void parse_memory(char **text, TEEC_SharedMemory *memory,
			 TEEC_Context *context)
{
	struct bytes bytes;
	TEEC_Result result;

	memory->flags = (uint32_t)parse_number(parse_part(text, ':'));
	if (*text && strncmp(*text, "allocate:", 9) == 0) {
		parse_part(text, ':');
		memory->size = parse_number(parse_part(text, ':'));
		result = TEEC_AllocateSharedMemory(context, memory);
	} else {
		bytes = parse_bytes(parse_part(text, ':'));
		memory->buffer = bytes.data;
		memory->size = bytes.size;
		result = TEEC_RegisterSharedMemory(context, memory);
	}
	if (result != TEEC_SUCCESS)
		printf("memory=0x%08x ", result);
}

/* TYPE, value-*:A:B, temp-*:BYTES, whole:MEMORY, part-*:OFFSET:SIZE:MEMORY */
static void parse_param(char *text, TEEC_Operation *operation, unsigned int i,
			struct block *block)
{
	const uint32_t type = parse_type(parse_part(&text, ':'));
	TEEC_Parameter *param = &operation->params[i];
	struct bytes bytes;

	operation->paramTypes |= type << (4 * i);
	switch (type) {
	case TEEC_VALUE_INPUT:
	case TEEC_VALUE_OUTPUT:
	case TEEC_VALUE_INOUT:
		param->value.a = (uint32_t)parse_number(parse_part(&text, ':'));
		param->value.b = (uint32_t)parse_number(parse_part(&text, ':'));
		break;
	case TEEC_MEMREF_TEMP_INPUT:
	case TEEC_MEMREF_TEMP_OUTPUT:
	case TEEC_MEMREF_TEMP_INOUT:
		bytes = parse_bytes(text);
		param->tmpref.buffer = bytes.data;
		param->tmpref.size = bytes.size;
		break;
	case TEEC_MEMREF_PARTIAL_INPUT:
	case TEEC_MEMREF_PARTIAL_OUTPUT:
	case TEEC_MEMREF_PARTIAL_INOUT:
		param->memref.offset = parse_number(parse_part(&text, ':'));
		param->memref.size = parse_number(parse_part(&text, ':'));
		/* fall through */
	case TEEC_MEMREF_WHOLE:
		param->memref.parent = &block->memory;
		parse_memory(&text, &block->memory, block->context);
		break;
	default:
		break;
	}
}

static void print_buffer(unsigned int i, const void *buffer, size_t room,
			 size_t size)
{
	char name[8];

	snprintf(name, sizeof(name), "%u", i);
	printf(" %u.size=%zu", i, size);
	if (buffer)
		script_print_bytes(name, buffer, room);
}

static void print_param(const TEEC_Operation *operation, unsigned int i,
			size_t room)
{
	const TEEC_Parameter *param = &operation->params[i];

	switch (TEEC_PARAM_TYPE_GET(operation->paramTypes, i)) {
	case TEEC_VALUE_INPUT:
	case TEEC_VALUE_OUTPUT:
	case TEEC_VALUE_INOUT:
		printf(" %u=%u/%u", i, param->value.a, param->value.b);
		break;
	case TEEC_MEMREF_TEMP_INPUT:
	case TEEC_MEMREF_TEMP_OUTPUT:
	case TEEC_MEMREF_TEMP_INOUT:
		print_buffer(i, param->tmpref.buffer, room, param->tmpref.size);
		break;
	case TEEC_MEMREF_WHOLE:
	case TEEC_MEMREF_PARTIAL_INPUT:
	case TEEC_MEMREF_PARTIAL_OUTPUT:
	case TEEC_MEMREF_PARTIAL_INOUT:
		print_buffer(i, param->memref.parent->buffer,
			     param->memref.parent->size, param->memref.size);
		break;
	default:
		break;
	}
}

TEEC_Operation script_operation(TEEC_Context *context)
{
	TEEC_Operation operation = { 0 };
	char *word;

	for (unsigned int i = 0; i < 4 && (word = script_word(false)); i++) {
		blocks[i] = (struct block){ .context = context };
		parse_param(word, &operation, i, &blocks[i]);
		blocks[i].room = operation.params[i].tmpref.buffer
					 ? operation.params[i].tmpref.size
					 : 0;
	}
	return operation;
}

void print_result(TEEC_Result result, uint32_t origin,
		  const TEEC_Operation *operation)
{
	printf("0x%08x origin=%u", result, origin);
	for (unsigned int i = 0; i < 4; i++)
		print_param(operation, i, blocks[i].room);
	/* Twice: the second release must do nothing. */
	for (unsigned int i = 0; i < 8; i++)
		TEEC_ReleaseSharedMemory(&blocks[i % 4].memory);
}
