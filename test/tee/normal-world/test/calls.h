/* The calls of the Cryptoki driver, by topic. */
#ifndef CALLS_H
#define CALLS_H

#include "pkcs11.h"
#include "script.h"
#include "template.h"

extern CK_FUNCTION_LIST *p11;

/* Each ends with a row of NULLs. */
extern const struct script_call slot_calls[];
extern const struct script_call object_calls[];
extern const struct script_call processing_calls[];
extern const struct script_call interface_calls[];

void print_rv(CK_RV rv);
void print_handle(CK_RV rv, CK_ULONG handle);
void print_data(CK_RV rv, const struct room *room, CK_ULONG size);
void print_list(CK_RV rv, const struct room *room, CK_ULONG count);

#endif
