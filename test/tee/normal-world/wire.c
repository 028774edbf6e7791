#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FIRST_CAPACITY 512u
/* An ECDSA signature takes half of it; RSA ones are worth a sleep. */
#define LOOK_NS	     60000u
#define FAILURES_MAX 6u

static void put_u32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
	at[2] = (uint8_t)(value >> 16);
	at[3] = (uint8_t)(value >> 24);
}

static uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	       (uint32_t)at[3] << 24;
}

/* Moves by hand: realloc() would leave a copy of a PIN in freed memory. */
static bool grow(struct wire_writer *w, size_t size)
{
	const size_t limit = WIRE_HEADER_SIZE + WIRE_PAYLOAD_MAX;
	size_t capacity = w->capacity ? w->capacity : FIRST_CAPACITY;
	uint8_t *bytes;

	if (size > limit - w->size)
		return false;
	while (capacity - w->size < size)
		capacity *= 2;
	bytes = malloc(capacity);
	if (!bytes)
		return false;
	if (w->bytes) {
		memcpy(bytes, w->bytes, w->size);
		explicit_bzero(w->bytes, w->size);
		free(w->bytes);
	}
	w->bytes = bytes;
	w->capacity = capacity;
	return true;
}

static uint8_t *reserve(struct wire_writer *w, size_t size)
{
	uint8_t *at;

	if (w->failed)
		return NULL;
	if (size > w->capacity - w->size && !grow(w, size)) {
		w->failed = true;
		return NULL;
	}
	at = w->bytes + w->size;
	w->size += size;
	return at;
}

void wire_begin(struct wire_writer *w)
{
	*w = (struct wire_writer){ 0 };
	reserve(w, WIRE_HEADER_SIZE);
}

void wire_u32(struct wire_writer *w, uint32_t value)
{
	uint8_t *at = reserve(w, sizeof(value));

	if (at)
		put_u32(at, value);
}

void wire_bytes(struct wire_writer *w, const void *bytes, size_t size)
{
	uint8_t *at = reserve(w, size);

	if (at && size)
		memcpy(at, bytes, size);
}

void wire_hello(struct wire_writer *w, const struct wire_hello *hello)
{
	wire_u32(w, WIRE_VERSION);
	wire_u32(w, hello->pid);
	wire_u32(w, hello->uid);
	wire_u32(w, hello->gid);
	wire_u32(w, hello->group_count);
	for (uint32_t i = 0; i < hello->group_count; i++)
		wire_u32(w, hello->groups[i]);
}

static void write_param(struct wire_writer *w, const struct wire_param *param)
{
	const uint32_t size = param->memory ? param->size : 0;

	switch (param->type) {
	case WIRE_NONE:
	case WIRE_VALUE_OUTPUT:
		break;
	case WIRE_VALUE_INPUT:
	case WIRE_VALUE_INOUT:
		wire_u32(w, param->a);
		wire_u32(w, param->b);
		break;
	case WIRE_MEMREF_INPUT:
	case WIRE_MEMREF_INOUT:
		wire_u32(w, param->memory != NULL);
		wire_u32(w, size);
		wire_bytes(w, param->memory, size);
		break;
	case WIRE_MEMREF_OUTPUT:
		wire_u32(w, param->memory != NULL);
		wire_u32(w, size);
		break;
	}
}

static uint32_t packed_types(const struct wire_operation *op)
{
	uint32_t types = 0;

	for (unsigned int i = 0; i < WIRE_PARAMS; i++)
		types |= (uint32_t)op->params[i].type << (4 * i);
	return types;
}

void wire_operation(struct wire_writer *w, const struct wire_operation *op)
{
	wire_u32(w, packed_types(op));
	for (unsigned int i = 0; i < WIRE_PARAMS; i++)
		write_param(w, &op->params[i]);
}

void wire_discard(struct wire_writer *w)
{
	if (w->bytes)
		explicit_bzero(w->bytes, w->size);
	free(w->bytes);
	*w = (struct wire_writer){ 0 };
}

const uint8_t *wire_read_bytes(struct wire_reader *r, size_t size)
{
	const uint8_t *at = r->next;

	if (r->failed || size > r->left) {
		r->failed = true;
		return NULL;
	}
	r->next += size;
	r->left -= size;
	return at;
}

uint32_t wire_read_u32(struct wire_reader *r)
{
	const uint8_t *at = wire_read_bytes(r, sizeof(uint32_t));

	return at ? get_u32(at) : 0;
}

bool wire_finished(const struct wire_reader *r)
{
	return !r->failed && r->left == 0;
}

static void read_memref(struct wire_reader *r, struct wire_param *param)
{
	const uint32_t given = param->memory ? param->size : 0;

	param->size = wire_read_u32(r);
	param->answered = wire_read_u32(r);
	/* Attack: a count that doesn't follow from the size overruns memory. */
	if (param->answered != (param->size > given ? 0 : param->size))
		r->failed = true;
	param->answer = wire_read_bytes(r, param->answered);
}

void wire_read_operation(struct wire_reader *r, struct wire_operation *op)
{
	if (wire_read_u32(r) != packed_types(op))
		r->failed = true;
	for (unsigned int i = 0; i < WIRE_PARAMS && !r->failed; i++) {
		struct wire_param *param = &op->params[i];

		switch (param->type) {
		case WIRE_NONE:
		case WIRE_VALUE_INPUT:
		case WIRE_MEMREF_INPUT:
			break;
		case WIRE_VALUE_OUTPUT:
		case WIRE_VALUE_INOUT:
			param->a = wire_read_u32(r);
			param->b = wire_read_u32(r);
			break;
		case WIRE_MEMREF_OUTPUT:
		case WIRE_MEMREF_INOUT:
			read_memref(r, param);
			break;
		}
	}
}

uint64_t wire_answer_bound(const struct wire_operation *op)
{
	uint64_t bound = sizeof(uint32_t);

	for (unsigned int i = 0; i < WIRE_PARAMS; i++) {
		const struct wire_param *param = &op->params[i];

		bound += 2 * sizeof(uint32_t);
		if (param->type == WIRE_MEMREF_OUTPUT ||
		    param->type == WIRE_MEMREF_INOUT)
			bound += param->size;
	}
	return bound;
}

int wire_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;
	int failure;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == EINTR)
			continue;
		failure = errno;
		close(fd);
		errno = failure;
		return -1;
	}
	return fd;
}

bool wire_send(int fd, struct wire_writer *w, uint32_t request,
	       enum wire_opcode opcode)
{
	size_t sent = 0;

	if (w->failed)
		return false;
	put_u32(w->bytes, (uint32_t)(w->size - WIRE_HEADER_SIZE));
	put_u32(w->bytes + 4, request);
	put_u32(w->bytes + 8, (uint32_t)opcode);
	while (sent < w->size) {
		ssize_t n =
			send(fd, w->bytes + sent, w->size - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		sent += (size_t)n;
	}
	return true;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Reads what is there within LOOK_NS. Returns false when nothing came. */
static bool look(int fd, struct wire_frame *frame)
{
	const uint64_t end_ns = now_ns() + LOOK_NS;

	do {
		ssize_t n =
			recv(fd, frame->bytes, frame->capacity, MSG_DONTWAIT);

		if (n > 0) {
			frame->size = (size_t)n;
			return true;
		}
		if (n == 0)
			return false;
	} while (now_ns() < end_ns);
	return false;
}

/*
 * To sleep and be woken by another core takes longer than most answers do. But
 * who shares a core with the secure world keeps it from answering by looking.
 */
static void look_if_it_pays(int fd, struct wire_patience *patience,
			    struct wire_frame *frame)
{
	if (patience->sleeps_left) {
		patience->sleeps_left--;
	} else if (look(fd, frame)) {
		patience->failures = 0;
	} else {
		if (patience->failures < FAILURES_MAX)
			patience->failures++;
		patience->sleeps_left = (1u << patience->failures) - 1;
	}
}

/* Reads on until `frame` holds at least `wanted` bytes. */
static bool receive_until(int fd, struct wire_frame *frame, size_t wanted)
{
	while (frame->size < wanted) {
		ssize_t n = recv(fd, frame->bytes + frame->size,
				 frame->capacity - frame->size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		frame->size += (size_t)n;
	}
	return true;
}

bool wire_receive(int fd, struct wire_patience *patience,
		  struct wire_frame *frame, uint32_t request,
		  enum wire_opcode opcode, size_t payload_max)
{
	size_t size;

	/* One answer is outstanding: whatever follows it is out of protocol. */
	*frame = (struct wire_frame){
		.capacity = WIRE_HEADER_SIZE + payload_max + 1,
	};
	frame->bytes = malloc(frame->capacity);
	if (!frame->bytes)
		return false;
	look_if_it_pays(fd, patience, frame);
	if (!receive_until(fd, frame, WIRE_HEADER_SIZE))
		return false;
	size = get_u32(frame->bytes);
	if (size > payload_max || get_u32(frame->bytes + 4) != request ||
	    get_u32(frame->bytes + 8) != ((uint32_t)opcode | WIRE_ANSWER))
		return false;
	if (!receive_until(fd, frame, WIRE_HEADER_SIZE + size) ||
	    frame->size > WIRE_HEADER_SIZE + size)
		return false;
	frame->payload = (struct wire_reader){
		.next = frame->bytes + WIRE_HEADER_SIZE,
		.left = size,
	};
	return true;
}

void wire_release(struct wire_frame *frame)
{
	if (frame->bytes)
		explicit_bzero(frame->bytes, frame->size);
	free(frame->bytes);
	*frame = (struct wire_frame){ 0 };
}

void wire_shutdown(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

void wire_close(int fd)
{
	close(fd);
}
