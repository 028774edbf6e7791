/*
 * How long calls of PKCS#11 modules take, in turns: what slows the machine
 * down slows all of them down.
 *
 *   token-bench MILLISECONDS MODULE...
 *
 * Every module has a blank token in its first slot. Prints, for each workload
 * and each module that has its mechanism, one line of five fields between
 * tabs: workload, place of the module among the arguments, p50 and p99 in
 * nanoseconds, operations per second.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pkcs11.h"

#define MODULES_MAX 4
/* A slice is long enough to get warm and short beside the machine's moods. */
#define SLICES	    10
#define WARM_UP	    3
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

struct token {
	CK_FUNCTION_LIST *p11;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE ec_session_key;
	CK_OBJECT_HANDLE ec_token_key;
	CK_OBJECT_HANDLE rsa_key;
	CK_OBJECT_HANDLE aes_key;
	/* What the last run made and is to be destroyed off the clock. */
	CK_OBJECT_HANDLE made[2];
};

struct samples {
	uint64_t *ns;
	size_t count;
	size_t capacity;
};

static CK_BBOOL yes = 1;
static CK_BBOOL no = 0;
static CK_UTF8CHAR so_pin[] = "12345678";
static CK_UTF8CHAR user_pin[] = "87654321";
static CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48,
			  0xce, 0x3d, 0x03, 0x01, 0x07 };
static CK_BYTE digest[32] = "a digest is as good as any other";
static CK_BYTE page[4096];
static CK_BYTE answer[sizeof(page) + 16];

static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("token-bench: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

static void check(CK_RV rv, const char *what)
{
	if (rv != CKR_OK)
		fail("%s answers 0x%lx", what, rv);
}

static CK_RV sign(struct token *t, CK_MECHANISM *mechanism,
		  CK_OBJECT_HANDLE key)
{
	CK_ULONG size = sizeof(answer);
	CK_RV rv = t->p11->C_SignInit(t->session, mechanism, key);

	if (rv != CKR_OK)
		return rv;
	return t->p11->C_Sign(t->session, digest, sizeof(digest), answer,
			      &size);
}

static CK_RV call(struct token *t)
{
	CK_SESSION_INFO info;

	return t->p11->C_GetSessionInfo(t->session, &info);
}

static CK_RV ecdsa_session(struct token *t)
{
	CK_MECHANISM mechanism = { CKM_ECDSA, NULL, 0 };

	return sign(t, &mechanism, t->ec_session_key);
}

static CK_RV ecdsa_token(struct token *t)
{
	CK_MECHANISM mechanism = { CKM_ECDSA, NULL, 0 };

	return sign(t, &mechanism, t->ec_token_key);
}

static CK_RV ecdsa_sha256(struct token *t)
{
	CK_MECHANISM mechanism = { CKM_ECDSA_SHA256, NULL, 0 };

	return sign(t, &mechanism, t->ec_token_key);
}

static CK_RV rsa_pkcs(struct token *t)
{
	CK_MECHANISM mechanism = { CKM_RSA_PKCS, NULL, 0 };

	return sign(t, &mechanism, t->rsa_key);
}

static CK_RV rsa_pss(struct token *t)
{
	CK_RSA_PKCS_PSS_PARAMS pss = { CKM_SHA256, CKG_MGF1_SHA256, 32 };
	CK_MECHANISM mechanism = { CKM_RSA_PKCS_PSS, &pss, sizeof(pss) };

	return sign(t, &mechanism, t->rsa_key);
}

static CK_RV aes_gcm(struct token *t)
{
	CK_BYTE vector[12] = { 0 };
	CK_GCM_PARAMS gcm = { .pIv = vector,
			      .ulIvLen = sizeof(vector),
			      .ulIvBits = 8 * sizeof(vector),
			      .ulTagBits = 128 };
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_ULONG size = sizeof(answer);
	CK_RV rv = t->p11->C_EncryptInit(t->session, &mechanism, t->aes_key);

	if (rv != CKR_OK)
		return rv;
	return t->p11->C_Encrypt(t->session, page, sizeof(page), answer, &size);
}

static CK_RV make_pair(struct token *t, CK_MECHANISM_TYPE type,
		       CK_ATTRIBUTE kind, CK_BBOOL *on_token)
{
	CK_MECHANISM mechanism = { type, NULL, 0 };
	CK_ATTRIBUTE public_template[] = {
		kind,
		{ CKA_TOKEN, on_token, sizeof(*on_token) },
		{ CKA_PRIVATE, &no, sizeof(no) },
		{ CKA_VERIFY, &yes, sizeof(yes) },
	};
	CK_ATTRIBUTE private_template[] = {
		{ CKA_TOKEN, on_token, sizeof(*on_token) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_SIGN, &yes, sizeof(yes) },
	};

	return t->p11->C_GenerateKeyPair(
		t->session, &mechanism, public_template, COUNT(public_template),
		private_template, COUNT(private_template), &t->made[0],
		&t->made[1]);
}

static CK_RV make_ec_pair(struct token *t, CK_BBOOL *on_token)
{
	CK_ATTRIBUTE kind = { CKA_EC_PARAMS, p256, sizeof(p256) };

	return make_pair(t, CKM_EC_KEY_PAIR_GEN, kind, on_token);
}

static CK_RV ec_pair_session(struct token *t)
{
	return make_ec_pair(t, &no);
}

static CK_RV ec_pair_token(struct token *t)
{
	return make_ec_pair(t, &yes);
}

static CK_RV make_rsa_pair(struct token *t, CK_BBOOL *on_token)
{
	CK_ULONG bits = 2048;
	CK_ATTRIBUTE kind = { CKA_MODULUS_BITS, &bits, sizeof(bits) };

	return make_pair(t, CKM_RSA_PKCS_KEY_PAIR_GEN, kind, on_token);
}

static CK_RV rsa_pair_session(struct token *t)
{
	return make_rsa_pair(t, &no);
}

static CK_RV find(struct token *t)
{
	CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
	CK_KEY_TYPE rsa = CKK_RSA;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &private_key, sizeof(private_key) },
		{ CKA_KEY_TYPE, &rsa, sizeof(rsa) },
	};
	CK_OBJECT_HANDLE found[4];
	CK_ULONG count = 0;
	CK_RV rv = t->p11->C_FindObjectsInit(t->session, template,
					     COUNT(template));

	if (rv == CKR_OK)
		rv = t->p11->C_FindObjects(t->session, found, COUNT(found),
					   &count);
	if (rv == CKR_OK)
		rv = t->p11->C_FindObjectsFinal(t->session);
	if (rv == CKR_OK && count != 1)
		fail("a search for one key finds %lu", count);
	return rv;
}

static const struct workload {
	const char *name;
	CK_RV (*run)(struct token *t);
} workloads[] = {
	{ "one call", call },
	{ "ECDSA P-256, session key", ecdsa_session },
	{ "ECDSA P-256, token key", ecdsa_token },
	{ "ECDSA_SHA256 P-256", ecdsa_sha256 },
	{ "RSA-2048 PKCS#1", rsa_pkcs },
	{ "RSA-2048 PSS", rsa_pss },
	{ "AES-256-GCM, 4 KiB", aes_gcm },
	{ "find one object", find },
	{ "EC pair, session objects", ec_pair_session },
	{ "EC pair, token objects", ec_pair_token },
	{ "RSA-2048 pair, session objects", rsa_pair_session },
};

/* With `label` NULL, the first slot whose token is blank. */
static CK_SLOT_ID slot_of(CK_FUNCTION_LIST *p11, const CK_UTF8CHAR *label)
{
	CK_SLOT_ID slots[16];
	CK_ULONG count = COUNT(slots);

	check(p11->C_GetSlotList(1, slots, &count), "C_GetSlotList");
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;
		bool is_blank;

		check(p11->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
		is_blank = (info.flags & CKF_TOKEN_INITIALIZED) == 0;
		if (label ? memcmp(info.label, label, sizeof(info.label)) == 0
			  : is_blank)
			return slots[i];
	}
	fail("no slot has %s", label ? "the token just made" : "a blank token");
	return 0;
}

/* SoftHSM2 gives a token that was initialized another slot. */
static CK_SESSION_HANDLE log_in(CK_FUNCTION_LIST *p11, int module)
{
	const CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
	CK_UTF8CHAR label[32];
	CK_SESSION_HANDLE session;

	memset(label, ' ', sizeof(label));
	label[0] = (CK_UTF8CHAR)('0' + module);
	check(p11->C_InitToken(slot_of(p11, NULL), so_pin, sizeof(so_pin) - 1,
			       label),
	      "C_InitToken");
	check(p11->C_OpenSession(slot_of(p11, label), flags, NULL, NULL,
				 &session),
	      "C_OpenSession");
	check(p11->C_Login(session, CKU_SO, so_pin, sizeof(so_pin) - 1),
	      "C_Login of the SO");
	check(p11->C_InitPIN(session, user_pin, sizeof(user_pin) - 1),
	      "C_InitPIN");
	check(p11->C_Logout(session), "C_Logout");
	check(p11->C_Login(session, CKU_USER, user_pin, sizeof(user_pin) - 1),
	      "C_Login of the user");
	return session;
}

static CK_OBJECT_HANDLE make_aes_key(struct token *t)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG size = 32;
	CK_ATTRIBUTE template[] = {
		{ CKA_VALUE_LEN, &size, sizeof(size) },
		{ CKA_ENCRYPT, &yes, sizeof(yes) },
	};
	CK_OBJECT_HANDLE key;

	check(t->p11->C_GenerateKey(t->session, &mechanism, template,
				    COUNT(template), &key),
	      "C_GenerateKey");
	return key;
}

static void open_token(struct token *t, const char *path, int module)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	CK_RV (*list)(CK_FUNCTION_LIST_PTR_PTR);
	void *symbol;

	if (!library)
		fail("%s", dlerror());
	symbol = dlsym(library, "C_GetFunctionList");
	if (!symbol)
		fail("%s is no PKCS#11 module", path);
	memcpy(&list, &symbol, sizeof(list));
	check(list(&t->p11), "C_GetFunctionList");
	check(t->p11->C_Initialize(NULL), "C_Initialize");
	t->session = log_in(t->p11, module);
	check(ec_pair_session(t), "making an EC pair");
	t->ec_session_key = t->made[1];
	check(ec_pair_token(t), "making an EC pair on the token");
	t->ec_token_key = t->made[1];
	check(make_rsa_pair(t, &yes), "making an RSA pair on the token");
	t->rsa_key = t->made[1];
	t->aes_key = make_aes_key(t);
	memset(t->made, 0, sizeof(t->made));
}

static void destroy_made(struct token *t)
{
	for (size_t i = 0; i < COUNT(t->made); i++)
		if (t->made[i])
			check(t->p11->C_DestroyObject(t->session, t->made[i]),
			      "C_DestroyObject");
	memset(t->made, 0, sizeof(t->made));
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void add_sample(struct samples *s, uint64_t ns)
{
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 1024;
		s->ns = realloc(s->ns, s->capacity * sizeof(*s->ns));
		if (!s->ns)
			fail("out of memory");
	}
	s->ns[s->count++] = ns;
}

/* Takes no samples of a module that does not have the mechanism. */
static void run_slice(struct token *t, const struct workload *w,
		      uint64_t slice_ns, struct samples *s)
{
	uint64_t spent_ns = 0;

	for (unsigned int turn = 0; spent_ns < slice_ns; turn++) {
		const uint64_t start_ns = now_ns();
		const CK_RV rv = w->run(t);
		const uint64_t ns = now_ns() - start_ns;

		destroy_made(t);
		if (rv == CKR_MECHANISM_INVALID)
			return;
		check(rv, w->name);
		spent_ns += ns;
		if (turn >= WARM_UP || spent_ns >= slice_ns)
			add_sample(s, ns);
	}
}

static int by_size(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(const char *name, int module, struct samples *s)
{
	uint64_t sum_ns = 0;

	if (!s->count)
		return;
	for (size_t i = 0; i < s->count; i++)
		sum_ns += s->ns[i];
	qsort(s->ns, s->count, sizeof(*s->ns), by_size);
	printf("%s\t%d\t%llu\t%llu\t%.1f\n", name, module,
	       (unsigned long long)s->ns[s->count / 2],
	       (unsigned long long)s->ns[(s->count - 1) * 99 / 100],
	       (double)s->count * 1e9 / (double)sum_ns);
	fflush(stdout);
	free(s->ns);
}

int main(int argc, char **argv)
{
	struct token tokens[MODULES_MAX] = { 0 };
	const int modules = argc - 2;
	uint64_t slice_ns;

	if (modules < 1 || modules > MODULES_MAX || atoi(argv[1]) < 1)
		fail("usage: token-bench MILLISECONDS MODULE...");
	slice_ns = (uint64_t)atoi(argv[1]) * 1000000u / SLICES;
	for (int i = 0; i < modules; i++)
		open_token(&tokens[i], argv[i + 2], i);
	for (size_t w = 0; w < COUNT(workloads); w++) {
		struct samples samples[MODULES_MAX] = { 0 };

		for (int turn = 0; turn < SLICES * modules; turn++) {
			const int i = turn % modules;

			run_slice(&tokens[i], &workloads[w], slice_ns,
				  &samples[i]);
		}
		for (int i = 0; i < modules; i++)
			report(workloads[w].name, i, &samples[i]);
	}
	for (int i = 0; i < modules; i++)
		tokens[i].p11->C_Finalize(NULL);
	return 0;
}
