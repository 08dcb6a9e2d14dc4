/* Whom a request goes to. What the owner has not begun with counts, and is held
 * within a limit. */
#include "clients/exchange_impl.h"

#include <string.h>

#include "clients/part.h"
#include "clients/trim.h"
#include "wire/httpcall.h"

#define LEAVE_AGE "600" /* seconds; browsers ask again then */

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

void exchange_end_call(struct client_conn *c, struct exchange *e)
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

void exchange_call(struct client_conn *c)
{
    struct exchange *e = c->exchange;
    struct buf asked = {0};

    client_conn_become(c, CLIENT_CONN_CALLING);
    exchange_expect(c, &c->shared->calling, c->shared->conf->request_timeout);
    if (e->file != NULL)
        exchange_answer_file(c, NULL);
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
