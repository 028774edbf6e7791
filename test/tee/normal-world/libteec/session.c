#include "libteec.h"

/* One call to a TA, from the caller's operation to its result and origin. */
struct call {
	struct connection *connection;
	TEEC_Operation *operation;
	struct wire_operation wire;
	struct exchange exchange;
	uint32_t session;
	TEEC_Result result;
	uint32_t origin;
};

static bool call_begin(struct call *call, struct connection *connection,
		       enum wire_opcode opcode, TEEC_Operation *operation)
{
	*call = (struct call){
		.connection = connection,
		.operation = operation,
		.exchange = { .opcode = opcode, .operation = operation },
		.result = TEEC_ERROR_BAD_PARAMETERS,
		.origin = TEEC_ORIGIN_API,
	};
	if (!connection)
		return false;
	call->result = operation_to_wire(operation, &call->wire);
	if (call->result != TEEC_SUCCESS)
		return false;
	wire_begin(&call->exchange.request);
	return true;
}

static void call_dies(struct call *call)
{
	call->result = TEEC_ERROR_TARGET_DEAD;
	call->origin = TEEC_ORIGIN_COMMS;
}

/* A session has a number if, and only if, it was opened (../WIRE.md). */
static bool read_answer(struct call *call)
{
	struct wire_reader *r = &call->exchange.answer.payload;

	call->result = wire_read_u32(r);
	call->origin = wire_read_u32(r);
	if (call->exchange.opcode == WIRE_OPEN_SESSION) {
		call->session = wire_read_u32(r);
		if ((call->session != 0) != (call->result == TEEC_SUCCESS))
			return false;
	}
	wire_read_operation(r, &call->wire);
	return wire_finished(r);
}

static TEEC_Result call_end(struct call *call, uint32_t *return_origin)
{
	if (return_origin)
		*return_origin = call->origin;
	return call->result;
}

static void call_perform(struct call *call)
{
	struct exchange *x = &call->exchange;

	wire_operation(&x->request, &call->wire);
	if (x->request.failed) {
		wire_discard(&x->request);
		call->result = TEEC_ERROR_OUT_OF_MEMORY;
		return;
	}
	x->answer_max =
		(size_t)wire_answer_bound(&call->wire) + 3 * sizeof(uint32_t);
	call->result = connection_exchange(call->connection, x);
	if (call->result == TEEC_ERROR_TARGET_DEAD)
		call_dies(call);
	if (call->result != TEEC_SUCCESS)
		return;
	if (read_answer(call)) {
		operation_from_wire(call->operation, &call->wire);
	} else {
		connection_kill(call->connection);
		call_dies(call);
	}
	wire_release(&x->answer);
}

/* RFC 4122 byte order: the three numbers big-endian. */
static void write_uuid(struct wire_writer *w, const TEEC_UUID *uuid)
{
	const uint8_t head[8] = {
		(uint8_t)(uuid->timeLow >> 24),
		(uint8_t)(uuid->timeLow >> 16),
		(uint8_t)(uuid->timeLow >> 8),
		(uint8_t)uuid->timeLow,
		(uint8_t)(uuid->timeMid >> 8),
		(uint8_t)uuid->timeMid,
		(uint8_t)(uuid->timeHiAndVersion >> 8),
		(uint8_t)uuid->timeHiAndVersion,
	};

	wire_bytes(w, head, sizeof(head));
	wire_bytes(w, uuid->clockSeqAndNode, sizeof(uuid->clockSeqAndNode));
}

TEEC_Result TEEC_OpenSession(TEEC_Context *context, TEEC_Session *session,
			     const TEEC_UUID *destination,
			     uint32_t connectionMethod,
			     const void *connectionData,
			     TEEC_Operation *operation, uint32_t *returnOrigin)
{
	struct connection *connection = context_connection(context);
	uint32_t gid = 0;
	struct call call;

	/* A session that was not opened must lead nowhere. */
	if (session)
		*session = (TEEC_Session){ 0 };
	if (!session || !destination)
		connection = NULL;
	if (!call_begin(&call, connection, WIRE_OPEN_SESSION, operation))
		return call_end(&call, returnOrigin);
	call.result = login_check(connectionMethod, connectionData, &gid,
				  &call.origin);
	if (call.result != TEEC_SUCCESS) {
		wire_discard(&call.exchange.request);
		return call_end(&call, returnOrigin);
	}
	write_uuid(&call.exchange.request, destination);
	wire_u32(&call.exchange.request, connectionMethod);
	wire_u32(&call.exchange.request, gid);
	call_perform(&call);
	if (call.result == TEEC_SUCCESS) {
		TEEC_IMP(session).connection = connection;
		TEEC_IMP(session).number = call.session;
	}
	return call_end(&call, returnOrigin);
}

void TEEC_CloseSession(TEEC_Session *session)
{
	struct exchange x = {
		.opcode = WIRE_CLOSE_SESSION,
		.answer_max = sizeof(TEEC_Result),
	};

	if (!session || !TEEC_IMP(session).connection)
		return;
	wire_begin(&x.request);
	wire_u32(&x.request, TEEC_IMP(session).number);
	if (connection_exchange(TEEC_IMP(session).connection, &x) ==
	    TEEC_SUCCESS) {
		wire_read_u32(&x.answer.payload);
		if (!wire_finished(&x.answer.payload))
			connection_kill(TEEC_IMP(session).connection);
		wire_release(&x.answer);
	}
	*session = (TEEC_Session){ 0 };
}

TEEC_Result TEEC_InvokeCommand(TEEC_Session *session, uint32_t commandID,
			       TEEC_Operation *operation,
			       uint32_t *returnOrigin)
{
	struct connection *connection = session ? TEEC_IMP(session).connection
						: NULL;
	struct call call;

	if (!call_begin(&call, connection, WIRE_INVOKE, operation))
		return call_end(&call, returnOrigin);
	wire_u32(&call.exchange.request, TEEC_IMP(session).number);
	wire_u32(&call.exchange.request, commandID);
	call_perform(&call);
	return call_end(&call, returnOrigin);
}

void TEEC_RequestCancellation(TEEC_Operation *operation)
{
	if (operation)
		connection_cancel(operation);
}
