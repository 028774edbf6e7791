#include <stdlib.h>
#include <string.h>

#include "cryptoki.h"

#define FIRST_CAPACITY 256u
/* More never fits into a frame, and keeps sizes far from overflow. */
#define ARGS_MAX (16u * 1024 * 1024)

void args_fail(struct args *args, CK_RV failure)
{
	if (args->failure == CKR_OK)
		args->failure = failure;
}

void args_require(struct args *args, bool condition)
{
	if (!condition)
		args_fail(args, CKR_ARGUMENTS_BAD);
}

/* Moves by hand: realloc() would leave a copy of a PIN in freed memory. */
static bool grow(struct args *args, size_t size)
{
	size_t capacity = args->capacity ? args->capacity : FIRST_CAPACITY;
	uint8_t *bytes;

	while (capacity - args->size < size)
		capacity *= 2;
	bytes = malloc(capacity);
	if (!bytes)
		return false;
	if (args->bytes) {
		memcpy(bytes, args->bytes, args->size);
		explicit_bzero(args->bytes, args->size);
		free(args->bytes);
	}
	args->bytes = bytes;
	args->capacity = capacity;
	return true;
}

static uint8_t *reserve(struct args *args, CK_ULONG size)
{
	uint8_t *at;

	if (args->failure != CKR_OK)
		return NULL;
	if (size > ARGS_MAX - args->size ||
	    (size > args->capacity - args->size && !grow(args, size))) {
		args_fail(args, CKR_HOST_MEMORY);
		return NULL;
	}
	at = args->bytes + args->size;
	args->size += size;
	return at;
}

static void store_u32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
	at[2] = (uint8_t)(value >> 16);
	at[3] = (uint8_t)(value >> 24);
}

uint32_t load_u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	       (uint32_t)at[3] << 24;
}

CK_ULONG load_ulong(const uint8_t *at)
{
	const uint32_t value = load_u32(at);

	return value == PKCS11_UNAVAILABLE ? CK_UNAVAILABLE_INFORMATION : value;
}

void args_ulong(struct args *args, CK_ULONG value)
{
	uint8_t *at = reserve(args, sizeof(uint32_t));

	/* Attack: cut off, a wrong handle could become a right one. */
	if (at)
		store_u32(at, value > PKCS11_UNAVAILABLE ? PKCS11_UNAVAILABLE
							 : (uint32_t)value);
}

void args_bytes(struct args *args, const void *bytes, CK_ULONG size)
{
	uint8_t *at;

	args_require(args, bytes || !size);
	at = reserve(args, size);
	if (at && size)
		memcpy(at, bytes, size);
}

void args_zeros(struct args *args, CK_ULONG size)
{
	uint8_t *at = reserve(args, size);

	if (at && size)
		memset(at, 0, size);
}

size_t args_open(struct args *args)
{
	const size_t place = args->size;

	args_ulong(args, 0);
	return place;
}

void args_close(struct args *args, size_t place, size_t skip)
{
	if (args->failure == CKR_OK)
		store_u32(args->bytes + place,
			  (uint32_t)(args->size - place - sizeof(uint32_t) -
				     skip));
}

void args_discard(struct args *args)
{
	if (args->bytes)
		explicit_bzero(args->bytes, args->size);
	free(args->bytes);
	*args = (struct args){ 0 };
}
