/*
 * TEEC_OpenSession: for whom a session is opened.
 *
 * On a device the library passes the login on and Linux answers for the TEE,
 * before the secure world sees anything. So the refusals of both are here.
 *
 * Source: optee_client libteec/src/tee_client_api.c; Linux
 * drivers/tee/tee_core.c, tee_session_calc_client_uuid.
 */
#include <stdlib.h>
#include <unistd.h>

#include "libteec.h"

/* As Linux judges it: by effective group, or by membership. */
static TEEC_Result check_membership(gid_t wanted, uint32_t *origin)
{
	const int count = getgroups(0, NULL);
	gid_t *groups = calloc(count > 0 ? (size_t)count : 1, sizeof(*groups));
	bool member = wanted == getegid();

	if (!groups)
		return TEEC_ERROR_OUT_OF_MEMORY;
	for (int i = count > 0 ? getgroups(count, groups) : 0; i > 0; i--)
		member = member || groups[i - 1] == wanted;
	free(groups);
	if (member)
		return TEEC_SUCCESS;
	*origin = TEEC_ORIGIN_COMMS;
	return TEEC_ERROR_GENERIC;
}

TEEC_Result login_check(uint32_t method, const void *data, uint32_t *gid,
			uint32_t *origin)
{
	const bool is_group = method == TEEC_LOGIN_GROUP ||
			      method == TEEC_LOGIN_GROUP_APPLICATION;

	*origin = TEEC_ORIGIN_API;
	*gid = 0;
	if (is_group != (data != NULL))
		return TEEC_ERROR_BAD_PARAMETERS;
	if (is_group)
		*gid = *(const uint32_t *)data;
	switch (method) {
	case TEEC_LOGIN_PUBLIC:
	case TEEC_LOGIN_USER:
		return TEEC_SUCCESS;
	case TEEC_LOGIN_GROUP:
		return check_membership(*gid, origin);
	case TEEC_LOGIN_APPLICATION:
	case TEEC_LOGIN_USER_APPLICATION:
	case TEEC_LOGIN_GROUP_APPLICATION:
		*origin = TEEC_ORIGIN_COMMS;
		return TEEC_ERROR_BAD_PARAMETERS;
	default:
		return TEEC_ERROR_BAD_PARAMETERS;
	}
}
