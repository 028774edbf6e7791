#include <string.h>

#include "libteec.h"

static TEEC_Result memory_to_wire(struct wire_param *param, void *memory,
				  size_t size)
{
	if (size > WIRE_PAYLOAD_MAX)
		return TEEC_ERROR_OUT_OF_MEMORY;
	param->memory = memory;
	param->size = (uint32_t)size;
	return TEEC_SUCCESS;
}

static TEEC_Result whole_to_wire(const TEEC_RegisteredMemoryReference *memref,
				 struct wire_param *param)
{
	const TEEC_SharedMemory *parent = memref->parent;

	if (!parent || !parent->buffer)
		return TEEC_ERROR_BAD_PARAMETERS;
	switch (parent->flags) {
	case TEEC_MEM_INPUT:
		param->type = WIRE_MEMREF_INPUT;
		break;
	case TEEC_MEM_OUTPUT:
		param->type = WIRE_MEMREF_OUTPUT;
		break;
	case TEEC_MEM_INPUT | TEEC_MEM_OUTPUT:
		param->type = WIRE_MEMREF_INOUT;
		break;
	default:
		return TEEC_ERROR_BAD_PARAMETERS;
	}
	return memory_to_wire(param, parent->buffer, parent->size);
}

/* A part may only be used in directions that its parent has. */
static TEEC_Result part_to_wire(const TEEC_RegisteredMemoryReference *memref,
				uint32_t direction, struct wire_param *param)
{
	const TEEC_SharedMemory *parent = memref->parent;

	if (!parent || !parent->buffer ||
	    (parent->flags & direction) != direction)
		return TEEC_ERROR_BAD_PARAMETERS;
	if (memref->offset > parent->size ||
	    memref->size > parent->size - memref->offset)
		return TEEC_ERROR_BAD_PARAMETERS;
	return memory_to_wire(param, (uint8_t *)parent->buffer + memref->offset,
			      memref->size);
}

static TEEC_Result param_to_wire(const TEEC_Parameter *from, uint32_t type,
				 struct wire_param *param)
{
	switch (type) {
	case TEEC_NONE:
		return TEEC_SUCCESS;
	case TEEC_VALUE_INPUT:
	case TEEC_VALUE_OUTPUT:
	case TEEC_VALUE_INOUT:
		param->type = (enum wire_type)type;
		param->a = from->value.a;
		param->b = from->value.b;
		return TEEC_SUCCESS;
	case TEEC_MEMREF_TEMP_INPUT:
	case TEEC_MEMREF_TEMP_OUTPUT:
	case TEEC_MEMREF_TEMP_INOUT:
		param->type = (enum wire_type)type;
		return memory_to_wire(param, from->tmpref.buffer,
				      from->tmpref.buffer ? from->tmpref.size
							  : 0);
	case TEEC_MEMREF_WHOLE:
		return whole_to_wire(&from->memref, param);
	case TEEC_MEMREF_PARTIAL_INPUT:
		param->type = WIRE_MEMREF_INPUT;
		return part_to_wire(&from->memref, TEEC_MEM_INPUT, param);
	case TEEC_MEMREF_PARTIAL_OUTPUT:
		param->type = WIRE_MEMREF_OUTPUT;
		return part_to_wire(&from->memref, TEEC_MEM_OUTPUT, param);
	case TEEC_MEMREF_PARTIAL_INOUT:
		param->type = WIRE_MEMREF_INOUT;
		return part_to_wire(&from->memref,
				    TEEC_MEM_INPUT | TEEC_MEM_OUTPUT, param);
	default:
		return TEEC_ERROR_BAD_PARAMETERS;
	}
}

TEEC_Result operation_to_wire(const TEEC_Operation *operation,
			      struct wire_operation *wire)
{
	TEEC_Result result = TEEC_SUCCESS;

	*wire = (struct wire_operation){ 0 };
	if (!operation)
		return TEEC_SUCCESS;
	for (unsigned int i = 0; i < WIRE_PARAMS && result == TEEC_SUCCESS; i++)
		result = param_to_wire(
			&operation->params[i],
			TEEC_PARAM_TYPE_GET(operation->paramTypes, i),
			&wire->params[i]);
	/* Neither the request nor any answer to it may be longer than a frame.
	 */
	if (result == TEEC_SUCCESS &&
	    wire_answer_bound(wire) > WIRE_PAYLOAD_MAX)
		result = TEEC_ERROR_OUT_OF_MEMORY;
	return result;
}

static void param_from_wire(TEEC_Parameter *to, uint32_t type,
			    const struct wire_param *param)
{
	switch (param->type) {
	case WIRE_NONE:
	case WIRE_VALUE_INPUT:
	case WIRE_MEMREF_INPUT:
		return;
	case WIRE_VALUE_OUTPUT:
	case WIRE_VALUE_INOUT:
		to->value.a = param->a;
		to->value.b = param->b;
		return;
	case WIRE_MEMREF_OUTPUT:
	case WIRE_MEMREF_INOUT:
		break;
	}
	if (param->answered)
		memcpy(param->memory, param->answer, param->answered);
	if (type >= TEEC_MEMREF_WHOLE)
		to->memref.size = param->size;
	else
		to->tmpref.size = param->size;
}

void operation_from_wire(TEEC_Operation *operation,
			 const struct wire_operation *wire)
{
	if (!operation)
		return;
	for (unsigned int i = 0; i < WIRE_PARAMS; i++)
		param_from_wire(&operation->params[i],
				TEEC_PARAM_TYPE_GET(operation->paramTypes, i),
				&wire->params[i]);
}
