/* The inner port: connections, how many there may be, and what comes on them. A
 * link belongs to this file from accept to inner_drop(); what it says of itself
 * first is introductions.c's. Every command of a link runs when it comes, in
 * order; its answer leaves at the end of the turn. A link is trusted before
 * anything else that it says is looked at. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/inner_impl.h"
#include "net/clock.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "wire/frame.h"
#include "wire/framing.h"

#define TICK_MS     1000
#define BINDS_MS    50          /* between batches of clients that are bound */
#define ANSWER_KEEP (64 * 1024) /* bytes kept of the answer buffer */

uint64_t inner_now(const struct inner *in)
{
    return clock_now(turn_loop(in->conf.turn));
}

struct link *inner_link_of(
    const struct inner *in, const struct router_worker *w, bool acking)
{
    struct list *node;

    LIST_FOREACH (node, &in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        if ((acking ? l->acking : l->worker) == w)
            return l;
    }
    return NULL;
}

void inner_know(struct link *l)
{
    if (list_empty(&l->stranger))
        return;
    list_remove(&l->stranger);
    l->in->nstrangers--;
}

/* The link that brings events has ended; what w did is still to come on the
 * other one, which is waited for. */
static void await_last_word(
    const struct inner *in, const struct router_worker *w)
{
    struct link *acking = inner_link_of(in, w, true);

    if (acking)
        acking->alone = 1;
}

void inner_settle(struct inner *in, struct router_worker *w, bool certain)
{
    router_settle(in->conf.router, w, in->conf.commands->roster, certain);
}

/* Nothing more comes from a worker that acknowledges, on these links. */
static void settle(struct inner *in, struct router_worker *w, bool certain)
{
    in->conf.on_worker_settled(w, in->conf.arg);
    inner_settle(in, w, certain);
}

void inner_drop(struct link *l, bool certain)
{
    struct inner *in = l->in;
    struct router_worker *w = l->worker;
    struct router_worker *acking = l->acking;
    struct parting *parting = partings_take(l);
    struct link *other = NULL;

    if (acking && !in->ends) /* else the worker does */
        router_count_unrun(in->conf.router, acking, &l->handled);
    inner_know(l);
    list_remove(&l->node);
    in->nlinks--;
    introductions_forget(l);
    free(l);
    if (acking)
        other = inner_link_of(in, acking, false);
    else if (w && !certain)
        other = inner_link_of(in, w, true);
    else if (w)
        await_last_word(in, w);
    if (w) {
        uint32_t serial = router_serial(w);

        if (!in->ends)
            router_lose_unheard(in->conf.router, w);
        router_remove_worker(in->conf.router, w);
        in->conf.on_worker_gone(serial, in->conf.arg);
    }
    if (other) {
        conn_close(other->conn);
        inner_drop(other, acking || certain);
    }
    if (parting)
        partings_await(in, parting, certain);
    else if (acking)
        settle(in, acking, certain);
}

void inner_refuse(struct link *l, const char *why, uint8_t cmd)
{
    char peer[ADDR_TEXT_SIZE];

    l->in->refused++;
    log_warn("inner link closed, %s peer=%s cmd=%s", why,
        addr_format(peer, conn_peer(l->conn)), frame_cmd_name(cmd));
    conn_close(l->conn);
    inner_drop(l, false);
}

/* Close the connection that has been silent longest. */
static void refuse_stranger(struct inner *in, const char *why)
{
    struct link *l = LIST_ENTRY(in->strangers.next, struct link, stranger);
    char peer[ADDR_TEXT_SIZE];

    in->refused++;
    if (log_may(&in->refusals, "refused links", 1, INNER_REFUSED_LOG))
        log_warn("inner link closed, %s peer=%s links=%zu strangers=%zu", why,
            addr_format(peer, conn_peer(l->conn)), in->nlinks, in->nstrangers);
    conn_close(l->conn);
    inner_drop(l, false);
}

static void run_command(struct link *l, const struct frame *f)
{
    struct inner *in = l->in;
    int n;

    in->conf.commands->from = l->acking;
    n = commands_run(in->conf.commands, f, &in->answer);
    receipt_note(&l->handled, f->cmd);
    if (++l->untold >= INNER_RECEIPT_ORDERS && l->receipts)
        handled_tell(l);
    if (n == -ENOSYS) {
        char peer[ADDR_TEXT_SIZE];

        log_warn("unknown command cmd=%u peer=%s", f->cmd,
            addr_format(peer, conn_peer(l->conn)));
    } else if (n > 0) {
        framing_reply_encode(
            conn_out(l->conn), in->answer.data, in->answer.len);
        buf_clear(&in->answer);
        buf_shrink(&in->answer, ANSWER_KEEP);
        /* Who asks without reading must wait. */
        if (conn_is_full(l->conn))
            conn_pause(l->conn);
    }
}

static void acknowledge(struct link *l, const uint8_t *packet, size_t len)
{
    const struct inner_conf *conf = &l->in->conf;
    size_t body_len;
    const uint8_t *body = frame_body(packet, len, &body_len);
    int due;

    if (!body) {
        inner_refuse(l, "malformed packet", FRAME_ACK);
        return;
    }
    due = router_acknowledge(
        conf->router, l->acking, conf->commands->roster, body, body_len);
    if (due < 0)
        inner_refuse(l, "acknowledges what it was not given", FRAME_ACK);
    else if (due > 0)
        router_grant(conf->router, l->acking, l->conn);
}

static void hear_wants(struct link *l, const struct frame *f)
{
    if (!l->acking || router_want(l->acking, f->body, f->body_len) < 0)
        inner_refuse(l, "wants to begin what it was not given", f->cmd);
    else
        router_grant(l->in->conf.router, l->acking, l->conn);
}

static void note_hanging(struct link *l, const struct frame *f)
{
    if (!l->acking || router_note_hanging(l->acking, f->body, f->body_len) < 0)
        inner_refuse(l, "hangs in what it was not given", f->cmd);
}

static void hear_renewed(struct link *l, const struct frame *f)
{
    if (!l->acking || router_renewed(l->in->conf.router, l->acking) < 0)
        inner_refuse(l, "has a page that it was not given", f->cmd);
}

/* What a worker says of requests, on the link of its commands. False: something
 * else. */
static bool hear_request(const struct link *l, const struct frame *f)
{
    const struct inner_conf *conf = &l->in->conf;

    if (f->cmd == FRAME_REQUEST_BEGUN)
        conf->on_request_begun(f, router_serial(l->acking), conf->arg);
    else if (f->cmd == FRAME_REQUEST)
        conf->on_reply(f, router_serial(l->acking), conf->arg);
    else
        return false;
    return true;
}

/* What a worker says of itself, on the link of its events. False: something
 * else. */
static bool hear_worker(struct link *l, const struct frame *f)
{
    const struct inner_conf *conf = &l->in->conf;
    bool yes = f->body_len == 1 && f->body[0] == '1';
    uint32_t serial = router_serial(l->worker);

    switch (f->cmd) {
    case FRAME_HANDSHAKE_WATCH:
        router_set_callback(l->worker, ROUTER_ON_HANDSHAKE, yes);
        break;
    case FRAME_REQUEST_WATCH:
        router_set_callback(l->worker, ROUTER_ON_REQUEST, yes);
        break;
    case FRAME_BOUND:
        router_set_callback(l->worker, ROUTER_ON_BOUND, yes);
        break;
    case FRAME_HANDSHAKE:
        conf->on_decision(f, serial, conf->arg);
        break;
    case FRAME_REQUEST:
        conf->on_reply(f, serial, conf->arg);
        break;
    default:
        return false;
    }
    return true;
}

static void on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct link *l = arg;
    struct frame f;

    /* There may be two of them to a message: they get the short way. */
    if (l->acking && frame_cmd(packet) == FRAME_ACK) {
        acknowledge(l, packet, len);
        return;
    }
    if (frame_decode(&f, packet, len) < 0) {
        inner_refuse(l, "malformed packet", len > 4 ? packet[4] : 0);
        return;
    }
    if (l->trusted)
        inner_know(l);
    if (l->worker)
        router_hear(l->worker);
    if (f.cmd == FRAME_WORKER_CONNECT || f.cmd == FRAME_GATEWAY_CLIENT_CONNECT)
        introductions_take(l, &f);
    else if (!l->trusted)
        inner_refuse(l, "no secret key", f.cmd);
    else if ((l->worker && hear_worker(l, &f)) ||
             (l->acking && hear_request(l, &f)))
        return;
    else if (f.cmd == FRAME_ACK)
        inner_refuse(l, "acknowledges what it was not given", f.cmd);
    else if (f.cmd == FRAME_HANGS)
        note_hanging(l, &f);
    else if (f.cmd == FRAME_WANTS)
        hear_wants(l, &f);
    else if (f.cmd == FRAME_LEFT)
        partings_hear(l, &f);
    else if (f.cmd == FRAME_CLAIMS)
        hear_renewed(l, &f);
    else if (f.cmd != FRAME_PING)
        run_command(l, &f);
}

static void on_drain(struct conn *c, void *arg)
{
    struct link *l = arg;

    conn_resume(c);
    if (l->worker)
        router_drained(l->in->conf.router);
}

/* The worker of l has not left: nobody hears its machine any more. */
static void note_absent(const struct link *l, int err)
{
    const struct router_worker *w = l->worker ? l->worker : l->acking;

    if (w && (err == -ETIMEDOUT || err == -EHOSTUNREACH))
        absent_add(&l->in->absent, router_key(w), inner_now(l->in));
}

static void on_close(struct conn *c, int err, void *arg)
{
    struct link *l = arg;
    char peer[ADDR_TEXT_SIZE];

    addr_format(peer, conn_peer(c));
    if (err == -EPROTO || err == -EMSGSIZE)
        log_warn("inner link closed, packet length not valid peer=%s", peer);
    else if (l->worker)
        log_write(conn_queued(c) > 0 && !router_acknowledges(l->worker)
                      ? LOG_NOTICE
                      : LOG_INFO,
            __FILE__, "worker left peer=%s unsent=%zu err=%d", peer,
            conn_queued(c), -err);
    note_absent(l, err);
    inner_drop(l, err == 0 || err == -ECONNRESET || err == -EPIPE);
}

static const struct conn_ops link_ops = {
    .measure = frame_measure,
    .on_packet = on_packet,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void ping_workers(struct inner *in)
{
    struct frame f = {.cmd = FRAME_PING, .flag = FRAME_FLAG_STRING};
    struct list *node;

    router_ping_workers(in->conf.router);
    LIST_FOREACH (node, &in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        if (l->aside)
            frame_encode(conn_out(l->conn), &f);
    }
}

/* One whose worker has lost its other link, and has been waited for long
 * enough; NULL: none. */
static struct link *find_alone(const struct inner *in)
{
    struct list *node;

    LIST_FOREACH (node, &in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        if (l->alone > INNER_LAST_WORD &&
            (l->leaves || router_has_claimed(l->acking)))
            return l;
    }
    return NULL;
}

/* A worker that was killed ends both links at once. One that is stopped does
 * not, and its clients would wait until it goes on, for nothing: what it has
 * begun stands in its page of claims, and it begins nothing more; or partings.c
 * waits for it as for others. Ticks are
 * counted, not time, so that what has come while this process was stopped is
 * read before. */
static void end_waits_for_last_words(struct inner *in)
{
    struct list *node;
    struct link *l;

    LIST_FOREACH (node, &in->links) {
        l = LIST_ENTRY(node, struct link, node);
        l->alone += l->alone > 0;
    }
    while ((l = find_alone(in))) {
        log_notice("a worker that has lost its event link keeps the other one "
                   "open, others get its events");
        conn_close(l->conn);
        inner_drop(l, false);
    }
}

/* Clients that say nothing are told of in batches, so that events which others
 * cause meanwhile wait for one batch at most. */
static void on_binds(uv_timer_t *timer)
{
    struct inner *in = timer->data;

    if (router_bind_orphans(in->conf.router, in->conf.commands->roster))
        uv_timer_start(timer, on_binds, BINDS_MS, 0);
}

static void on_tick(uv_timer_t *timer)
{
    struct inner *in = timer->data;
    uint64_t patience = (uint64_t)(INNER_AUTH_TIMEOUT * 1000);

    /* Without a key nobody has to say anything. */
    while (
        *in->conf.secret_key && !list_empty(&in->strangers) &&
        inner_now(in) -
                LIST_ENTRY(in->strangers.next, struct link, stranger)->since >=
            patience)
        refuse_stranger(in, "it did not say who it is in time");
    if (in->conf.ping_workers &&
        inner_now(in) - in->pinged >= (uint64_t)(INNER_PING * 1000)) {
        in->pinged = inner_now(in);
        ping_workers(in);
    }
    introductions_expire(in);
    end_waits_for_last_words(in);
    partings_tick(in);
    handled_tell_all(in);
    router_tick(in->conf.router);
    router_watch(in->conf.router, in->conf.commands->roster);
    if (!uv_is_active((uv_handle_t *)&in->binds))
        on_binds(&in->binds);
}

/* Keys of workers and lines of the log have an address, as with TCP. */
static void name_local_peer(struct link *l)
{
    union addr own = {.in = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(l->in->conf.local_ip)}};

    if (conn_peer(l->conn)->sa.sa_family == AF_UNIX)
        conn_call_peer(l->conn, &own);
}

static void on_accept(
    struct listener *listener, int fd, const union addr *peer, void *arg)
{
    struct inner *in = arg;
    bool trusted = *in->conf.secret_key == '\0';
    struct conn_limits limits = {
        .packet_max =
            trusted ? frame_max(in->conf.packet_max) : INNER_STRANGER_MAX,
        .high_water = in->conf.high_water,
    };
    struct link *l;

    if (in->nlinks - in->nstrangers >= INNER_LINKS_MAX) {
        in->refused++;
        if (log_may(&in->refusals, "refused links", 1, INNER_REFUSED_LOG))
            log_warn("inner link refused, too many links=%zu", in->nlinks);
        close(fd);
        return;
    }
    if (in->nstrangers >= INNER_STRANGERS_MAX)
        refuse_stranger(in, "one more has come that says nothing");
    l = xcalloc(1, sizeof(*l));
    l->in = in;
    l->since = inner_now(in);
    l->trusted = trusted;
    l->conn = conn_open(in->conf.turn, fd, &link_ops, &limits, l);
    if (!l->conn) {
        free(l);
        return;
    }
    name_local_peer(l);
    list_push_back(&in->links, &l->node);
    list_push_back(&in->strangers, &l->stranger);
    in->nlinks++;
    in->nstrangers++;
}

/* Workers come by TCP where this does not work. */
static void open_local(struct inner *in, int fd)
{
    int err =
        listener_open(&in->local, turn_loop(in->conf.turn), fd, on_accept, in);

    if (err == 0)
        return;
    close(fd);
    log_warn(
        "no unix socket for workers of this machine err=%s", uv_strerror(err));
}

int inner_open(
    struct inner **out, int fd, int local_fd, const struct inner_conf *conf)
{
    struct inner *in = xcalloc(1, sizeof(*in));
    uv_loop_t *loop = turn_loop(conf->turn);
    int err;

    in->conf = *conf;
    list_init(&in->links);
    list_init(&in->strangers);
    list_init(&in->partings);
    err = listener_open(&in->listener, loop, fd, on_accept, in);
    if (err < 0) {
        free(in);
        return err;
    }
    if (local_fd > 0)
        open_local(in, local_fd);
    uv_timer_init(loop, &in->timer);
    in->timer.data = in;
    uv_timer_init(loop, &in->binds);
    in->binds.data = in;
    in->pinged = inner_now(in);
    uv_timer_start(&in->timer, on_tick, TICK_MS, TICK_MS);
    *out = in;
    return 0;
}

static void end(struct inner *in, void (*close_conn)(struct conn *c))
{
    struct list *node;

    in->ends = true;
    LIST_FOREACH (node, &in->links)
        close_conn(LIST_ENTRY(node, struct link, node)->conn);
    while (!list_empty(&in->links))
        inner_drop(LIST_ENTRY(in->links.next, struct link, node), false);
    partings_end(in);
    listener_close(in->listener);
    if (in->local)
        listener_close(in->local);
    buf_fini(&in->answer);
    absent_fini(&in->absent);
    handle_close_both(&in->timer, &in->binds, in);
}

void inner_close(struct inner *in)
{
    end(in, conn_close);
}

void inner_close_flushed(struct inner *in)
{
    handled_tell_all(in);
    end(in, conn_close_flushed);
}

uint64_t inner_refused(const struct inner *in)
{
    return in->refused;
}

void inner_report(struct inner *in, reach_link_cb each, void *arg)
{
    router_report(in->conf.router, each, arg);
    absent_report(&in->absent, inner_now(in), each, arg);
}
