/*
 * The little language that tests speak to the drivers: one call a line, words
 * separated by spaces, one line of answer for each.
 *
 *   number  decimal or 0x…
 *   bytes   x0102 (may be empty), or null, or null*N (NULL that claims N bytes)
 *   room    a number of bytes, or null (no buffer), or absent (no place for
 *           its size either)
 *
 * Every buffer has exactly its size on the heap, so that AddressSanitizer sees
 * the first byte beyond it. Whatever a line allocates lives until its end.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	unsigned long size;
};

struct room {
	uint8_t *data;
	unsigned long size;
	bool absent;
};

/* The next word of the line, NULL after the last. Exits when `must` and none.
 */
char *script_word(bool must);
unsigned long script_number(void);
struct bytes script_bytes(void);
struct room script_room(void);

/* The same from a part of a word. */
unsigned long parse_number(const char *text);
struct bytes parse_bytes(const char *text);
/* Cuts `text` at the next `separator` outside brackets and moves on; or NULL.
 */
char *parse_part(char **text, char separator);

void *script_allocate(size_t size);
/* " NAME=x0102", or " NAME=x5a*100" for many times the same byte. */
void script_print_bytes(const char *name, const uint8_t *data, size_t size);
/* Says what is wrong with the script and exits with status 64. */
_Noreturn void script_fail(const char *what, const char *word);

struct script_call {
	const char *name;
	/* Does the call and prints its answer without a newline. */
	void (*run)(void);
};

/*
 * Runs standard input; returns the exit status. Tables end with a row of
 * NULLs, the list of tables with NULL.
 */
int script_run(const struct script_call *const *tables);

#endif
