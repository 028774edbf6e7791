/* What C_GetInterfaceList offers. */
#ifndef FUNCTION_LIST_H
#define FUNCTION_LIST_H

#include "pkcs11.h"

extern const CK_FUNCTION_LIST functions_2_40;
extern const CK_FUNCTION_LIST_3_0 functions_3_0;

/* C_GetInfo as an interface of v3.0 has it: it tells its own version. */
CK_RV get_info_3_0(CK_INFO_PTR pInfo);

#endif
