/*
 * The function lists. Data alone: cryptoki.h would put the functions that are
 * not checked into them.
 */
#include "function_list.h"

#define ENTRY(name, parameters, names) name,

const CK_FUNCTION_LIST functions_2_40 = { { 2, 40 }, PKCS11_FUNCTIONS(ENTRY) };

#define C_GetInfo get_info_3_0

const CK_FUNCTION_LIST_3_0 functions_3_0 = {
	{ 3, 0 }, PKCS11_FUNCTIONS(ENTRY) PKCS11_FUNCTIONS_3_0(ENTRY)
};
