/* What the files of the TEE Client API driver share. */
#ifndef TEEC_H
#define TEEC_H

#include "script.h"
#include "tee_client_api.h"

#define SLOTS 4

extern TEEC_Context contexts[SLOTS];
extern TEEC_Session sessions[SLOTS];

/* The next word: which context or session. */
unsigned long slot_number(void);

/* Threads, processes and signals. Ends with a row of NULLs. */
extern const struct script_call process_calls[];

#endif
