/* The command interface of the festore TA: secure-world/festore/README.md. */
#ifndef FESTORE_TA_H
#define FESTORE_TA_H

#define FESTORE_TA_UUID                                                \
	{                                                              \
		0xe08997b8, 0x799d, 0x42d8,                            \
		{                                                      \
			0xb4, 0xbc, 0x55, 0x80, 0x99, 0xed, 0x31, 0x4f \
		}                                                      \
	}

#define FESTORE_CMD_WRITE_OBJECT  0
#define FESTORE_CMD_READ_OBJECT	  1
#define FESTORE_CMD_DELETE_OBJECT 2
#define FESTORE_CMD_LIST_OBJECTS  3

#define FESTORE_MAX_TAG_BYTES	  64u
#define FESTORE_MAX_VALUE_BYTES	  (1024u * 1024)

#endif
