/* ctlmsg.h - the messages between master and children, and between the gwrun
 * command and the master: one JSON object a line, always with "type".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_CTLMSG_H
#define GW_WIRE_CTLMSG_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define CTLMSG_MAX_LEN (16 << 20) /* bytes of a line */

/* Parse one line without its end. A new object whose "type" is a string (the
 * caller ends it with json_decref()), or NULL. */
json_t *ctlmsg_parse(const void *line, size_t len);

/* The "type" of a parsed message; borrowed from it. */
const char *ctlmsg_type(const json_t *m);

/* A string or integer field, or the default when absent or of another type. */
const char *ctlmsg_string(const json_t *m, const char *key, const char *def);
int64_t ctlmsg_int(const json_t *m, const char *key, int64_t def);

/* Text of any bytes (an error of a script, a uid) as a JSON string: what is not
 * UTF-8 loses its non-ASCII bytes to "?". A new object, never NULL. */
json_t *ctlmsg_text(const char *text);

/* Append m as a line and give up the caller's reference to it. */
void ctlmsg_put(struct buf *out, json_t *m);

#endif /* GW_WIRE_CTLMSG_H */
