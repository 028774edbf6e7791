#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALLOCATIONS_MAX 512

static char *rest;
static void *allocations[ALLOCATIONS_MAX];
static size_t allocated;

void script_fail(const char *what, const char *word)
{
	fprintf(stderr, "%s: %s\n", what, word ? word : "(end of line)");
	exit(64);
}

void *script_allocate(size_t size)
{
	void *memory;

	if (allocated == ALLOCATIONS_MAX)
		script_fail("too many values in one line", NULL);
	memory = malloc(size);
	if (!memory)
		script_fail("out of memory", NULL);
	/* Not zero: a call that forgets to fill a buffer is seen. */
	memset(memory, 0xa5, size);
	allocations[allocated++] = memory;
	return memory;
}

static void free_all(void)
{
	while (allocated)
		free(allocations[--allocated]);
}

char *script_word(bool must)
{
	char *word = strtok_r(rest, " \n", &rest);

	if (must && !word)
		script_fail("a word is missing", NULL);
	return word;
}

unsigned long parse_number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (end == text || *end)
		script_fail("not a number", text);
	return value;
}

static uint8_t nibble(char digit, const char *word)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = strchr(digits, digit);

	if (!digit || !at)
		script_fail("not hexadecimal", word);
	return (uint8_t)(at - digits);
}

struct bytes parse_bytes(const char *text)
{
	struct bytes bytes = { 0 };

	if (strncmp(text, "null", 4) == 0) {
		if (text[4] == '*')
			bytes.size = parse_number(text + 5);
		return bytes;
	}
	if (*text != 'x' || strlen(text) % 2 != 1)
		script_fail("not bytes", text);
	bytes.size = strlen(text) / 2;
	bytes.data = script_allocate(bytes.size);
	for (unsigned long i = 0; i < bytes.size; i++)
		bytes.data[i] = (uint8_t)(nibble(text[1 + 2 * i], text) << 4 |
					  nibble(text[2 + 2 * i], text));
	return bytes;
}

char *parse_part(char **text, char separator)
{
	char *start = *text;
	int depth = 0;
	char *at;

	if (!start)
		return NULL;
	for (at = start; *at && (depth || *at != separator); at++)
		depth += (*at == '[') - (*at == ']');
	*text = *at ? at + 1 : NULL;
	*at = '\0';
	return start;
}

unsigned long script_number(void)
{
	return parse_number(script_word(true));
}

struct bytes script_bytes(void)
{
	return parse_bytes(script_word(true));
}

struct room script_room(void)
{
	const char *word = script_word(true);
	struct room room = { 0 };

	if (strcmp(word, "absent") == 0) {
		room.absent = true;
	} else if (strcmp(word, "null") != 0) {
		room.size = parse_number(word);
		room.data = script_allocate(room.size);
	}
	return room;
}

static bool is_uniform(const uint8_t *data, size_t size)
{
	for (size_t i = 1; i < size; i++)
		if (data[i] != data[0])
			return false;
	return true;
}

void script_print_bytes(const char *name, const uint8_t *data, size_t size)
{
	printf(" %s=x", name);
	if (size > 64 && is_uniform(data, size)) {
		printf("%02x*%zu", data[0], size);
		return;
	}
	for (size_t i = 0; i < size; i++)
		printf("%02x", data[i]);
}

static const struct script_call *
find_call(const struct script_call *const *tables, const char *name)
{
	for (; *tables; tables++)
		for (const struct script_call *c = *tables; c->name; c++)
			if (strcmp(c->name, name) == 0)
				return c;
	script_fail("no such call", name);
}

int script_run(const struct script_call *const *tables)
{
	char *line = NULL;
	size_t size = 0;
	char *name;

	while (getline(&line, &size, stdin) >= 0) {
		rest = line;
		name = script_word(false);
		if (!name)
			continue;
		find_call(tables, name)->run();
		printf("\n");
		fflush(stdout);
		free_all();
	}
	free(line);
	return 0;
}
