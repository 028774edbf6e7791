/*
 * Fuzzes how the client library reads an answer: wire_receive() and
 * wire_read_operation(), from a socket, for any request.
 *
 * Input: four parameter types, four sizes, an opcode, flags, then what arrives.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "wire.h"

#define HEAD_SIZE    10u
#define REQUEST	     7u
#define RESULTS_SIZE 8u
/* The header says what it has to, so that the payload is looked at. */
#define VALID_HEADER 1u
/* So does the first word of the OPERATION. */
#define VALID_TYPES 2u
#define NULL_MEMORY 4u
/* More than this the kernel might not take without a reader. */
#define MAX_ANSWER 32768u

static const enum wire_type types[] = {
	WIRE_NONE,	   WIRE_VALUE_INPUT,  WIRE_VALUE_OUTPUT,
	WIRE_VALUE_INOUT,  WIRE_MEMREF_INPUT, WIRE_MEMREF_OUTPUT,
	WIRE_MEMREF_INOUT,
};

static bool is_output(const struct wire_param *param)
{
	return param->type == WIRE_MEMREF_OUTPUT ||
	       param->type == WIRE_MEMREF_INOUT;
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (unsigned int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void start_operation(struct wire_operation *op, const uint8_t *head)
{
	*op = (struct wire_operation){ 0 };
	for (unsigned int i = 0; i < WIRE_PARAMS; i++) {
		struct wire_param *param = &op->params[i];

		param->type = types[head[i] % (sizeof(types) / sizeof(*types))];
		if (param->type < WIRE_MEMREF_INPUT)
			continue;
		param->size = head[WIRE_PARAMS + i];
		if (head[9] & NULL_MEMORY)
			param->size = 0;
		else
			param->memory = calloc(1, param->size + 1u);
	}
}

static void correct(uint8_t *answer, size_t size, const uint8_t *head,
		    const struct wire_operation *op)
{
	uint32_t packed = 0;

	for (unsigned int i = 0; i < WIRE_PARAMS; i++)
		packed |= (uint32_t)op->params[i].type << (4 * i);
	if ((head[9] & VALID_HEADER) && size >= WIRE_HEADER_SIZE) {
		put_u32(answer, (uint32_t)(size - WIRE_HEADER_SIZE));
		put_u32(answer + 4, REQUEST);
		put_u32(answer + 8, head[8] | WIRE_ANSWER);
	}
	if ((head[9] & VALID_TYPES) &&
	    size >= WIRE_HEADER_SIZE + RESULTS_SIZE + 4)
		put_u32(answer + WIRE_HEADER_SIZE + RESULTS_SIZE, packed);
}

/* What a caller does with an answer: it copies it to its own memory. */
static void take(struct wire_operation *op, const uint32_t *given)
{
	for (unsigned int i = 0; i < WIRE_PARAMS; i++) {
		struct wire_param *param = &op->params[i];

		if (!is_output(param))
			continue;
		assert(param->answered <= given[i]);
		assert(param->answered == 0 || param->answered == param->size);
		if (param->answered)
			memcpy(param->memory, param->answer, param->answered);
	}
}

static void receive(int fd, struct wire_operation *op, uint8_t opcode)
{
	const size_t bound = RESULTS_SIZE + (size_t)wire_answer_bound(op);
	struct wire_patience patience = { 0 };
	struct wire_frame frame;
	uint32_t given[WIRE_PARAMS];

	for (unsigned int i = 0; i < WIRE_PARAMS; i++)
		given[i] = op->params[i].size;
	if (wire_receive(fd, &patience, &frame, REQUEST,
			 (enum wire_opcode)opcode, bound)) {
		wire_read_u32(&frame.payload);
		wire_read_u32(&frame.payload);
		wire_read_operation(&frame.payload, op);
		if (wire_finished(&frame.payload))
			take(op, given);
	}
	wire_release(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_operation op;
	uint8_t *answer;
	size_t length;
	int ends[2];

	if (size < HEAD_SIZE || size - HEAD_SIZE > MAX_ANSWER)
		return 0;
	length = size - HEAD_SIZE;
	answer = malloc(length + 1);
	memcpy(answer, data + HEAD_SIZE, length);
	start_operation(&op, data);
	correct(answer, length, data, &op);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		abort();
	if (send(ends[0], answer, length, 0) != (ssize_t)length)
		abort();
	close(ends[0]);
	receive(ends[1], &op, data[8]);
	close(ends[1]);
	for (unsigned int i = 0; i < WIRE_PARAMS; i++)
		free(op.params[i].memory);
	free(answer);
	return 0;
}
