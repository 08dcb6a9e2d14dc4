/* exchange_impl.h - an exchange, for the files that make it: its beginning, its
 * body and its end (exchange.c), who is asked (exchange_calls.c), and what is
 * said (exchange_answers.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_EXCHANGE_IMPL_H
#define GW_CLIENTS_EXCHANGE_IMPL_H

#include "clients/client_conn_impl.h"
#include "clients/exchange.h"
#include "util/buf.h"
#include "wire/httpbody.h"

struct exchange {
    struct httphead head; /* lies in c->part; its fields are owned */
    union addr peer;
    bool is_secure; /* it came over TLS, to us or to a proxy in front */
    struct httpbody body;
    struct buf rest; /* what came behind the body */
    void *call;      /* borrowed; what on_request() returned, until its end */
    struct files *file; /* owned; what is sent in place of a call, or NULL */
    char *origin;       /* owned; of a page that may read the answer, or NULL */
    struct access_request *access; /* owned, until it is answered; or NULL */
    char *rights;    /* owned; of who calls the push API, else NULL */
    size_t head_len; /* bytes */
    size_t held;     /* bytes that wait for a worker, in counters.unfinished */
    uint64_t sent;   /* bytes that had left at the last look, of an answer */
    bool is_head;    /* its answer has no body */
    bool asks_leave; /* a page's browser asks whether it may ask */
    bool keep_alive;
    bool is_old;     /* HTTP/1.0 */
    bool is_foreign; /* a page of others asks */
};

/* ---- exchange.c ---- */

/* It has so much time, on one of the port's lists. */
void exchange_expect(struct client_conn *c, struct list *list, double seconds);

/* It is over, answered or not. */
void exchange_end(struct client_conn *c);

/* ---- exchange_calls.c ---- */

/* Its body is whole: a file, a preflight's answer, or the owner. What its head
 * lies in is free afterwards, unless the answer may need it. */
void exchange_call(struct client_conn *c);

/* The owner is not asked any more, if it was. e is, or has been, c's. */
void exchange_end_call(struct client_conn *c, struct exchange *e);

/* ---- exchange_answers.c ---- */

/* A line in the access log, once. kind NULL: it is no stream. */
void exchange_note(struct client_conn *c, const char *kind, unsigned status,
    uint64_t body_bytes);

/* A status of our own, which is the last that its connection says. */
void exchange_refuse(struct client_conn *c, unsigned status);

/* Answer with its file. said: with what a script said of that, or NULL. */
void exchange_answer_file(struct client_conn *c, const struct answer *said);

/* The next piece of a file, once nothing waits in front of it. Whether more is
 * to be sent than lies in the queue. */
bool exchange_send_more(struct client_conn *c);

#endif /* GW_CLIENTS_EXCHANGE_IMPL_H */
