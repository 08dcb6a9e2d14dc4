/* exchange.h - a request that is answered: body, call, reply.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_EXCHANGE_H
#define GW_CLIENTS_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"
#include "wire/answer.h"
#include "wire/httphead.h"
#include "wire/httprequest.h"

struct client_conn;
struct access_request;
struct files;

/* The owner's answer to on_request(): one that answer_parse_reply() found good,
 * borrowed; or said NULL and a status of ours, 502 or 503. A second answer is
 * ignored, and one that comes too late. */
void exchange_reply(
    struct client_conn *c, const struct answer *said, unsigned status);

/* A worker has begun with it, so that the owner does not keep it any more. */
void exchange_begun(struct client_conn *c);

/* What a request is, once its head has been read. */
struct exchange_request {
    struct httphead head; /* points into c->part->in */
    size_t len;           /* bytes of it there */
    struct httprequest meaning;
    union addr peer;    /* who asks, behind trusted proxies */
    const char *scheme; /* "http" or "https", likewise */
    struct files *file; /* owned; the answer, or NULL: the owner has it */
    struct access_request *access; /* owned, or NULL */
    const char *rights; /* of who calls the push API, copied; else NULL */
};

/* Have it answered. Takes ownership of head.fields, of file, access and
 * c->part.
 */
void exchange_begin(struct client_conn *c, const struct exchange_request *r);

#endif /* GW_CLIENTS_EXCHANGE_H */
