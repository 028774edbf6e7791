#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libteec.h"

#define LEVEL_ERROR 1
#define LEVEL_DEBUG 3

/* OTA_TEE_TRACE: 0 nothing, 1 errors (the default), 2 information, 3 debug. */
static bool is_traced(int level)
{
	const char *wanted = getenv("OTA_TEE_TRACE");

	if (getenv("OTA_TEE_QUIET"))
		return false;
	return level <= (wanted ? atoi(wanted) : LEVEL_ERROR);
}

void _dprintf(const char *function, int line, int level, const char *prefix,
	      const char *format, ...)
{
	char text[256];
	va_list arguments;

	if (!is_traced(level))
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	dprintf(STDERR_FILENO, "%s [%s:%d] %s", prefix, function, line, text);
}

void dump_buffer(const char *name, const uint8_t *buffer, size_t size)
{
	if (!is_traced(LEVEL_DEBUG))
		return;
	fprintf(stderr, "%s: %zu bytes\n", name, size);
	for (size_t i = 0; i < size; i++)
		fprintf(stderr, "%02x%c", buffer[i],
			i % 16 == 15 || i + 1 == size ? '\n' : ' ');
}
