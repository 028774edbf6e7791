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
	/* Refused or not, it may be released. */
	if (sharedMem)
		TEEC_IMP(sharedMem).allocated = NULL;
	/* Absent: any check of the memory, which may be unreadable until used.
	 */
	return is_valid(context, sharedMem) && sharedMem->buffer
		       ? TEEC_SUCCESS
		       : TEEC_ERROR_BAD_PARAMETERS;
}

TEEC_Result TEEC_AllocateSharedMemory(TEEC_Context *context,
				      TEEC_SharedMemory *sharedMem)
{
	if (sharedMem) {
		TEEC_IMP(sharedMem).allocated = NULL;
		sharedMem->buffer = NULL;
	}
	if (!is_valid(context, sharedMem))
		return TEEC_ERROR_BAD_PARAMETERS;
	sharedMem->buffer = calloc(1, sharedMem->size ? sharedMem->size : 1);
	TEEC_IMP(sharedMem).allocated = sharedMem->buffer;
	return sharedMem->buffer ? TEEC_SUCCESS : TEEC_ERROR_OUT_OF_MEMORY;
}

/* Client API v1.0, TEEC_ReleaseSharedMemory: only what was allocated is taken
 * away. */
void TEEC_ReleaseSharedMemory(TEEC_SharedMemory *sharedMem)
{
	if (!sharedMem || !TEEC_IMP(sharedMem).allocated)
		return;
	free(TEEC_IMP(sharedMem).allocated);
	TEEC_IMP(sharedMem).allocated = NULL;
	sharedMem->buffer = NULL;
	sharedMem->size = 0;
}
