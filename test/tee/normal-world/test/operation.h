/*
 * Operations in the drivers' language: up to four parameters, each
 *
 *   none, type4, type8           a type without a value
 *   value-in:A:B                 also value-out, value-inout
 *   temp-in:BYTES                also temp-out, temp-inout
 *   whole:MEMORY
 *   part-in:OFFSET:SIZE:MEMORY   also part-out, part-inout
 *
 * MEMORY is FLAGS:BYTES (registered) or FLAGS:allocate:SIZE.
 */
#ifndef OPERATION_H
#define OPERATION_H

#include "tee_client_api.h"

/* The rest of the line. Memory lives until print_result() releases it. */
TEEC_Operation script_operation(TEEC_Context *context);
void print_result(TEEC_Result result, uint32_t origin,
		  const TEEC_Operation *operation);

#endif
