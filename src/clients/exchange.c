/* A request that is answered: its body (the connection is in REQUEST), the
 * owner or a file (CALLING), the answer (ANSWERING), and then the next request,
 * or the end. One at a time: what its client says meanwhile stays unread, or as
 * it came. A broken rule, or a body that takes too long, is answered and ends
 * the connection, for nobody knows where the next request begins. */
#include "clients/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "clients/access.h"
#include "clients/client_conn_impl.h"
#include "clients/files.h"
#include "clients/origin.h"
#include "clients/part.h"
#include "clients/recv.h"
#include "clients/refusal.h"
#include "clients/response.h"
#include "clients/trim.h"
#include "util/alloc.h"
#include "util/blob.h"
#include "util/log.h"
#include "wire/httpbody.h"
#include "wire/httpstatus.h"

/* Bytes; a longer one counts whole until the last of it has left. */
#define LONG_ANSWER (64 * 1024)
#define LEAVE_AGE   "600" /* seconds; browsers ask again then */
#define NAMED_CACHE \
    "private, no-cache" /* of a file that a script gave to one who asked */

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

static void expect(struct client_conn *c, struct list *list, double seconds)
{
    client_conn_expect(c, list, (uint64_t)(seconds * 1000));
}

/* Until a worker has begun with it the owner keeps a request, which counts as
 * what is not whole. But it is nobody's to close: it may be begun any time. */
static void hold(struct client_conn *c, size_t bytes)
{
    struct exchange *e = c->exchange;

    c->shared->counters.unfinished += bytes - e->held;
    c->shared->held += bytes - e->held;
    e->held = bytes;
    trim_note(c->shared);
}

/* They leave half of it to those that are not whole: otherwise workers that are
 * behind would have all of these closed. */
static bool may_hold(const struct client_shared *shared, size_t bytes)
{
    size_t max = shared->conf->unfinished_total_max / 2;

    return max == 0 || shared->held == 0 || shared->held + bytes <= max;
}

void exchange_begun(struct client_conn *c)
{
    if (c->state == CLIENT_CONN_CALLING)
        hold(c, 0);
}

static void end_call(struct client_conn *c, struct exchange *e)
{
    void *call = e->call;

    e->call = NULL;
    c->shared->counters.unfinished -= e->held;
    c->shared->held -= e->held;
    e->held = 0;
    if (c->part != NULL && c->part->asked.len > 0) {
        buf_fini(&c->part->asked);
        part_update(c, false);
    }
    if (call != NULL)
        c->shared->ops->on_request_end(call, c->shared->arg);
}

/* It is answered: its line in the access log. kind NULL: it is no stream. */
static void note(struct client_conn *c, const char *kind, unsigned status,
    uint64_t body_bytes)
{
    struct exchange *e = c->exchange;
    struct access_answer answer = {.kind = kind,
        .who = e->rights,
        .status = status,
        .body_bytes = e->is_head ? 0 : body_bytes};

    if (e->access == NULL)
        return;
    if (kind == NULL)
        answer.kind = e->rights != NULL ? "api"
                      : e->file != NULL ? "file"
                                        : "request";
    access_end(c->shared->access, e->access, &answer);
    e->access = NULL;
}

static void end(struct client_conn *c)
{
    struct exchange *e = c->exchange;

    part_drop(c);
    if (e == NULL)
        return;
    note(c, NULL, ACCESS_LEFT, 0);
    c->exchange = NULL;
    end_call(c, e);
    buf_fini(&e->rest);
    free(e->head.fields);
    free(e->origin);
    free(e->rights);
    files_free(e->file);
    free(e);
}

/* Of the push API every answer is JSON. What our own statuses mean there. */
static void put_problem(struct buf *out, unsigned status)
{
    static const struct {
        unsigned status;
        const char *code, *detail;
    } problems[] = {
        {400, "eproto", "the body is not valid HTTP"},
        {408, "etimedout", "the body was not whole in time"},
        {413, "emsgsize", "the body is larger than max_body"},
        {502, "econnreset", "the worker was lost while it ran the call"},
        {503, "enotconn", "no worker can run the call now"},
        {504, "etimedout", "the call took longer than request_timeout"},
    };
    size_t i = 0;

    while (i + 1 < sizeof(problems) / sizeof(problems[0]) &&
           problems[i].status != status)
        i++;
    httpstatus_put_problem(out, status, problems[i].code, problems[i].detail);
}

static struct response_form form_of(const struct client_conn *c)
{
    const struct exchange *e = c->exchange;

    return (struct response_form){.is_head = e->is_head,
        .keep_alive = e->keep_alive,
        .is_old = e->is_old,
        .varies = c->shared->conf->allowed_origins != NULL,
        .origin = e->origin};
}

/* What a script said, or (said NULL) a status of our own. */
static void put_reply(struct client_conn *c, struct buf *reply,
    const struct answer *said, unsigned status)
{
    const struct response_form form = form_of(c);
    struct buf problem = {0};
    struct answer ours;

    if (said == NULL && c->exchange->rights != NULL) {
        put_problem(&problem, status);
        ours = answer_of(&problem);
        said = &ours;
    }
    response_put_reply(reply, said, status, &form);
    note(c, NULL, status, response_body_len(said, status));
    buf_fini(&problem);
}

/* A status of our own is the last that its connection says. */
static void refuse(struct client_conn *c, unsigned status)
{
    struct buf reply = {0};

    c->exchange->keep_alive = false;
    put_reply(c, &reply, NULL, status);
    refusal_send_reply(c, status, &reply);
}

/* ---- the answer ---- */

/* A long answer is paced by its reader and is never too long for its queue,
 * but all that wait for their readers may take half of what messages may: then
 * nobody gets another one that is longer than his share. */
static bool has_room(const struct client_shared *shared, size_t len)
{
    size_t max = shared->conf->queue_total_max / 2;

    return len <= LONG_ANSWER || max == 0 ||
           shared->counters.queued + len <= max ||
           len <= max / shared->counters.connections;
}

/* Its memory counts as long as any of it waits. */
static void queue_answer(struct client_conn *c, const struct buf *reply)
{
    struct blob *blob;

    if (reply->len <= LONG_ANSWER) {
        client_conn_queue(c, reply->data, reply->len);
        return;
    }
    blob = blob_new(reply->len, &c->shared->counters.queued);
    memcpy(blob->data, reply->data, reply->len);
    queue_share(&c->queue, &c->shared->pool, blob);
    blob_unref(blob);
    trim_note(c->shared);
    client_conn_schedule(c);
}

/* Queue the answer, or its beginning. */
static void begin_answer(struct client_conn *c, struct buf *reply)
{
    queue_answer(c, reply);
    buf_fini(reply);
    client_conn_become(c, CLIENT_CONN_ANSWERING);
    c->exchange->sent = c->queue.sent;
    expect(c, &c->shared->opening, c->shared->conf->handshake_timeout);
}

static bool makes_stream(const struct answer *said)
{
    struct answer_part part;

    return said != NULL && answer_find(said, ANSWER_STREAM, &part);
}

/* It becomes a client, under the rules of others: one of its address more, if
 * that stands in the request, and welcome to the owner. False: refused. */
static bool let_in(struct client_conn *c, const struct answer *said)
{
    struct exchange *e = c->exchange;
    struct client_shared *shared = c->shared;
    struct response_form form = form_of(c);
    struct buf head = {0};

    if (forwarded_trusts(&shared->trust, &c->peer)) {
        c->peer = e->peer;
        if (limits_count(&shared->limits, &c->peer, &c->limit) < 0)
            return false;
    }
    form.streams = true;
    form.keep_alive = false;
    response_put_reply(&head, said, 200, &form);
    client_conn_queue(c, head.data, head.len);
    buf_fini(&head);
    return client_conn_open_stream(c, said) == 0;
}

static void begin_stream(struct client_conn *c, const struct answer *said)
{
    struct buf rest = {0};

    if (c->exchange->is_foreign) {
        refuse(c, 403);
        return;
    }
    if (c->part != NULL)
        buf_swap(&rest, &c->part->in);
    part_drop(c); /* that of a client would take its time for comments along */
    if (!let_in(c, said)) {
        buf_fini(&rest);
        refuse(c, 503);
        return;
    }
    note(c, "stream", 200, 0);
    end(c);
    c->shared->counters.streams++;
    c->stage = &recv_stage;
    if (rest.len > 0)
        recv_bytes(c, rest.data, rest.len);
    buf_fini(&rest);
    sock_watch(&c->sock);
}

/* With the file that is found, and what a script said, or NULL. */
static void answer_file(struct client_conn *c, const struct answer *said)
{
    struct exchange *e = c->exchange;
    struct response_form form = form_of(c);
    struct buf reply = {0};
    unsigned status;

    status = files_put_head(e->file, &reply, &e->head, said,
        said != NULL ? NAMED_CACHE : c->shared->conf->cache_control, &form);
    note(c, NULL, status, files_left(e->file));
    end_call(c, e);
    begin_answer(c, &reply);
}

/* Find the file that a script has named. 0, or the status to answer with. */
static unsigned find_file(struct client_conn *c, const struct answer_part *name)
{
    struct client_shared *shared = c->shared;
    struct exchange *e = c->exchange;
    char quoted[LOG_QUOTE_SIZE];
    int rc = files_named(&e->file, shared, name, &e->head);

    if (rc != -ENOENT)
        return rc < 0 ? 503 : 0;
    if (log_may(&shared->no_file, "files that onRequest names", 10, 1000))
        log_warn("onRequest names a file that is not %s file=%s",
            shared->files != NULL ? "there, or not below files"
                                  : "anywhere: this listener has no files",
            log_quote(quoted, name->data, name->len));
    return shared->files != NULL ? 404 : 500;
}

void exchange_reply(
    struct client_conn *c, const struct answer *said, unsigned status)
{
    struct buf reply = {0};
    struct answer_part name;

    if (c->state != CLIENT_CONN_CALLING)
        return;
    if (makes_stream(said) && !c->exchange->is_head) {
        begin_stream(c, said);
        return;
    }
    if (said != NULL && answer_find(said, ANSWER_FILE, &name)) {
        status = find_file(c, &name);
        if (status == 0) {
            answer_file(c, said);
            return;
        }
        said = NULL;
    }
    if (said != NULL && !has_room(c->shared, said->len)) {
        c->shared->counters.overflow_closed++;
        refuse(c, 503);
        return;
    }
    put_reply(c, &reply, said, status);
    end_call(c, c->exchange);
    begin_answer(c, &reply);
}

/* The next request may be here already. */
static void go_on(struct client_conn *c)
{
    struct client_shared *shared = c->shared;
    struct buf bytes = {0};

    if (c->part != NULL)
        buf_swap(&bytes, &c->part->in);
    end(c);
    client_conn_become(c, CLIENT_CONN_REQUEST);
    c->reused = true;
    expect(c, &shared->idle, shared->conf->keepalive_timeout);
    c->stage = shared->stage;
    if (bytes.len > 0)
        c->stage->recv(c, bytes.data, bytes.len);
    buf_fini(&bytes);
}

/* The next piece of a file, once nothing waits in front of it. Whether more is
 * to be sent than lies in the queue. */
static bool send_more(struct client_conn *c)
{
    int rc = files_send(c->exchange->file, c);
    char peer[ADDR_TEXT_SIZE];

    if (rc < 0) {
        if (rc != -EPIPE)
            log_warn("a file became shorter while it was sent, closing peer=%s",
                addr_format(peer, &c->peer));
        client_conn_kill(c);
    } else if (rc > 0 && !c->sock.blocked) {
        turn_schedule_later(c->shared->turn, &c->task);
    }
    return rc != 0;
}

static void written(struct client_conn *c)
{
    struct exchange *e = c->exchange;
    bool more = e->file != NULL && c->queue.len == 0 && send_more(c);

    if (c->exchange != e)
        return;
    if (more || c->queue.len > 0) {
        /* As long as it goes on, its client has time. */
        if (e->sent != c->queue.sent)
            expect(c, &c->shared->opening, c->shared->conf->handshake_timeout);
        e->sent = c->queue.sent;
    } else if (e->keep_alive) {
        go_on(c);
    } else {
        client_conn_finish(c);
    }
}

/* ---- the call ---- */

static void put_leave(struct buf *out, const char *name, const char *value)
{
    if (value != NULL)
        answer_put_header(out, name, strlen(name), value, strlen(value));
}

/* The Fetch standard's preflight, of a page that is allowed: it may. */
static void give_leave(struct client_conn *c)
{
    const struct httphead *head = &c->exchange->head;
    struct buf bytes = {0};
    struct answer said;

    answer_put_status(&bytes, 204);
    put_leave(&bytes, "access-control-allow-methods",
        httphead_find(head, "access-control-request-method"));
    put_leave(&bytes, "access-control-allow-headers",
        httphead_find(head, "access-control-request-headers"));
    put_leave(&bytes, "access-control-max-age", LEAVE_AGE);
    said = answer_of(&bytes);
    exchange_reply(c, &said, said.status);
    buf_fini(&bytes);
}

/* Nobody takes it now. */
static void turn_away(struct client_conn *c)
{
    c->shared->counters.requests_refused++;
    exchange_reply(c, NULL, 503);
}

static void give(struct client_conn *c)
{
    struct client_shared *shared = c->shared;
    struct exchange *e = c->exchange;
    const struct buf *body = &c->part->message;
    struct httpcall what = {.tls = e->is_secure,
        .head = e->head,
        .body = body->data,
        .body_len = body->len};
    size_t bytes = e->head_len + body->len;

    if (!may_hold(shared, bytes)) {
        turn_away(c);
        return;
    }
    if (e->rights != NULL)
        what.head.nfields = 0; /* the key is nobody's any more */
    e->call =
        shared->ops->on_request(c, &e->peer, &what, e->rights, shared->arg);
    if (e->call == NULL) {
        turn_away(c);
        return;
    }
    if (e->rights != NULL)
        shared->counters.api_calls++;
    else
        shared->counters.requests++;
    hold(c, bytes);
}

/* What its head lies in, where the answer may be a file. */
static void keep(struct client_conn *c, struct buf *asked)
{
    if (c->exchange->call != NULL && c->shared->files != NULL)
        buf_swap(asked, &c->part->in);
}

/* It is whole. What its head lies in is free afterwards, unless it is kept. */
static void call(struct client_conn *c)
{
    struct exchange *e = c->exchange;
    struct buf asked = {0};

    client_conn_become(c, CLIENT_CONN_CALLING);
    expect(c, &c->shared->calling, c->shared->conf->request_timeout);
    if (e->file != NULL)
        answer_file(c, NULL);
    else if (e->asks_leave)
        give_leave(c);
    else
        give(c);
    keep(c, &asked);
    part_drop(c);
    if (asked.len > 0)
        buf_swap(&part_need(c)->asked, &asked);
    if (e->rest.len > 0)
        buf_swap(&part_need(c)->in, &e->rest);
    part_changed(c, false); /* may refuse it */
    sock_watch(&c->sock);
}

/* ---- the body ---- */

static void take(struct client_conn *c, const uint8_t *data, size_t len)
{
    struct exchange *e = c->exchange;
    ssize_t used = httpbody_take(&e->body, &part_need(c)->message, data, len);

    if (used < 0) {
        refuse(c, used == -EMSGSIZE ? 413 : 400);
        return;
    }
    buf_append(&e->rest, data + used, len - (size_t)used);
    part_changed(c, false);
    if (c->exchange == e && httpbody_is_whole(&e->body))
        call(c);
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
        refuse(c, 408);
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
        refuse(c, 503);
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
    .end = end,
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
        refuse(c, 403);
        return;
    }
    if (httpbody_begin(&e->body, &r->meaning, conf->body_max) < 0) {
        refuse(c, 413);
        return;
    }
    expect(c, &c->shared->bodies, conf->body_timeout);
    take(c, in->data + r->len, in->len - r->len);
    if (c->state == CLIENT_CONN_REQUEST && c->exchange == e &&
        r->meaning.expects_continue)
        client_conn_queue(c, text, sizeof(text) - 1);
}
