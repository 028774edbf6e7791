/* What the files of libteec share. Only the TEE Client API is exported. */
#ifndef LIBTEEC_H
#define LIBTEEC_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "wire.h"

#pragma GCC visibility push(default)
#include "tee_client_api.h"

/* Not in the API, but imported by libckteec: it does not load without them. */
void _dprintf(const char *function, int line, int level, const char *prefix,
	      const char *format, ...) __attribute__((format(printf, 5, 6)));
void dump_buffer(const char *name, const uint8_t *buffer, size_t size);
#pragma GCC visibility pop

/*
 * One connection to the secure world: a TEEC_Context.
 *
 * Dead is for ever: every later call answers TEEC_ERROR_TARGET_DEAD. A
 * connection belongs to the process that made it. In the child of a fork it is
 * dead, and closed, from the start: parent and child would read each other's
 * answers, and the parent's sessions would live until the child ends.
 */
struct connection {
	int fd;
	pid_t owner;
	atomic_bool dead;
	atomic_uint last_request;
	/* Held from a request to its answer; guards `patience`. */
	pthread_mutex_t round_trip;
	struct wire_patience patience;
	pthread_mutex_t sending;
	struct connection *next;
};

/* One request and its answer. `operation` names it for a cancellation. */
struct exchange {
	enum wire_opcode opcode;
	struct wire_writer request;
	size_t answer_max;
	struct wire_frame answer;
	TEEC_Operation *operation;
};

/*
 * Connects and says HELLO.
 *
 * Returns TEEC_ERROR_ITEM_NOT_FOUND with errno set when nobody listens at
 * `path`, TEEC_ERROR_TARGET_DEAD when who listens does not answer HELLO.
 */
TEEC_Result connection_open(const char *path, struct connection **opened);
void connection_close(struct connection *connection);
void connection_kill(struct connection *connection);

/*
 * Consumes the request. TEEC_ERROR_TARGET_DEAD: the connection is dead.
 * TEEC_ERROR_CANCEL: cancelled before it began, and not sent. On both there is
 * no answer to read.
 */
TEEC_Result connection_exchange(struct connection *connection,
				struct exchange *x);
void connection_cancel(TEEC_Operation *operation);

/* NULL when there is no context, or it is finalized. */
struct connection *context_connection(const TEEC_Context *context);

/*
 * Returns the result of origin `*origin` that refuses a login, TEEC_SUCCESS
 * when it goes to the secure world with `*gid`.
 */
TEEC_Result login_check(uint32_t method, const void *data, uint32_t *gid,
			uint32_t *origin);

/* Returns a result of origin API when `operation` cannot be sent. */
TEEC_Result operation_to_wire(const TEEC_Operation *operation,
			      struct wire_operation *wire);
void operation_from_wire(TEEC_Operation *operation,
			 const struct wire_operation *wire);

#endif
