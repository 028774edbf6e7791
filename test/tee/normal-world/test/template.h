/* Templates and mechanisms in the drivers' language. */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include "pkcs11.h"

struct template
{
	CK_ATTRIBUTE *attributes;
	CK_ULONG count;
};

/*
 * TYPE=VALUE joined by commas, or null. VALUE is bytes as they lie in memory,
 * absent (pValue NULL, no length), or [TEMPLATE] for a nested one.
 */
struct template script_template(void);

/* TYPE=ROOM joined by commas: what C_GetAttributeValue is to fill. */
struct template script_rooms(void);
void print_rooms(const struct template *wanted);

/*
 * null, TYPE, TYPE:bytes (the parameter as it lies in memory), or TYPE with a
 * parameter that holds pointers: TYPE:gcm:IV:AAD:TAGBITS,
 * TYPE:oaep:HASH:MGF:SOURCE:LABEL, TYPE:eddsa:PH:CONTEXT,
 * TYPE:ecdh:KDF:SHARED:PUBLIC, TYPE:ecb:DATA, TYPE:cbc:IV:DATA and
 * TYPE:rsaaes:BITS[:HASH:MGF:SOURCE:LABEL].
 */
CK_MECHANISM *script_mechanism(void);

#endif
