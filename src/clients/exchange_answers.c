/* What is said: by the owner, by us (a status), by a file, or the beginning of
 * a stream, whose client leaves the exchange. */
#include "clients/exchange_impl.h"

#include <errno.h>
#include <string.h>

#include "clients/access.h"
#include "clients/files.h"
#include "clients/part.h"
#include "clients/recv.h"
#include "clients/refusal.h"
#include "clients/response.h"
#include "clients/trim.h"
#include "util/blob.h"
#include "util/log.h"
#include "wire/httpstatus.h"

/* Bytes; a longer one counts whole until the last of it has left. */
#define LONG_ANSWER (64 * 1024)
#define NAMED_CACHE \
    "private, no-cache" /* of a file that a script gave to one who asked */

void exchange_note(struct client_conn *c, const char *kind, unsigned status,
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
    exchange_note(c, NULL, status, response_body_len(said, status));
    buf_fini(&problem);
}

void exchange_refuse(struct client_conn *c, unsigned status)
{
    struct buf reply = {0};

    c->exchange->keep_alive = false;
    put_reply(c, &reply, NULL, status);
    refusal_send_reply(c, status, &reply);
}

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
    exchange_expect(c, &c->shared->opening, c->shared->conf->handshake_timeout);
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
        exchange_refuse(c, 403);
        return;
    }
    if (c->part != NULL)
        buf_swap(&rest, &c->part->in);
    part_drop(c); /* that of a client would take its time for comments along */
    if (!let_in(c, said)) {
        buf_fini(&rest);
        exchange_refuse(c, 503);
        return;
    }
    exchange_note(c, "stream", 200, 0);
    exchange_end(c);
    c->shared->counters.streams++;
    c->stage = &recv_stage;
    if (rest.len > 0)
        recv_bytes(c, rest.data, rest.len);
    buf_fini(&rest);
    sock_watch(&c->sock);
}

void exchange_answer_file(struct client_conn *c, const struct answer *said)
{
    struct exchange *e = c->exchange;
    struct response_form form = form_of(c);
    struct buf reply = {0};
    unsigned status;

    status = files_put_head(e->file, &reply, &e->head, said,
        said != NULL ? NAMED_CACHE : c->shared->conf->cache_control, &form);
    exchange_note(c, NULL, status, files_left(e->file));
    exchange_end_call(c, c->exchange);
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
            exchange_answer_file(c, said);
            return;
        }
        said = NULL;
    }
    if (said != NULL && !has_room(c->shared, said->len)) {
        c->shared->counters.overflow_closed++;
        exchange_refuse(c, 503);
        return;
    }
    put_reply(c, &reply, said, status);
    exchange_end_call(c, c->exchange);
    begin_answer(c, &reply);
}

bool exchange_send_more(struct client_conn *c)
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
