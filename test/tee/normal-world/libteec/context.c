#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libteec.h"

/* The one name that OP-TEE's driver gives itself. */
#define TEE_NAME "optee-tz"

static const char *socket_path(void)
{
	const char *path = secure_getenv(WIRE_SOCKET_VARIABLE);

	return path && *path ? path : WIRE_SOCKET_DEFAULT;
}

/* Says why there is no TEE: a result code alone has never helped anybody. */
static void explain(const char *path, TEEC_Result result, int failure)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	char text[128];
	const char *why;

	if (getenv("OTA_TEE_QUIET") || atomic_flag_test_and_set(&said))
		return;
	switch (result) {
	case TEEC_ERROR_ITEM_NOT_FOUND:
		why = strerror_r(failure, text, sizeof(text));
		break;
	case TEEC_ERROR_TARGET_DEAD:
		why = "who listens there did not answer HELLO";
		break;
	default:
		why = "out of memory";
		break;
	}
	dprintf(STDERR_FILENO,
		"libteec: no TEE at %s: %s (start the secure world, or name its socket in " WIRE_SOCKET_VARIABLE
		")\n",
		path, why);
}

/* Copied, not cast: a context is aligned as an int, not as a pointer. */
static void set_connection(TEEC_Context *context, struct connection *connection)
{
	_Static_assert(sizeof(connection) <=
			       sizeof(TEEC_IMP(context).connection),
		       "a pointer fits a context");
	memcpy(TEEC_IMP(context).connection, &connection, sizeof(connection));
}

struct connection *context_connection(const TEEC_Context *context)
{
	struct connection *connection = NULL;

	if (context)
		memcpy(&connection, TEEC_IMP(context).connection,
		       sizeof(connection));
	return connection;
}

TEEC_Result TEEC_InitializeContext(const char *name, TEEC_Context *context)
{
	const char *path = socket_path();
	struct connection *connection = NULL;
	TEEC_Result result;

	if (!context)
		return TEEC_ERROR_BAD_PARAMETERS;
	set_connection(context, NULL);
	if (name && strcmp(name, TEE_NAME) != 0)
		return TEEC_ERROR_ITEM_NOT_FOUND;
	result = connection_open(path, &connection);
	if (result == TEEC_SUCCESS)
		set_connection(context, connection);
	else
		explain(path, result, errno);
	return result;
}

void TEEC_FinalizeContext(TEEC_Context *context)
{
	struct connection *connection = context_connection(context);

	if (!connection)
		return;
	connection_close(connection);
	set_connection(context, NULL);
}
