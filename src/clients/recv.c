/* From the bytes of a client to its messages, whatever its protocol
 * (protocol.h). Messages are handled in place; bytes are copied only when one
 * is not whole, or the client is paused. After a broken rule, or its goodbye,
 * nothing more is delivered. */

#include "clients/recv.h"

#include "clients/client_conn_impl.h"
#include "clients/part.h"
#include "util/log.h"

void recv_deliver(struct client_conn *c, const void *data, size_t len,
    enum protocol_form form)
{
    struct client_shared *shared = c->shared;

    shared->counters.messages_in++;
    shared->ops->on_message(c->owner, data, len, form, shared->arg);
}

void recv_fail(struct client_conn *c, enum client_conn_cause cause, int code,
    const char *reason)
{
    char peer[ADDR_TEXT_SIZE];

    log_info("%s, closing peer=%s", reason, addr_format(peer, &c->peer));
    client_conn_close(c, cause, code, reason);
    client_conn_finish(c);
}

void recv_too_large(struct client_conn *c)
{
    recv_fail(c, CLIENT_CONN_TOO_LARGE, 1009, "message too big");
}

static bool has_kept(const struct client_conn *c)
{
    return c->part != NULL && c->part->in.len > 0;
}

/* Whether bytes behind an incomplete message cannot complete it either. */
static bool goes_on(
    const struct client_conn *c, const uint8_t *data, size_t len)
{
    const struct client_protocol *p = client_conn_speaks(c);

    return c->part->partial && p->goes_on != NULL && p->goes_on(c, data, len);
}

/* Keep the bytes behind those that were used. */
static void keep(struct client_conn *c, const uint8_t *rest, size_t len)
{
    struct part *p;

    if (!client_conn_is_heard(c) || len == 0)
        return;
    p = part_need(c);
    buf_append(&p->in, rest, len);
    p->partial = client_conn_is_taken(c);
}

/* Deliver from what is kept. The messages' bytes must stay where they are
 * while the owner looks at them, so the buffer is taken off the client. */
static void drain_kept(struct client_conn *c)
{
    struct buf all = {0};
    size_t used;

    buf_swap(&all, &c->part->in);
    used = client_conn_speaks(c)->take(c, all.data, all.len);
    if (used == 0 && client_conn_is_heard(c)) {
        struct part *p = part_need(c);

        buf_swap(&p->in, &all);
        p->partial = client_conn_is_taken(c);
    } else {
        keep(c, all.data + used, all.len - used); /* not a large buffer's end */
    }
    buf_fini(&all);
    part_changed(c, used > 0);
}

void recv_bytes(struct client_conn *c, uint8_t *data, size_t len)
{
    bool taken = client_conn_is_taken(c);
    size_t used;
    bool search;

    if (!client_conn_is_heard(c) || len == 0)
        return;
    if (c->state == CLIENT_CONN_OPEN)
        c->shared->ops->on_activity(c->owner, c->shared->arg);
    if (has_kept(c) || !taken) {
        search = !taken || !goes_on(c, data, len);
        buf_append(&part_need(c)->in, data, len);
        if (search && taken) {
            drain_kept(c);
            return;
        }
        if (search)
            c->part->partial = false; /* to be searched once resumed */
        part_changed(c, false);
        return;
    }
    used = client_conn_speaks(c)->take(c, data, len);
    keep(c, data + used, len - used);
    part_changed(c, used > 0);
}

/* A stream's client is there from the start. */
static void open_stream(struct client_conn *c)
{
    if (client_conn_open(c, NULL) == 0)
        return;
    c->shared->counters.refused++;
    client_conn_doom(c);
}

static void hear(struct client_conn *c, uint8_t *data, size_t len)
{
    if (c->state == CLIENT_CONN_REQUEST)
        open_stream(c);
    recv_bytes(c, data, len);
}

/* Deliver what was kept while it was paused; the time of what is still begun
 * goes on. */
static void turn(struct client_conn *c)
{
    if (c->state == CLIENT_CONN_REQUEST)
        open_stream(c);
    if (c->part == NULL || !client_conn_is_taken(c))
        return;
    if (has_kept(c) && !c->part->partial)
        drain_kept(c);
    else
        part_changed(c, false);
}

static void crowded(struct client_conn *c)
{
    recv_fail(c, CLIENT_CONN_BUSY, 1013, "too many unfinished messages");
}

/* An event stream has had nothing for a while, or a lot: a proxy in between
 * must not take it for dead. */
static bool late(struct client_conn *c)
{
    if (!c->streams || c->state != CLIENT_CONN_OPEN)
        return false;
    if (c->queue.len == 0)
        client_conn_ping(c);
    client_conn_expect(c, &c->shared->streaming, CLIENT_CONN_COMMENT_MS);
    return true;
}

const struct client_stage recv_stage = {
    .recv = hear,
    .late = late,
    .turn = turn,
    .crowded = crowded,
    .end = part_drop,
};

void recv_sweep(struct client_shared *shared, uint64_t now)
{
    while (!list_empty(&shared->receiving)) {
        struct client_conn *c =
            LIST_ENTRY(shared->receiving.next, struct client_conn, deadline);

        if (c->due > now)
            return;
        shared->counters.messages_timed_out++;
        recv_fail(c, CLIENT_CONN_TIMEOUT, 1008, "message took too long");
    }
}
