/* httpcall.h - an HTTP request on its way from a gateway to a worker: between
 * gwrun's own parts that offer "request".
 *
 *   bytes | what
 *   1     | 1: it came over TLS, else 0
 *   1     | the minor version of HTTP
 *   2, 2  | port of the client, and of the listener
 *   2     | n, headers
 *   4     | bytes of the texts, which follow
 *   …     | the client's address, method, target, and n times a name in lower
 *         | case and a value, each with a NUL behind it
 *   rest  | the body
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_HTTPCALL_H
#define GW_WIRE_HTTPCALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "wire/httphead.h"

struct httpcall {
    bool tls;
    uint16_t remote_port, server_port;
    const char *remote_addr;
    struct httphead head; /* of the request, its target in origin form */
    const uint8_t *body;  /* borrowed */
    size_t body_len;
};

/* Append it; it has at most 65535 headers. */
void httpcall_put(struct buf *out, const struct httpcall *r);

/* How many headers there are in one of so many bytes: no more than they can
 * hold. 0 when they are none. */
size_t httpcall_count_headers(const uint8_t *data, size_t len);

/* Read one; r borrows data, and head.fields is the caller's with room for
 * head.max. 0, -EPROTO, or -EMSGSIZE: it has more headers. */
int httpcall_read(struct httpcall *r, const uint8_t *data, size_t len);

#endif /* GW_WIRE_HTTPCALL_H */
