#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "libteec.h"

/*
 * TEEC_Operation.started. The caller may leave anything in it that it does not
 * mean to cancel, so what says "cancelled" is a number of no other meaning.
 */
#define NOT_STARTED	 0u
#define STARTED		 1u
#define CANCELLED_BEFORE 0x4C434E43u

/* A request between its start and its end, so that it can be cancelled. */
struct pending {
	TEEC_Operation *operation;
	struct connection *connection;
	uint32_t request;
	bool sent;
	bool cancelled;
	struct pending *next;
};

/*
 * Every connection and every pending request of this process. Taken before
 * `sending`, never while a round trip waits for its answer.
 */
static struct {
	pthread_mutex_t lock;
	struct connection *connections;
	struct pending *pending;
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_once_t fork_watched = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
	pthread_mutex_lock(&registry.lock);
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&registry.lock);
}

static void after_fork_in_child(void)
{
	for (struct connection *c = registry.connections; c; c = c->next) {
		wire_close(c->fd);
		c->fd = -1;
		atomic_store(&c->dead, true);
	}
	registry.pending = NULL;
	pthread_mutex_unlock(&registry.lock);
}

static void watch_fork(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* The pid tells what no fork handler sees: clone(2) by hand. */
static bool is_usable(struct connection *connection)
{
	return !atomic_load(&connection->dead) && connection->owner == getpid();
}

static bool send_frame(struct connection *c, struct wire_writer *w,
		       uint32_t request, enum wire_opcode opcode)
{
	bool sent;

	pthread_mutex_lock(&c->sending);
	sent = wire_send(c->fd, w, request, opcode);
	pthread_mutex_unlock(&c->sending);
	return sent;
}

/* Called with the registry locked. A lost CANCEL is a lost connection. */
static void send_cancel(const struct pending *pending)
{
	struct connection *c = pending->connection;
	struct wire_writer w;

	wire_begin(&w);
	wire_u32(&w, pending->request);
	send_frame(c, &w, atomic_fetch_add(&c->last_request, 1) + 1,
		   WIRE_CANCEL);
	wire_discard(&w);
}

void connection_cancel(TEEC_Operation *operation)
{
	bool found = false;

	pthread_mutex_lock(&registry.lock);
	for (struct pending *p = registry.pending; p; p = p->next) {
		if (p->operation != operation)
			continue;
		found = true;
		if (!p->cancelled && p->sent && is_usable(p->connection))
			send_cancel(p);
		p->cancelled = true;
	}
	if (!found && operation->started == NOT_STARTED)
		operation->started = CANCELLED_BEFORE;
	pthread_mutex_unlock(&registry.lock);
}

/*
 * From here on a cancellation finds it, which `started` tells the caller.
 * False: one came before.
 */
static bool pending_add(struct pending *pending)
{
	uint32_t *started = &pending->operation->started;
	bool wanted;

	pthread_mutex_lock(&registry.lock);
	wanted = *started != CANCELLED_BEFORE;
	__atomic_store_n(started, STARTED, __ATOMIC_RELEASE);
	if (wanted) {
		pending->next = registry.pending;
		registry.pending = pending;
	}
	pthread_mutex_unlock(&registry.lock);
	return wanted;
}

/* A cancellation that came before the request was sent follows it. */
static void pending_sent(struct pending *pending)
{
	pthread_mutex_lock(&registry.lock);
	pending->sent = true;
	if (pending->cancelled)
		send_cancel(pending);
	pthread_mutex_unlock(&registry.lock);
}

static void pending_remove(struct pending *pending)
{
	struct pending **at = &registry.pending;

	pthread_mutex_lock(&registry.lock);
	while (*at && *at != pending)
		at = &(*at)->next;
	if (*at)
		*at = pending->next;
	pthread_mutex_unlock(&registry.lock);
}

static bool round_trip(struct connection *c, struct exchange *x,
		       struct pending *pending)
{
	const uint32_t request = atomic_fetch_add(&c->last_request, 1) + 1;

	pending->request = request;
	if (!send_frame(c, &x->request, request, x->opcode))
		return false;
	if (pending->operation)
		pending_sent(pending);
	return wire_receive(c->fd, &c->patience, &x->answer, request, x->opcode,
			    x->answer_max);
}

static TEEC_Result perform(struct connection *connection, struct exchange *x)
{
	struct pending pending = {
		.operation = x->operation,
		.connection = connection,
	};
	bool answered = false;

	/* Before any lock: in a forked child nobody would release it. */
	if (!is_usable(connection))
		return TEEC_ERROR_TARGET_DEAD;
	if (pending.operation && !pending_add(&pending))
		return TEEC_ERROR_CANCEL;
	pthread_mutex_lock(&connection->round_trip);
	if (is_usable(connection)) {
		answered = round_trip(connection, x, &pending);
		if (!answered)
			connection_kill(connection);
	}
	pthread_mutex_unlock(&connection->round_trip);
	if (pending.operation)
		pending_remove(&pending);
	return answered ? TEEC_SUCCESS : TEEC_ERROR_TARGET_DEAD;
}

TEEC_Result connection_exchange(struct connection *connection,
				struct exchange *x)
{
	const TEEC_Result result = perform(connection, x);

	wire_discard(&x->request);
	if (result != TEEC_SUCCESS)
		wire_release(&x->answer);
	return result;
}

void connection_kill(struct connection *connection)
{
	if (!atomic_exchange(&connection->dead, true))
		wire_shutdown(connection->fd);
}

static bool say_hello(struct connection *connection)
{
	struct exchange x = {
		.opcode = WIRE_HELLO,
		.answer_max = sizeof(uint32_t),
	};
	struct wire_hello hello = {
		.pid = (uint32_t)getpid(),
		.uid = geteuid(),
		.gid = getegid(),
	};
	int count = getgroups(0, NULL);
	gid_t *groups = calloc(count > 0 ? (size_t)count : 1, sizeof(gid_t));
	bool agreed = false;

	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "group ids fit");
	if (groups && count > 0)
		count = getgroups(count, groups);
	if (groups && count > 0) {
		hello.groups = groups;
		hello.group_count = (uint32_t)count;
	}
	wire_begin(&x.request);
	wire_hello(&x.request, &hello);
	free(groups);
	if (connection_exchange(connection, &x) == TEEC_SUCCESS) {
		agreed = wire_read_u32(&x.answer.payload) == WIRE_VERSION &&
			 wire_finished(&x.answer.payload);
		wire_release(&x.answer);
	}
	return agreed;
}

TEEC_Result connection_open(const char *path, struct connection **opened)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		return TEEC_ERROR_OUT_OF_MEMORY;
	pthread_once(&fork_watched, watch_fork);
	pthread_mutex_init(&c->round_trip, NULL);
	pthread_mutex_init(&c->sending, NULL);
	c->owner = getpid();
	/* Registered before it is connected: no fork may inherit it unseen. */
	pthread_mutex_lock(&registry.lock);
	c->fd = wire_connect(path);
	if (c->fd < 0) {
		pthread_mutex_unlock(&registry.lock);
		free(c);
		return TEEC_ERROR_ITEM_NOT_FOUND;
	}
	c->next = registry.connections;
	registry.connections = c;
	pthread_mutex_unlock(&registry.lock);
	if (!say_hello(c)) {
		connection_close(c);
		return TEEC_ERROR_TARGET_DEAD;
	}
	*opened = c;
	return TEEC_SUCCESS;
}

void connection_close(struct connection *connection)
{
	struct connection **at = &registry.connections;

	pthread_mutex_lock(&registry.lock);
	while (*at && *at != connection)
		at = &(*at)->next;
	if (*at)
		*at = connection->next;
	if (connection->fd >= 0)
		wire_close(connection->fd);
	pthread_mutex_unlock(&registry.lock);
	free(connection);
}
