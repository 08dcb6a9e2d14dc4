/* A request that is answered: its body (the connection is in REQUEST), the
 * owner or a file (CALLING), the answer (ANSWERING), and then the next request,
 * or the end. One at a time: what its client says meanwhile stays unread, or as
 * it came. A broken rule, or a body that takes too long, is answered and ends
 * the connection, for nobody knows where the next request begins. */
#include "clients/exchange_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "clients/access.h"
#include "clients/files.h"
#include "clients/origin.h"
#include "clients/part.h"
#include "util/alloc.h"
#include "util/log.h"

void exchange_expect(struct client_conn *c, struct list *list, double seconds)
{
    client_conn_expect(c, list, (uint64_t)(seconds * 1000));
}

void exchange_end(struct client_conn *c)
{
    struct exchange *e = c->exchange;

    part_drop(c);
    if (e == NULL)
        return;
    exchange_note(c, NULL, ACCESS_LEFT, 0);
    c->exchange = NULL;
    exchange_end_call(c, e);
    buf_fini(&e->rest);
    free(e->head.fields);
    free(e->origin);
    free(e->rights);
    files_free(e->file);
    free(e);
}

/* The next request may be here already. */
static void go_on(struct client_conn *c)
{
    struct client_shared *shared = c->shared;
    struct buf bytes = {0};

    if (c->part != NULL)
        buf_swap(&bytes, &c->part->in);
    exchange_end(c);
    client_conn_become(c, CLIENT_CONN_REQUEST);
    c->reused = true;
    exchange_expect(c, &shared->idle, shared->conf->keepalive_timeout);
    c->stage = shared->stage;
    if (bytes.len > 0)
        c->stage->recv(c, bytes.data, bytes.len);
    buf_fini(&bytes);
}

static void written(struct client_conn *c)
{
    struct exchange *e = c->exchange;
    bool more = e->file != NULL && c->queue.len == 0 && exchange_send_more(c);

    if (c->exchange != e)
        return;
    if (more || c->queue.len > 0) {
        /* As long as it goes on, its client has time. */
        if (e->sent != c->queue.sent)
            exchange_expect(
                c, &c->shared->opening, c->shared->conf->handshake_timeout);
        e->sent = c->queue.sent;
    } else if (e->keep_alive) {
        go_on(c);
    } else {
        client_conn_finish(c);
    }
}

/* ---- the body ---- */

static void take(struct client_conn *c, const uint8_t *data, size_t len)
{
    struct exchange *e = c->exchange;
    ssize_t used = httpbody_take(&e->body, &part_need(c)->message, data, len);

    if (used < 0) {
        exchange_refuse(c, used == -EMSGSIZE ? 413 : 400);
        return;
    }
    buf_append(&e->rest, data + used, len - (size_t)used);
    part_changed(c, false);
    if (c->exchange == e && httpbody_is_whole(&e->body))
        exchange_call(c);
}

static void hear(struct client_conn *c, uint8_t *data, size_t len)
{
    if (c->state == CLIENT_CONN_REQUEST)
        take(c, data, len);
}

/* ---- its stage ---- */

static void ignore(struct client_conn *c)
{
}

static bool late(struct client_conn *c)
{
    char peer[ADDR_TEXT_SIZE];

    addr_format(peer, &c->peer);
    switch (c->state) {
    case CLIENT_CONN_REQUEST:
        c->shared->counters.bodies_timed_out++;
        log_info("body of a request timed out, closing peer=%s", peer);
        exchange_refuse(c, 408);
        return true;
    case CLIENT_CONN_CALLING:
        c->shared->counters.requests_timed_out++;
        log_warn("onRequest did not answer in time peer=%s", peer);
        exchange_reply(c, NULL, 504);
        return true;
    default:
        return false;
    }
}

/* Nothing may stand in an answer that has begun: it ends, and what came behind
 * its request is not answered. */
static void crowded(struct client_conn *c)
{
    if (c->state != CLIENT_CONN_ANSWERING) {
        exchange_refuse(c, 503);
        return;
    }
    c->exchange->keep_alive = false;
    part_drop(c);
}

/* Whoever only says no more waits for the answer, and for those to requests
 * that were sent behind this one. */
static bool hung_up(struct client_conn *c)
{
    uint8_t byte;
    ssize_t n;

    if (c->state != CLIENT_CONN_CALLING || c->sock.ssl != NULL)
        return false;
    n = recv(c->sock.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return false;
    if (n == 0 && (c->part == NULL || c->part->in.len == 0))
        c->exchange->keep_alive = false;
    c->sock.interest = SOCK_NOTHING;
    return true;
}

static const struct client_stage exchange_stage = {
    .recv = hear,
    .turn = ignore,
    .written = written,
    .late = late,
    .crowded = crowded,
    .hung_up = hung_up,
    .end = exchange_end,
};

/* ---- its beginning ---- */

/* Methods that only look (RFC 9110 section 9.2.1): what a page of others makes
 * of their answers is for its browser to decide. */
static bool is_safe(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
           strcmp(method, "OPTIONS") == 0 || strcmp(method, "TRACE") == 0;
}

/* As browsers' EventSource asks, which can ask in no other way. */
static bool wants_stream(const struct httphead *head)
{
    const char *accept;

    return httphead_find_only(head, "accept", &accept) && accept != NULL &&
           strcasecmp(accept, "text/event-stream") == 0;
}

/* False: a page of others may not ask for this. Without a list preflights are
 * the owner's, too. */
static bool admit_origin(struct client_conn *c, const char *scheme)
{
    const char *const *allowed = c->shared->conf->allowed_origins;
    const struct httphead *head = &c->exchange->head;
    const char *text;
    enum origin origin = origin_of(head, allowed, scheme, &text);
    bool asks_leave =
        allowed != NULL && strcmp(head->method, "OPTIONS") == 0 &&
        httphead_find(head, "access-control-request-method") != NULL;

    c->exchange->is_foreign = origin == ORIGIN_FOREIGN;
    if (origin == ORIGIN_FOREIGN &&
        (asks_leave || !is_safe(head->method) ||
            (c->exchange->file == NULL && wants_stream(head))))
        return false;
    if (origin == ORIGIN_LISTED) {
        c->exchange->origin = xstrdup(text);
        c->exchange->asks_leave = asks_leave;
    }
    return true;
}

void exchange_begin(struct client_conn *c, const struct exchange_request *r)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct port_conf *conf = c->shared->conf;
    const struct buf *in = &c->part->in;
    struct exchange *e = xcalloc(1, sizeof(*e));

    c->exchange = e;
    c->stage = &exchange_stage;
    e->head = r->head;
    e->head_len = r->len;
    e->file = r->file;
    e->peer = r->peer;
    e->is_secure = strcmp(r->scheme, "https") == 0;
    e->is_head = strcmp(r->head.method, "HEAD") == 0;
    e->is_old = r->head.minor == 0;
    e->keep_alive = r->meaning.keep_alive;
    e->access = r->access;
    e->rights = r->rights != NULL ? xstrdup(r->rights) : NULL;
    if (e->rights == NULL && !admit_origin(c, r->scheme)) {
        exchange_refuse(c, 403);
        return;
    }
    if (httpbody_begin(&e->body, &r->meaning, conf->body_max) < 0) {
        exchange_refuse(c, 413);
        return;
    }
    exchange_expect(c, &c->shared->bodies, conf->body_timeout);
    take(c, in->data + r->len, in->len - r->len);
    if (c->state == CLIENT_CONN_REQUEST && c->exchange == e &&
        r->meaning.expects_continue)
        client_conn_queue(c, text, sizeof(text) - 1);
}
