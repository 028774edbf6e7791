/* Threads, processes and signals around the TEE Client API. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "teec.h"

struct cancellable {
	TEEC_Session *session;
	TEEC_Operation operation;
	pthread_t thread;
	atomic_uint result;
};

#define NOT_ENDED 1u

static void *invoke_cancellable(void *argument)
{
	struct cancellable *c = argument;

	atomic_store(&c->result,
		     TEEC_InvokeCommand(c->session, 9, &c->operation, NULL));
	return NULL;
}

static void start(struct cancellable *c, TEEC_Session *session)
{
	c->session = session;
	atomic_store(&c->result, NOT_ENDED);
	if (pthread_create(&c->thread, NULL, invoke_cancellable, c))
		script_fail("cannot make a thread", NULL);
	while (!__atomic_load_n(&c->operation.started, __ATOMIC_ACQUIRE))
		sched_yield();
}

/*
 * cancel SESSION: command 9 twice in threads. The second waits for the first
 * and is cancelled before it is sent; then the first is cancelled.
 */
static void cancel(void)
{
	const unsigned long session = slot_number();
	struct cancellable first = { 0 };
	struct cancellable second = { 0 };

	start(&first, &sessions[session]);
	start(&second, &sessions[session]);
	TEEC_RequestCancellation(&second.operation);
	TEEC_RequestCancellation(&second.operation);
	TEEC_RequestCancellation(&first.operation);
	TEEC_RequestCancellation(&first.operation);
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	TEEC_RequestCancellation(&first.operation);
	printf("0x%08x 0x%08x", atomic_load(&first.result),
	       atomic_load(&second.result));
}

/*
 * cancel_before SESSION: an operation that is cancelled before it begins; the
 * same again as it was left; and once more with `started` set to 0.
 */
static void cancel_before(void)
{
	const unsigned long session = slot_number();
	TEEC_Operation operation = { 0 };
	uint32_t origin = 0;

	TEEC_RequestCancellation(&operation);
	TEEC_RequestCancellation(&operation);
	printf("0x%08x ",
	       TEEC_InvokeCommand(&sessions[session], 9, &operation, &origin));
	printf("origin=%u ", origin);
	TEEC_RequestCancellation(&operation);
	printf("0x%08x ",
	       TEEC_InvokeCommand(&sessions[session], 9, &operation, NULL));
	operation.started = 0;
	printf("0x%08x",
	       TEEC_InvokeCommand(&sessions[session], 9, &operation, NULL));
}

static atomic_ulong thread_failures;

/* Each thread sends a number of its own and wants it back. */
static void *echo_numbers(void *argument)
{
	const uint32_t thread = (uint32_t)(uintptr_t)argument;

	for (uint32_t i = 0; i < 200; i++) {
		TEEC_Operation operation = {
			.paramTypes =
				TEEC_PARAM_TYPES(TEEC_VALUE_INOUT, 0, 0, 0),
		};

		operation.params[0].value.a = thread;
		operation.params[0].value.b = i;
		if (TEEC_InvokeCommand(&sessions[thread % 2], 5, &operation,
				       NULL) != TEEC_SUCCESS ||
		    operation.params[0].value.a != i ||
		    operation.params[0].value.b != thread)
			atomic_fetch_add(&thread_failures, 1);
	}
	return NULL;
}

/* threads N: on sessions 0 and 1; the world swaps the two values */
static void threads(void)
{
	const unsigned long count = script_number();
	pthread_t *ids = script_allocate(count * sizeof(*ids));

	for (unsigned long i = 0; i < count; i++)
		if (pthread_create(&ids[i], NULL, echo_numbers,
				   (void *)(uintptr_t)i))
			script_fail("cannot make a thread", NULL);
	for (unsigned long i = 0; i < count; i++)
		pthread_join(ids[i], NULL);
	printf("failures=%lu", atomic_load(&thread_failures));
}

/* inherited: how many descriptors a program that is executed would get */
static void inherited(void)
{
	unsigned int count = 0;

	for (int fd = STDERR_FILENO + 1; fd < 256; fd++) {
		const int flags = fcntl(fd, F_GETFD);

		count += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	printf("%u", count);
}

static unsigned int count_sockets(void)
{
	unsigned int count = 0;
	struct stat status;

	for (int fd = STDERR_FILENO + 1; fd < 256; fd++)
		count += fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
	return count;
}

/*
 * fork SESSION [bare]: the child tells what it inherited and gets, then makes
 * a context itself. A bare fork tells no handler.
 */
static void fork_child(void)
{
	const unsigned long session = slot_number();
	const bool is_bare = script_word(false) != NULL;
	uint32_t origin = 0;
	TEEC_Result result;
	pid_t child;
	int status;

	fflush(stdout);
	child = is_bare ? _Fork() : fork();
	if (child < 0)
		script_fail("cannot fork", NULL);
	if (child == 0) {
		result = TEEC_InvokeCommand(&sessions[session], 1, NULL,
					    &origin);
		printf("sockets=%u 0x%08x origin=%u ", count_sockets(), result,
		       origin);
		TEEC_CloseSession(&sessions[session]);
		TEEC_FinalizeContext(&contexts[0]);
		printf("0x%08x ", TEEC_InitializeContext(NULL, &contexts[0]));
		TEEC_FinalizeContext(&contexts[0]);
		fflush(stdout);
		/* What the parent's other threads had in hand is nobody's. */
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("status=%d", status);
}

static atomic_ulong alarms_seen;

static void count_alarm(int signal)
{
	(void)signal;
	atomic_fetch_add(&alarms_seen, 1);
}

/* alarms: from here on, a signal each millisecond, which restarts no call */
static void alarms(void)
{
	const struct itimerval millisecond = { { 0, 1000 }, { 0, 1000 } };
	struct sigaction action = { .sa_handler = count_alarm };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &millisecond, NULL);
	printf("done");
}

static void count_alarms(void)
{
	const struct itimerval never = { 0 };

	setitimer(ITIMER_REAL, &never, NULL);
	printf(atomic_load(&alarms_seen) ? "some" : "none");
}

const struct script_call process_calls[] = {
	{ "cancel", cancel },
	{ "cancel_before", cancel_before },
	{ "threads", threads },
	{ "fork", fork_child },
	{ "inherited", inherited },
	{ "alarms", alarms },
	{ "count_alarms", count_alarms },
	{ NULL, NULL },
};
