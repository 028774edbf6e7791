/*
 * The wire between the normal and the secure world: ../WIRE.md in C.
 *
 * Every byte that crosses is made and read here, and nothing else touches the
 * socket. Integers are little-endian, nothing is aligned. Writers and readers
 * latch their first failure, so a frame is checked once, at its end.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION	     1u
#define WIRE_HEADER_SIZE     12u
#define WIRE_PAYLOAD_MAX     (16u * 1024 * 1024)
#define WIRE_PARAMS	     4
#define WIRE_ANSWER	     0x8000u

#define WIRE_SOCKET_VARIABLE "OTA_TEE_SOCKET"
#define WIRE_SOCKET_DEFAULT  "/run/ota-agent-tee/socket"

enum wire_opcode {
	WIRE_HELLO = 1,
	WIRE_OPEN_SESSION = 2,
	WIRE_CLOSE_SESSION = 3,
	WIRE_INVOKE = 4,
	WIRE_CANCEL = 5,
};

/* Parameter types of the TEE Internal API: what the secure world speaks. */
enum wire_type {
	WIRE_NONE = 0,
	WIRE_VALUE_INPUT = 1,
	WIRE_VALUE_OUTPUT = 2,
	WIRE_VALUE_INOUT = 3,
	WIRE_MEMREF_INPUT = 5,
	WIRE_MEMREF_OUTPUT = 6,
	WIRE_MEMREF_INOUT = 7,
};

/* Who asks: the first frame of a connection. */
struct wire_hello {
	uint32_t pid;
	uint32_t uid;
	uint32_t gid;
	const uint32_t *groups;
	uint32_t group_count;
};

/*
 * One parameter in both directions. A request gives `a` and `b`, or `memory` of
 * `size` bytes (NULL: a null reference). An answer replaces `a` and `b`, or
 * sets `size` to what the TA wants it to be and `answer` to the `answered`
 * bytes that are to be copied to `memory`; it never writes to `memory`.
 */
struct wire_param {
	enum wire_type type;
	uint32_t a;
	uint32_t b;
	void *memory;
	uint32_t size;
	const uint8_t *answer;
	uint32_t answered;
};

struct wire_operation {
	struct wire_param params[WIRE_PARAMS];
};

/* A frame in the making. The header's place is kept free by wire_begin(). */
struct wire_writer {
	uint8_t *bytes;
	size_t size;
	size_t capacity;
	bool failed;
};

/* A cursor over received bytes. `failed` latches: check it once, at the end. */
struct wire_reader {
	const uint8_t *next;
	size_t left;
	bool failed;
};

/* A received frame and the cursor over its payload. */
struct wire_frame {
	uint8_t *bytes;
	size_t size;
	size_t capacity;
	struct wire_reader payload;
};

/*
 * Whether it pays to look for an answer instead of sleeping until it comes:
 * while looking does not help, it is tried more and more seldom.
 */
struct wire_patience {
	uint32_t failures;
	uint32_t sleeps_left;
};

void wire_begin(struct wire_writer *w);
void wire_u32(struct wire_writer *w, uint32_t value);
void wire_bytes(struct wire_writer *w, const void *bytes, size_t size);
void wire_hello(struct wire_writer *w, const struct wire_hello *hello);
void wire_operation(struct wire_writer *w, const struct wire_operation *op);
/* Overwrites what the frame held before it frees it: it may hold a PIN. */
void wire_discard(struct wire_writer *w);

uint32_t wire_read_u32(struct wire_reader *r);
/* Returns NULL and latches `failed` when fewer than `size` bytes are left. */
const uint8_t *wire_read_bytes(struct wire_reader *r, size_t size);
/* Latches `failed` when the answer is not one to the request that `op` was. */
void wire_read_operation(struct wire_reader *r, struct wire_operation *op);
/* True when every byte was read and none was missing. */
bool wire_finished(const struct wire_reader *r);

/* How many bytes of a valid answer's OPERATION there can be at most. */
uint64_t wire_answer_bound(const struct wire_operation *op);

/* Returns a descriptor that exec closes, or -1 with errno set. */
int wire_connect(const char *path);
/* Sends the whole frame; false when the other side is gone. */
bool wire_send(int fd, struct wire_writer *w, uint32_t request,
	       enum wire_opcode opcode);
/*
 * Receives the answer to `request` into a new buffer of `frame`.
 *
 * Returns false when the connection ends, or when what arrives is anything but
 * one answer to this request with at most `payload_max` bytes.
 */
bool wire_receive(int fd, struct wire_patience *patience,
		  struct wire_frame *frame, uint32_t request,
		  enum wire_opcode opcode, size_t payload_max);
/* Overwrites what was received before it frees it: it may be plaintext. */
void wire_release(struct wire_frame *frame);

/* Ends the conversation for both sides; a thread that waits is woken. */
void wire_shutdown(int fd);
void wire_close(int fd);

#endif
