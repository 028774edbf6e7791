/*
 * Debug builds: no function returns what PKCS#11 does not let it return.
 *
 * Stands before every function. A code that is not in its list aborts the
 * process and names both, be it the TA's or the library's.
 *
 * Source: PKCS#11 v2.40 and v3.0 Base Specification §5, "Return values".
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#pragma GCC visibility push(default)
#include "pkcs11.h"
#pragma GCC visibility pop

#include "returns.h"

/* Tests of a TA that lies: every code is passed on. */
#define ANY_RETURN_VARIABLE "OTA_TEE_ANY_RETURN"

static CK_RV checked(const char *name, CK_RV rv, const CK_RV *permitted,
		     size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (permitted[i] == rv)
			return rv;
	if (getenv(ANY_RETURN_VARIABLE))
		return rv;
	dprintf(STDERR_FILENO,
		"libtee-cryptoki: %s may not return 0x%lx (PKCS#11, \"Return values\"): correct the TA, or add the code to cryptoki/codes.c\n",
		name, rv);
	abort();
}

/* clang-format off */
#define CHECKED(name, parameters, names)                                       \
	CK_RV unchecked_##name parameters;                                     \
	CK_RV name parameters                                                  \
	{                                                                      \
		static const CK_RV permitted[] = { RETURNS_##name };           \
									       \
		return checked(#name, unchecked_##name names, permitted,       \
			       sizeof(permitted) / sizeof(*permitted));        \
	}
/* clang-format on */

PKCS11_FUNCTIONS(CHECKED)
PKCS11_FUNCTIONS_3_0(CHECKED)
