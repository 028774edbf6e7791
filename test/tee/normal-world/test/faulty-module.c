/*
 * A PKCS#11 library that goes wrong at one call, and else is another one.
 *
 *   FAULTY_MODULE   the library that it otherwise is
 *   FAULTY_CALL     which call goes wrong, such as C_Sign, or "load"
 *   FAULTY_HOW      crash, hang, exit, or a return value such as 0x32
 *   FAULTY_AFTER    how many of those calls go well before (default: none)
 *
 * With FAULTY_FILE set, it goes wrong only while that file exists. With
 * FAULTY_HUNG set, it makes that file before it hangs.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkcs11.h"

static CK_FUNCTION_LIST faulty;
static CK_FUNCTION_LIST *real;
static atomic_ulong calls;

static unsigned long number(const char *name)
{
	const char *text = getenv(name);

	return text == NULL ? 0 : strtoul(text, NULL, 0);
}

static void hang(void)
{
	const char *told = getenv("FAULTY_HUNG");

	if (told != NULL)
		close(open(told, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	for (;;)
		pause();
}

/* Returns nonzero, and what to return, if this call is to fail. */
static int goes_wrong(CK_RV *rv)
{
	const char *how = getenv("FAULTY_HOW");
	const char *file = getenv("FAULTY_FILE");

	if (how == NULL || (file != NULL && access(file, F_OK) != 0))
		return 0;
	if (atomic_fetch_add(&calls, 1) < number("FAULTY_AFTER"))
		return 0;
	if (strcmp(how, "crash") == 0)
		*(volatile int *)NULL = 0;
	if (strcmp(how, "exit") == 0)
		_exit(7);
	if (strcmp(how, "hang") == 0)
		hang();
	*rv = number("FAULTY_HOW");
	return 1;
}

static CK_RV initialize(void *arguments)
{
	CK_RV rv;

	return goes_wrong(&rv) ? rv : real->C_Initialize(arguments);
}

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
	CK_RV rv;

	return goes_wrong(&rv) ? rv
			       : real->C_GetSlotList(present, slots, count);
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user,
		   CK_UTF8CHAR *pin, CK_ULONG bytes)
{
	CK_RV rv;

	return goes_wrong(&rv) ? rv : real->C_Login(session, user, pin, bytes);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_OBJECT_HANDLE key)
{
	CK_RV rv;

	return goes_wrong(&rv) ? rv : real->C_SignInit(session, mechanism, key);
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG bytes,
		  CK_BYTE *signature, CK_ULONG *signature_bytes)
{
	CK_RV rv;

	return goes_wrong(&rv) ? rv
			       : real->C_Sign(session, data, bytes, signature,
					      signature_bytes);
}

static void spoil(const char *call)
{
	if (strcmp(call, "C_Initialize") == 0)
		faulty.C_Initialize = initialize;
	else if (strcmp(call, "C_GetSlotList") == 0)
		faulty.C_GetSlotList = get_slot_list;
	else if (strcmp(call, "C_Login") == 0)
		faulty.C_Login = login;
	else if (strcmp(call, "C_SignInit") == 0)
		faulty.C_SignInit = sign_init;
	else if (strcmp(call, "C_Sign") == 0)
		faulty.C_Sign = sign;
}

__attribute__((visibility("default"))) CK_RV
C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	CK_RV (*get)(CK_FUNCTION_LIST **);
	const char *call = getenv("FAULTY_CALL");
	const char *path = getenv("FAULTY_MODULE");
	void *library = path == NULL ? NULL
				     : dlopen(path, RTLD_NOW | RTLD_LOCAL);
	CK_RV rv;

	if (library == NULL) {
		fprintf(stderr, "faulty-module: %s\n",
			path == NULL ? "no FAULTY_MODULE" : dlerror());
		return CKR_GENERAL_ERROR;
	}
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	rv = get(&real);
	if (rv != CKR_OK)
		return rv;
	faulty = *real;
	if (call != NULL && strcmp(call, "load") == 0 && goes_wrong(&rv))
		return rv;
	if (call != NULL)
		spoil(call);
	*list = &faulty;
	return CKR_OK;
}
