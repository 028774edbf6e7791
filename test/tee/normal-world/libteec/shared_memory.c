#include <stdlib.h>

#include "libteec.h"

static bool is_valid(const TEEC_Context *context, const TEEC_SharedMemory *shm)
{
	const uint32_t known = TEEC_MEM_INPUT | TEEC_MEM_OUTPUT;

	return context && shm && (shm->flags & known) && !(shm->flags & ~known);
}

TEEC_Result TEEC_RegisterSharedMemory(TEEC_Context *context,
				      TEEC_SharedMemory *sharedMem)
{
	if (!is_valid(context, sharedMem) || !sharedMem->buffer)
		return TEEC_ERROR_BAD_PARAMETERS;
	/* Absent: any check of the memory, which may be unreadable until used.
	 */
	sharedMem->imp.allocated = NULL;
	return TEEC_SUCCESS;
}

TEEC_Result TEEC_AllocateSharedMemory(TEEC_Context *context,
				      TEEC_SharedMemory *sharedMem)
{
	if (!is_valid(context, sharedMem))
		return TEEC_ERROR_BAD_PARAMETERS;
	sharedMem->imp.allocated =
		calloc(1, sharedMem->size ? sharedMem->size : 1);
	sharedMem->buffer = sharedMem->imp.allocated;
	return sharedMem->buffer ? TEEC_SUCCESS : TEEC_ERROR_OUT_OF_MEMORY;
}

void TEEC_ReleaseSharedMemory(TEEC_SharedMemory *sharedMem)
{
	if (!sharedMem)
		return;
	free(sharedMem->imp.allocated);
	sharedMem->imp.allocated = NULL;
	sharedMem->buffer = NULL;
	sharedMem->size = 0;
}
