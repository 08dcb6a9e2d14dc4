/* One connection from accept to its end: what is due at the end of a turn, why
 * it closes, how long each state may last. Whoever has a client_conn may call
 * this file and the ones below it (sock, queue); an owner hears on_open() at
 * most once and on_close() exactly once behind it.
 *
 * From each state to those that may follow, and what leads there:
 *
 *   TLS        -> REQUEST     its handshake is over; at once without TLS
 *                 DOOMED      it took too long
 *   REQUEST    -> ASKING      the request is whole, and the owner decides
 *                 CALLING     it is whole, with its body, and the owner's or a
 *                             file's
 *                 OPEN        it is let in; a stream: at the end of the turn
 *                 LAST        the request is refused
 *                 DOOMED      it took too long
 *   ASKING     -> OPEN        the owner lets it in
 *                 LAST        the owner, its time or a limit refuses it
 *                 DOOMED      no answer could be sent in time
 *   CALLING    -> ANSWERING   the owner has answered, or its time is over; of
 *                             a file at once
 *                 OPEN        the answer makes it an event stream
 *                 LAST        a limit refuses it
 *   ANSWERING  -> REQUEST     all of the answer is sent
 *                 LAST        the same, and it was the last one
 *                 DOOMED      it does not read
 *   OPEN       -> CLOSE_SENT  we said goodbye, where the protocol has one
 *                 LAST        it said goodbye, or broke a rule, or its protocol
 *                             has none; or the owner did not want it
 *                 DOOMED      the owner wants it gone at once
 *   CLOSE_SENT -> LAST        it has answered, or broke a rule
 *                 DOOMED      no answer in time
 *   LAST       -> LINGER      all is sent
 *                 DOOMED      it does not read
 *   DOOMED     -> DEAD        the turn is over
 *   LINGER     -> DEAD        its peer has closed, or had its time
 *
 * and from all but DEAD to DEAD: its peer has left, or the port ends. */

#include "clients/client_conn_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/trim.h"
#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"

#define CODE_NONE 1006 /* gone without a Close frame */

#define TO(state) (1U << CLIENT_CONN_##state)

static const uint16_t table[CLIENT_CONN_STATES] = {
    [CLIENT_CONN_TLS] = TO(REQUEST) | TO(DOOMED) | TO(DEAD),
    [CLIENT_CONN_REQUEST] =
        TO(ASKING) | TO(CALLING) | TO(OPEN) | TO(LAST) | TO(DOOMED) | TO(DEAD),
    [CLIENT_CONN_ASKING] = TO(OPEN) | TO(LAST) | TO(DOOMED) | TO(DEAD),
    [CLIENT_CONN_CALLING] = TO(ANSWERING) | TO(OPEN) | TO(LAST) | TO(DEAD),
    [CLIENT_CONN_ANSWERING] = TO(REQUEST) | TO(LAST) | TO(DOOMED) | TO(DEAD),
    [CLIENT_CONN_OPEN] = TO(CLOSE_SENT) | TO(LAST) | TO(DOOMED) | TO(DEAD),
    [CLIENT_CONN_CLOSE_SENT] = TO(LAST) | TO(DOOMED) | TO(DEAD),
    [CLIENT_CONN_LAST] = TO(LINGER) | TO(DOOMED) | TO(DEAD),
    [CLIENT_CONN_DOOMED] = TO(DEAD),
    [CLIENT_CONN_LINGER] = TO(DEAD),
    [CLIENT_CONN_DEAD] = 0,
};

/* What its peer says in each state, if it is not paused. */
static const uint8_t interests[CLIENT_CONN_STATES] = {
    [CLIENT_CONN_TLS] = SOCK_HANDSHAKE,
    [CLIENT_CONN_REQUEST] = SOCK_BYTES,
    [CLIENT_CONN_ASKING] = SOCK_HANGUP,
    [CLIENT_CONN_CALLING] = SOCK_HANGUP,
    [CLIENT_CONN_OPEN] = SOCK_BYTES,
    [CLIENT_CONN_CLOSE_SENT] = SOCK_BYTES,
    [CLIENT_CONN_LINGER] = SOCK_BYTES,
};

bool client_conn_may_become(
    enum client_conn_state from, enum client_conn_state to)
{
    return table[from] >> to & 1;
}

void client_conn_become(struct client_conn *c, enum client_conn_state state)
{
    assert(client_conn_may_become((enum client_conn_state)c->state, state));
    c->state = (uint8_t)state;
    c->sock.interest = interests[state];
}

/* Nothing is written or delivered any more, and the owner hears of the end. */
static void let_go(struct client_conn *c, enum client_conn_state state)
{
    struct client_conn_end end;

    client_conn_blame(c, CLIENT_CONN_LEFT, CODE_NONE, NULL);
    client_conn_become(c, state);
    turn_cancel(&c->task);
    list_remove(&c->deadline);
    c->stage->end(c);
    queue_drop(&c->queue, &c->shared->pool);
    end = client_conn_how_ended(c);
    if (c->owner != NULL)
        c->shared->ops->on_close(c->owner, &end, c->shared->arg);
}

/* Everything has been sent: the owner hears of the end, its peer reads it.
 * Closing at once could reset the connection under data on its way. */
static void linger(struct client_conn *c)
{
    if (sock_shutdown(&c->sock) < 0)
        return;
    let_go(c, CLIENT_CONN_LINGER);
    client_conn_expect(c, &c->shared->lingering, CLIENT_CONN_LINGER_MS);
}

void client_conn_doom(struct client_conn *c)
{
    client_conn_become(c, CLIENT_CONN_DOOMED);
    list_remove(&c->deadline);
    client_conn_schedule(c);
}

/* Write what can be written. 0, or -EPIPE. */
static int flush(struct client_conn *c)
{
    struct client_shared *shared = c->shared;

    if (queue_flush(&c->queue, &shared->pool, &c->sock) < 0)
        return -EPIPE;
    if (c->queue.len == 0)
        c->pinged = false;
    else
        trim_note(shared);
    return 0;
}

/* The end of a turn: everything that the turn left to do for one client. */
static void on_turn(struct turn_task *task)
{
    struct client_conn *c = LIST_ENTRY(task, struct client_conn, task);

    if (c->state == CLIENT_CONN_DOOMED) {
        client_conn_kill(c);
        return;
    }
    if (c->state >= CLIENT_CONN_LINGER)
        return;
    c->stage->turn(c);
    if (c->state == CLIENT_CONN_DOOMED || flush(c) < 0) {
        client_conn_kill(c);
        return;
    }
    if (c->state == CLIENT_CONN_ANSWERING)
        c->stage->written(c);
    if (c->state == CLIENT_CONN_LAST && c->queue.len == 0)
        linger(c);
    sock_watch(&c->sock);
}

static struct client_conn *conn_of(struct sock *s)
{
    return LIST_ENTRY(s, struct client_conn, sock);
}

/* A stream's client is there then, a websocket's sends its request. */
static void on_handshake(struct sock *s, int rc)
{
    struct client_conn *c = conn_of(s);
    char peer[ADDR_TEXT_SIZE];

    if (rc == -EPROTONOSUPPORT)
        log_info("plain http on a tls port, closing peer=%s",
            addr_format(peer, &c->peer));
    if (rc < 0) {
        client_conn_kill(c);
        return;
    }
    client_conn_become(c, CLIENT_CONN_REQUEST);
    client_conn_schedule(c);
}

static void on_bytes(struct sock *s, uint8_t *data, size_t len)
{
    struct client_conn *c = conn_of(s);

    if (c->state == CLIENT_CONN_LINGER)
        return;
    c->bytes_in += len;
    c->shared->counters.bytes_in += len;
    c->stage->recv(c, data, len);
}

static void on_writable(struct sock *s)
{
    client_conn_schedule(conn_of(s));
}

static void on_hangup(struct sock *s)
{
    struct client_conn *c = conn_of(s);

    if (c->stage->hung_up == NULL || !c->stage->hung_up(c))
        client_conn_kill(c);
}

static void on_closed(struct sock *s)
{
    client_conn_free(conn_of(s));
}

static const struct sock_ops sock_ops = {
    .on_handshake = on_handshake,
    .on_bytes = on_bytes,
    .on_writable = on_writable,
    .on_hangup = on_hangup,
    .on_closed = on_closed,
};

int client_conn_start(struct client_conn *c, int fd, struct ssl_ctx_st *ctx)
{
    int err = sock_open(&c->sock, c->shared->turn, fd, ctx, &sock_ops);

    if (err < 0)
        return err;
    if (ctx == NULL) {
        client_conn_become(c, CLIENT_CONN_REQUEST);
        client_conn_schedule(c);
    }
    sock_watch(&c->sock);
    return 0;
}

struct client_conn *client_conn_new(
    struct client_shared *shared, const union addr *peer, struct limit *limit)
{
    struct client_conn *c = xcalloc(1, sizeof(*c));

    c->shared = shared;
    c->stage = shared->stage;
    c->peer = *peer;
    c->limit = limit;
    c->sock.fd = -1;
    c->sock.interest = SOCK_HANDSHAKE;
    list_init(&c->task.node);
    c->task.run = on_turn;
    list_init(&c->deadline);
    list_push_back(&shared->conns, &c->node);
    shared->counters.connections++;
    return c;
}

void client_conn_free(struct client_conn *c)
{
    limits_leave(&c->shared->limits, c->limit);
    c->shared->counters.connections--;
    list_remove(&c->node);
    free(c->reason);
    free(c);
}

void client_conn_schedule(struct client_conn *c)
{
    turn_schedule(c->shared->turn, &c->task);
}

/* What the owner has said to a new client. */
static int opened(struct client_conn *c, void *owner)
{
    c->owner = owner;
    if (owner != NULL)
        return 0;
    client_conn_become(c, CLIENT_CONN_LAST);
    queue_drop(&c->queue, &c->shared->pool);
    return -EACCES;
}

int client_conn_open(
    struct client_conn *c, const struct client_conn_request *request)
{
    struct client_shared *shared = c->shared;

    client_conn_become(c, CLIENT_CONN_OPEN);
    list_remove(&c->deadline);
    return opened(c, shared->ops->on_open(c, &c->peer, request, shared->arg));
}

int client_conn_open_stream(struct client_conn *c, const struct answer *said)
{
    struct client_shared *shared = c->shared;

    client_conn_become(c, CLIENT_CONN_OPEN);
    c->streams = true;
    client_conn_expect(c, &shared->streaming, CLIENT_CONN_COMMENT_MS);
    return opened(c, shared->ops->on_stream(c, &c->peer, said, shared->arg));
}

void client_conn_blame(struct client_conn *c, enum client_conn_cause cause,
    int code, const char *reason)
{
    if (c->code != 0)
        return;
    c->code = (uint16_t)code;
    c->cause = (uint8_t)cause;
    c->reason = reason != NULL ? xstrdup(reason) : NULL;
}

struct client_conn_end client_conn_how_ended(const struct client_conn *c)
{
    return (struct client_conn_end){
        (enum client_conn_cause)c->cause, c->code, c->reason, c->queue.dropped};
}

void client_conn_kill(struct client_conn *c)
{
    if (c->state == CLIENT_CONN_LINGER)
        client_conn_become(c, CLIENT_CONN_DEAD);
    else if (c->state != CLIENT_CONN_DEAD)
        let_go(c, CLIENT_CONN_DEAD);
    list_remove(&c->deadline);
    sock_close(&c->sock);
}

void client_conn_finish(struct client_conn *c)
{
    c->stage->end(c);
    if (c->state < CLIENT_CONN_LAST)
        client_conn_become(c, CLIENT_CONN_LAST);
    if (c->state != CLIENT_CONN_LAST)
        return;
    client_conn_expect(c, &c->shared->closing, CLIENT_CONN_CLOSE_TIMEOUT);
    client_conn_schedule(c);
}

void client_conn_expect(struct client_conn *c, struct list *list, uint64_t ms)
{
    list_remove(&c->deadline);
    c->due = clock_now(c->shared->loop) + ms;
    list_push_back(list, &c->deadline);
    client_shared_start_sweep(c->shared);
}

/* Each list has one length of wait, so its front is due first. what NULL: they
 * have had their time to read the end, or to ask again. */
static void sweep_list(struct list *list, uint64_t now, const char *what)
{
    char peer[ADDR_TEXT_SIZE];

    while (!list_empty(list)) {
        struct client_conn *c =
            LIST_ENTRY(list->next, struct client_conn, deadline);

        if (c->due > now)
            break;
        if (c->stage->late != NULL && c->stage->late(c))
            continue;
        if (what == NULL) {
            client_conn_kill(c);
            continue;
        }
        log_info(
            "%s timed out, closing peer=%s", what, addr_format(peer, &c->peer));
        client_conn_blame(c, CLIENT_CONN_TIMEOUT, CODE_NONE, NULL);
        client_conn_doom(c);
    }
}

void client_conn_sweep(struct client_shared *shared, uint64_t now)
{
    sweep_list(&shared->opening, now, "handshake or request");
    sweep_list(&shared->closing, now, "close");
    sweep_list(&shared->lingering, now, NULL);
    sweep_list(&shared->bodies, now, "body");
    sweep_list(&shared->calling, now, "request");
    sweep_list(&shared->idle, now, NULL);
    sweep_list(&shared->streaming, now, "stream");
}

void client_conn_queue(struct client_conn *c, const void *data, size_t len)
{
    queue_bytes(&c->queue, &c->shared->pool, data, len);
    client_conn_schedule(c);
}

bool client_conn_has_room(const struct client_conn *c, size_t len)
{
    return queue_has_room(
        &c->queue, &c->shared->pool, len, c->shared->counters.connections);
}

/* What the configuration wants for a message for which there is no room. */
static int admit_late(struct client_conn *c, size_t len)
{
    struct client_shared *shared = c->shared;

    /* Only what the socket does not take says that the client is slow: a burst
     * within one turn does not. */
    if (flush(c) < 0) {
        client_conn_destroy(c, CLIENT_CONN_LEFT);
        return -ENOTCONN;
    }
    if (client_conn_has_room(c, len))
        return 0;
    if (shared->conf->overflow == PORT_OVERFLOW_DROP) {
        shared->counters.overflow_dropped++;
        return -ENOBUFS;
    }
    shared->counters.overflow_closed++;
    queue_drop_rest(&c->queue, &shared->pool, c->sock.blocked);
    client_conn_close(c, CLIENT_CONN_OVERFLOW, 1008, "overflow");
    return -ENOBUFS;
}

/* The same for a client for which something waits, or that is none. */
__attribute__((noinline)) static int admit_behind(
    struct client_conn *c, size_t len)
{
    int err = c->state == CLIENT_CONN_OPEN ? 0 : -ENOTCONN;

    if (err == 0 && !client_conn_has_room(c, len))
        err = admit_late(c, len);
    if (err < 0)
        c->queue.dropped++;
    return err;
}

/* Room for a message of len bytes? */
static inline int admit(struct client_conn *c, size_t len)
{
    if (c->state == CLIENT_CONN_OPEN && c->queue.len == 0)
        return 0;
    return admit_behind(c, len);
}

/* A message has been queued. */
static int queued(struct client_conn *c)
{
    c->shared->counters.messages_out++;
    if (!c->sock.blocked)
        client_conn_schedule(c);
    return 0;
}

struct blob *client_conn_frame(struct client_shared *shared,
    const struct client_protocol *p, const struct protocol_message *what)
{
    struct buf framed = {0};
    struct blob *blob;

    if (what->label != NULL && p->put_label != NULL &&
        what->form != PROTOCOL_AS_IS)
        p->put_label(&framed, what->label);
    protocol_put(p, shared, &framed, what->data, what->len, what->form);
    blob = blob_new(framed.len, &shared->counters.queued);
    if (framed.len > 0)
        memcpy(blob->data, framed.data, framed.len);
    buf_fini(&framed);
    return blob;
}

int client_conn_send(struct client_conn *c, const void *data, size_t len,
    enum protocol_form form)
{
    const struct client_protocol *p = client_conn_speaks(c);
    struct client_shared *shared = c->shared;
    struct buf *out;
    size_t before;
    int err;

    if (len > QUEUE_COPY_MAX) {
        const struct protocol_message what = {data, len, form, NULL};
        struct blob *blob = client_conn_frame(shared, p, &what);

        err = client_conn_send_blob(c, blob);
        blob_unref(blob);
        return err;
    }
    err = admit(c, len);
    if (err < 0)
        return err;
    out = queue_begin(&c->queue, &shared->pool);
    before = out->len;
    protocol_put(p, shared, out, data, len, form);
    queue_commit(&c->queue, &shared->pool, out->len - before);
    return queued(c);
}

int client_conn_send_blob(struct client_conn *c, struct blob *framed)
{
    int err = admit(c, framed->len);

    if (err < 0)
        return err;
    queue_share(&c->queue, &c->shared->pool, framed);
    return queued(c);
}

void client_conn_ping(struct client_conn *c)
{
    const struct client_protocol *p = client_conn_speaks(c);

    if (p->ping == NULL || c->state != CLIENT_CONN_OPEN || c->pinged)
        return;
    c->pinged = true;
    p->ping(c);
}

void client_conn_close(struct client_conn *c, enum client_conn_cause cause,
    int code, const char *reason)
{
    const struct client_protocol *p = client_conn_speaks(c);

    if (c->state != CLIENT_CONN_OPEN)
        return;
    client_conn_blame(
        c, cause, code, reason != NULL && *reason ? reason : NULL);
    if (p->say_goodbye != NULL)
        p->say_goodbye(c, code, reason);
    if (p->say_goodbye == NULL || p->goes_one_way) {
        client_conn_finish(c);
        return;
    }
    client_conn_become(c, CLIENT_CONN_CLOSE_SENT);
    client_conn_expect(c, &c->shared->closing, CLIENT_CONN_CLOSE_TIMEOUT);
    client_conn_schedule(c);
}

void client_conn_destroy(struct client_conn *c, enum client_conn_cause cause)
{
    if (c->state >= CLIENT_CONN_DOOMED)
        return;
    client_conn_blame(c, cause, CODE_NONE, NULL);
    queue_drop(&c->queue, &c->shared->pool);
    c->stage->end(c);
    client_conn_doom(c);
}

const struct client_protocol *client_conn_protocol(const struct client_conn *c)
{
    return client_conn_speaks(c);
}

size_t client_conn_queued(const struct client_conn *c)
{
    return c->queue.len;
}

int client_conn_fd(const struct client_conn *c)
{
    return c->sock.fd;
}

uint64_t client_conn_bytes_in(const struct client_conn *c)
{
    return c->bytes_in;
}

uint64_t client_conn_bytes_out(const struct client_conn *c)
{
    return c->queue.sent;
}

void client_conn_pause(struct client_conn *c)
{
    if (c->state != CLIENT_CONN_OPEN)
        return;
    c->sock.interest = SOCK_NOTHING;
    if (!c->streams)
        list_remove(&c->deadline); /* its message must wait */
    sock_watch(&c->sock);
}

void client_conn_resume(struct client_conn *c)
{
    if (c->state != CLIENT_CONN_OPEN || c->sock.interest == SOCK_BYTES)
        return;
    c->sock.interest = SOCK_BYTES;
    sock_watch(&c->sock);
    if (c->part != NULL)
        client_conn_schedule(c); /* its stage goes on with it */
}
