/*
 * Runs a fuzz target without libFuzzer, where there is only gcc: the corpus
 * first, then changed copies of it, the same ones for the same seed.
 *
 *   PROGRAM SEED INPUTS FAILED-INPUT CORPUS-FILE...
 *
 * When a sanitizer ends it, or an input takes too long, that input is in the
 * file FAILED-INPUT. With INPUTS 0 it replays the corpus files.
 */
#include <assert.h>
#include <fcntl.h>
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define MAX_INPUT      4096u
#define MAX_CORPUS     512u
#define HANG_SECONDS   20u
#define INPUTS_A_CHECK 1024u

struct input {
	uint8_t bytes[MAX_INPUT];
	size_t size;
};

static struct input corpus[MAX_CORPUS];
static size_t corpus_size;
static struct input current;
static const char *failed_path;
static uint64_t state;

/* xorshift64*: Marsaglia's, with Vigna's multiplier. */
static uint32_t random_u32(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 32);
}

static size_t below(size_t limit)
{
	return limit ? random_u32() % limit : 0;
}

static void save_failed(void)
{
	const int fd = open(failed_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 ||
	    write(fd, current.bytes, current.size) != (ssize_t)current.size)
		_exit(3);
	close(fd);
}

static void on_signal(int number)
{
	static const char text[] = "the input failed or took too long\n";

	save_failed();
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(3);
	_exit(128 + number);
}

static void read_corpus(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file || corpus_size == MAX_CORPUS) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	corpus[corpus_size].size =
		fread(corpus[corpus_size].bytes, 1, MAX_INPUT, file);
	corpus_size++;
	fclose(file);
}

static void change_one(struct input *input)
{
	static const uint8_t edges[] = { 0, 1, 4, 8, 127, 128, 254, 255 };
	const size_t at = below(input->size + 1);

	switch (below(5)) {
	case 0:
		if (at < input->size)
			input->bytes[at] ^= (uint8_t)(1u << below(8));
		break;
	case 1:
		if (at < input->size)
			input->bytes[at] = edges[below(sizeof(edges))];
		break;
	case 2:
		if (at < input->size)
			input->bytes[at] = (uint8_t)random_u32();
		break;
	case 3:
		if (input->size < MAX_INPUT) {
			memmove(input->bytes + at + 1, input->bytes + at,
				input->size - at);
			input->bytes[at] = edges[below(sizeof(edges))];
			input->size++;
		}
		break;
	default:
		if (at < input->size) {
			const size_t gone = 1 + below(input->size - at);

			memmove(input->bytes + at, input->bytes + at + gone,
				input->size - at - gone);
			input->size -= gone;
		}
		break;
	}
}

static void run_current(void)
{
	/* On the heap and no longer than it is: reading on is an error. */
	uint8_t *exact = malloc(current.size + !current.size);

	assert(exact);
	memcpy(exact, current.bytes, current.size);
	LLVMFuzzerTestOneInput(exact, current.size);
	free(exact);
}

static void run_changed(unsigned long inputs)
{
	size_t changes;

	for (unsigned long i = 0; i < inputs; i++) {
		if (i % INPUTS_A_CHECK == 0)
			alarm(HANG_SECONDS);
		current = corpus[below(corpus_size)];
		for (changes = 1 + below(8); changes > 0; changes--)
			change_one(&current);
		run_current();
	}
}

int main(int argc, char **argv)
{
	unsigned long inputs;

	if (argc < 5) {
		fprintf(stderr,
			"usage: %s SEED INPUTS FAILED-INPUT CORPUS...\n",
			argv[0]);
		return 2;
	}
	state = strtoull(argv[1], NULL, 10) * 2 + 1;
	inputs = strtoul(argv[2], NULL, 10);
	failed_path = argv[3];
	for (int i = 4; i < argc; i++)
		read_corpus(argv[i]);
	signal(SIGALRM, on_signal);
	signal(SIGABRT, on_signal);
	__sanitizer_set_death_callback(save_failed);
	alarm(HANG_SECONDS);
	for (size_t i = 0; i < corpus_size; i++) {
		current = corpus[i];
		run_current();
	}
	run_changed(inputs);
	printf("%lu inputs\n", inputs + corpus_size);
	return 0;
}
