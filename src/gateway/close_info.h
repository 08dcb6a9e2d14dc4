/* close_info.h - the body of ON_CLOSE: what gwrun's workers learn of a client's
 * end (docs/protocol.md).
 *
 * It has two parts, so that the first can be kept before there is a second:
 * the names that the client had, and how it ended.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_CLOSE_INFO_H
#define GW_GATEWAY_CLOSE_INFO_H

#include <stdbool.h>
#include <stddef.h>

#include "clients/client_conn.h"
#include "gateway/roster.h"
#include "util/buf.h"

/* Append uid and groups. Groups for which room bytes do not suffice are left
 * out. */
void close_info_put_names(struct buf *out, const struct client *c, size_t room);

/* Append how it ended. */
void close_info_put_end(struct buf *out, const struct client_conn_end *end);

/* Append the whole body of parts that these functions wrote. */
struct close_info_part {
    const void *data; /* borrowed */
    size_t len;
};
void close_info_put(struct buf *out, const struct close_info_part *names,
    const struct close_info_part *end);

/* The same of parts that may be anything. Without names (len 0) it had none,
 * without an end its gateway died and nobody knows. Not certain: the body says
 * so. False: they are not valid; nothing is appended. */
bool close_info_put_read(struct buf *out, const struct close_info_part *names,
    const struct close_info_part *end, bool certain);

#endif /* GW_GATEWAY_CLOSE_INFO_H */
