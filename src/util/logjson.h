/* logjson.h - lines of the log as JSON objects.
 *
 *   {"time":"2026-01-05T10:12:03.481+01:00","pid":4121,"process":"gateway/0",
 *    "level":"warn","source":"router","message":"no worker for client,
 * closing", "fields":{"client":"7f00000119640000002a","cmd":"on_connect"}}
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_LOGJSON_H
#define GW_UTIL_LOGJSON_H

#include <stddef.h>

#include "util/buf.h"

/* Append text, plain UTF-8 but for tabs and line ends, as a JSON string. */
void logjson_put_string(struct buf *out, const char *text, size_t len);

/* Append members "message" and, where there are any, "fields": those are the
 * "key=value" of the text fields, or, if that is NULL, at the end of the
 * message; a value ends where the next key begins, or, if it begins with a
 * quote, behind the next one. Of several with one key the last counts.
 *
 * out has max bytes at most then: fields that have no room are left out, and
 * the message is cut. */
void logjson_put_message(
    struct buf *out, const char *message, const char *fields, size_t max);

#endif /* GW_UTIL_LOGJSON_H */
