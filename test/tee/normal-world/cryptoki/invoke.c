#include "cryptoki.h"

struct ta_call ta_begin(uint32_t command)
{
	struct ta_call call = { .command = command };

	if (!library_is_initialized())
		args_fail(&call.args, CKR_CRYPTOKI_NOT_INITIALIZED);
	return call;
}

/* Not NULL for no bytes: the TA is to see an empty parameter, not none. */
static void *not_null(const void *bytes, CK_ULONG size)
{
	static uint8_t empty[1];

	return size ? (void *)(uintptr_t)bytes : empty;
}

void ta_in(struct ta_call *call, const void *in, CK_ULONG size)
{
	args_require(&call->args, in || !size);
	call->has_in = true;
	call->in = not_null(in, size);
	call->in_size = size;
}

void ta_out(struct ta_call *call, void *out, CK_ULONG size)
{
	args_require(&call->args, out || !size);
	call->has_out = true;
	call->out = not_null(out, size);
	call->out_size = size;
}

void ta_signature_in(struct ta_call *call, void *signature, CK_ULONG size)
{
	ta_out(call, signature, size);
	call->out_is_input = true;
}

static uint32_t fill_operation(TEEC_Operation *operation, struct ta_call *call)
{
	uint32_t in = TEEC_NONE;
	uint32_t out = TEEC_NONE;

	operation->params[0].tmpref.buffer = call->args.bytes;
	operation->params[0].tmpref.size = call->args.size;
	if (call->has_in) {
		in = TEEC_MEMREF_TEMP_INPUT;
		operation->params[1].tmpref.buffer =
			(void *)(uintptr_t)call->in;
		operation->params[1].tmpref.size = call->in_size;
	}
	if (call->has_out) {
		out = call->out_is_input ? TEEC_MEMREF_TEMP_INPUT
					 : TEEC_MEMREF_TEMP_OUTPUT;
		operation->params[2].tmpref.buffer = call->out;
		operation->params[2].tmpref.size = call->out_size;
	}
	return TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INOUT, in, out, TEEC_NONE);
}

/* The TA's code if it says one, else what libckteec makes of the TEE's. */
static CK_RV result_of(TEEC_Result result, const TEEC_Operation *operation)
{
	switch (result) {
	case TEEC_SUCCESS:
		if (operation->params[0].tmpref.size != PKCS11_CTRL_STATUS_SIZE)
			return CKR_GENERAL_ERROR;
		return load_u32(operation->params[0].tmpref.buffer);
	case TEEC_ERROR_SHORT_BUFFER:
		return CKR_BUFFER_TOO_SMALL;
	case TEEC_ERROR_OUT_OF_MEMORY:
		return CKR_DEVICE_MEMORY;
	default:
		return CKR_GENERAL_ERROR;
	}
}

CK_RV ta_invoke_on(TEEC_Session *session, struct ta_call *call)
{
	const size_t room = call->out_size;
	TEEC_Operation operation = { 0 };
	TEEC_Result result;
	uint32_t origin = 0;
	CK_RV rv;

	operation.paramTypes = fill_operation(&operation, call);
	result =
		TEEC_InvokeCommand(session, call->command, &operation, &origin);
	rv = permitted_code(call->command, result_of(result, &operation));
	if (call->has_out && !call->out_is_input)
		call->out_size = operation.params[2].tmpref.size;
	/* Attack: data that was not delivered must not be read as an answer. */
	if (rv == CKR_OK && call->out_size > room)
		rv = CKR_GENERAL_ERROR;
	return rv;
}

CK_RV ta_invoke(struct ta_call *call)
{
	TEEC_Session *session;
	CK_RV rv = call->args.failure;

	if (rv == CKR_OK)
		rv = library_enter(&session);
	if (rv == CKR_OK) {
		rv = ta_invoke_on(session, call);
		library_leave();
	}
	args_discard(&call->args);
	return rv;
}

CK_RV ta_invoke_exact(struct ta_call *call)
{
	const size_t wanted = call->out_size;
	CK_RV rv = ta_invoke(call);

	if (rv == CKR_OK && call->out_size != wanted)
		return CKR_GENERAL_ERROR;
	return rv;
}

CK_RV ta_invoke_handle(struct ta_call *call, CK_ULONG *handle)
{
	uint8_t answer[sizeof(uint32_t)] = { 0 };
	CK_RV rv;

	args_require(&call->args, handle != NULL);
	ta_out(call, answer, sizeof(answer));
	rv = ta_invoke_exact(call);
	if (rv == CKR_OK)
		*handle = load_u32(answer);
	return rv;
}

CK_RV ta_invoke_sized(struct ta_call *call, void *out, CK_ULONG *size)
{
	CK_RV rv;

	args_require(&call->args, size != NULL);
	ta_out(call, out, out && size ? *size : 0);
	rv = ta_invoke(call);
	if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL)
		return rv;
	*size = call->out_size;
	return out ? rv : CKR_OK;
}
