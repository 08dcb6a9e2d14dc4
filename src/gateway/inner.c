#include "gateway/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/conn.h"
#include "net/listener.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/cmdjson.h"
#include "wire/frame.h"
#include "wire/framing.h"

#define TICK_MS     1000
#define ANSWER_KEEP (64 * 1024) /* bytes kept of the answer buffer */
#define REFUSED_LOG 10000       /* ms; one line about refusals in it */

struct inner {
    struct inner_conf conf;
    struct listener *listener; /* owned */
    uv_timer_t timer;
    struct list links; /* struct link */
    size_t nlinks;
    struct log_share refusals;
    struct buf answer; /* of the command being run */
    uint64_t pinged;   /* ms, clock_now */
};

struct link {
    struct list node;
    struct inner *in;             /* borrowed */
    struct conn *conn;            /* owned */
    struct router_worker *worker; /* owned by the router; NULL: no worker */
    /* Whose acknowledgements come here: owned by the router until this link
     * ends; NULL: nobody's. */
    struct router_worker *acking;
    uint64_t since; /* ms, clock_now */
    bool trusted;   /* the key was right, or there is none */
};

static uint64_t now(const struct inner *in)
{
    return clock_now(turn_loop(in->conf.turn));
}

/* The link that brings w its events, or the one that brings what w says of
 * them; NULL when it has ended. */
static struct link *link_of(
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

/* Forget it; its conn is closed by the caller or gone. certain: it brought all
 * that was sent. Of a worker that acknowledges the other link may bring more;
 * that one ends with this one only if nothing more can be hoped for. */
static void drop_link(struct link *l, bool certain)
{
    struct inner *in = l->in;
    struct router_worker *w = l->worker;
    struct router_worker *acking = l->acking;
    struct link *other = NULL;

    list_remove(&l->node);
    in->nlinks--;
    free(l);
    if (acking)
        other = link_of(in, acking, false);
    else if (w && !certain)
        other = link_of(in, w, true);
    if (w) {
        uint32_t serial = router_serial(w);

        router_remove_worker(in->conf.router, w);
        in->conf.on_worker_gone(serial, in->conf.arg);
    }
    if (other) {
        conn_close(other->conn);
        drop_link(other, acking || certain);
    }
    if (acking)
        router_settle(
            in->conf.router, acking, in->conf.commands->clients, certain);
}

static void refuse(struct link *l, const char *why, uint8_t cmd)
{
    char peer[ADDR_TEXT_SIZE];

    log_warn("inner link closed, %s peer=%s cmd=%s", why,
        addr_format(peer, conn_peer(l->conn)), frame_cmd_name(cmd));
    conn_close(l->conn);
    drop_link(l, false);
}

/* Takes as long wherever they differ. */
static bool same_key(const char *got, const char *want)
{
    size_t got_len = strlen(got);
    size_t want_len = strlen(want);
    unsigned diff = got_len != want_len;

    for (size_t i = 0; i < got_len; i++)
        diff |= (unsigned)(uint8_t)got[i] ^
                (unsigned)(uint8_t)want[want_len > 0 ? i % want_len : 0];
    return diff == 0;
}

/* The link that had the worker before another one took its place. */
static void drop_replaced(struct inner *in, const struct conn *conn)
{
    struct list *node;

    LIST_FOREACH (node, &in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        if (l->conn != conn)
            continue;
        l->worker = NULL; /* it lives on */
        conn_close(l->conn);
        drop_link(l, false);
        return;
    }
}

/* A worker that acknowledges and comes again does not go on with its clients:
 * what it did before is settled when its other link ends, too. */
static void drop_predecessor(struct inner *in, const char *key)
{
    struct router_worker *w = router_find_worker(in->conf.router, key);
    struct link *l = w && router_acknowledges(w) ? link_of(in, w, false) : NULL;

    if (!l)
        return;
    conn_close(l->conn);
    drop_link(l, true);
}

/* The other link of the worker behind l, on which it is to acknowledge: it
 * says from which port it was opened. NULL: somebody between us hides it. */
static struct link *find_commands(
    const struct link *l, const struct cmdjson_auth *auth)
{
    char host[ADDR_TEXT_SIZE], other[ADDR_TEXT_SIZE];
    struct list *node;

    addr_format_host(host, conn_peer(l->conn));
    LIST_FOREACH (node, &l->in->links) {
        struct link *c = LIST_ENTRY(node, struct link, node);
        const union addr *peer = conn_peer(c->conn);

        if (c != l && !c->worker && !c->acking && auth->commands_port != 0 &&
            addr_port(peer) == auth->commands_port &&
            strcmp(addr_format_host(other, peer), host) == 0)
            return c;
    }
    return NULL;
}

static bool offers(const struct cmdjson_auth *auth, const char *feature)
{
    return auth->gwrun > 0 && cmdjson_has_feature(auth, feature);
}

static void become_worker(struct link *l, const struct cmdjson_auth *auth)
{
    struct inner *in = l->in;
    const char *name = auth->worker_key ? auth->worker_key : "";
    struct link *commands = offers(auth, "ack") ? find_commands(l, auth) : NULL;
    struct router_features features = {
        .close_info = offers(auth, "close_info"),
        .client_addr = offers(auth, "client_addr"),
        .handshake = offers(auth, "handshake"),
        .decides = offers(auth, "on_handshake"),
        .acks = commands != NULL,
    };
    char host[ADDR_TEXT_SIZE];
    char quoted[LOG_QUOTE_SIZE];
    struct conn *replaced;
    char *key;

    addr_format_host(host, conn_peer(l->conn));
    key = xasprintf("%s:%s", host, name);
    drop_predecessor(in, key);
    l->worker =
        router_add_worker(in->conf.router, l->conn, key, features, &replaced);
    free(key);
    if (!l->worker) {
        refuse(l, "too many workers", FRAME_WORKER_CONNECT);
        return;
    }
    if (commands)
        commands->acking = l->worker;
    log_write(replaced ? LOG_NOTICE : LOG_INFO, __FILE__,
        "worker joined peer=%s key=%s replaced=%d acknowledges=%d", host,
        log_quote(quoted, name, strlen(name)), replaced != NULL,
        commands != NULL);
    if (replaced) {
        drop_replaced(in, replaced);
        in->conf.on_worker_gone(router_serial(l->worker), in->conf.arg);
    }
    if (features.handshake) {
        struct frame watch = {.cmd = FRAME_HANDSHAKE_WATCH};

        router_put(in->conf.router, l->worker, &watch);
    }
    in->conf.on_worker(in->conf.arg);
}

static void authenticate(struct link *l, const struct frame *f)
{
    const char *secret_key = l->in->conf.secret_key;
    struct cmdjson_auth auth;

    if (cmdjson_parse_auth(&auth, f->body, f->body_len) < 0) {
        refuse(l, "introduction not valid", f->cmd);
        return;
    }
    if (*secret_key && !same_key(auth.secret_key, secret_key)) {
        refuse(l, "wrong secret key", f->cmd);
    } else {
        l->trusted = true;
        conn_set_packet_max(l->conn, FRAME_MAX_LEN);
        if (f->cmd == FRAME_WORKER_CONNECT && !l->worker)
            become_worker(l, &auth);
    }
    cmdjson_fini_auth(&auth);
}

static void run_command(struct link *l, const struct frame *f)
{
    struct inner *in = l->in;
    int n = commands_run(in->conf.commands, f, &in->answer);

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

static void acknowledge(struct link *l, const struct frame *f)
{
    if (!l->acking || router_acknowledge(l->in->conf.router, l->acking, f->body,
                          f->body_len) < 0)
        refuse(l, "acknowledges what it was not given", f->cmd);
}

static void on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct link *l = arg;
    struct frame f;

    if (frame_decode(&f, packet, len) < 0)
        refuse(l, "malformed packet", len > 4 ? packet[4] : 0);
    else if (f.cmd == FRAME_WORKER_CONNECT ||
             f.cmd == FRAME_GATEWAY_CLIENT_CONNECT)
        authenticate(l, &f);
    else if (!l->trusted)
        refuse(l, "no secret key", f.cmd);
    else if (l->worker && f.cmd == FRAME_HANDSHAKE_WATCH)
        router_set_decides(l->worker, f.body_len == 1 && f.body[0] == '1');
    else if (l->worker && f.cmd == FRAME_HANDSHAKE)
        l->in->conf.on_decision(&f, router_serial(l->worker), l->in->conf.arg);
    else if (f.cmd == FRAME_ACK)
        acknowledge(l, &f);
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
    drop_link(l, err == 0 || err == -ECONNRESET || err == -EPIPE);
}

static const struct conn_ops link_ops = {
    .measure = frame_measure,
    .on_packet = on_packet,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void on_accept(
    struct listener *listener, int fd, const union addr *peer, void *arg)
{
    struct inner *in = arg;
    bool trusted = *in->conf.secret_key == '\0';
    struct conn_limits limits = {
        .packet_max = trusted ? FRAME_MAX_LEN : INNER_STRANGER_MAX,
        .high_water = in->conf.high_water,
    };
    struct link *l;

    if (in->nlinks >= INNER_LINKS_MAX) {
        if (log_may(&in->refusals, "refused links", 1, REFUSED_LOG))
            log_warn("inner link refused, too many links=%zu", in->nlinks);
        close(fd);
        return;
    }
    l = xcalloc(1, sizeof(*l));
    l->in = in;
    l->since = now(in);
    l->trusted = trusted;
    l->conn = conn_open(in->conf.turn, fd, &link_ops, &limits, l);
    if (!l->conn) {
        free(l);
        return;
    }
    list_push_back(&in->links, &l->node);
    in->nlinks++;
}

static void on_tick(uv_timer_t *timer)
{
    struct inner *in = timer->data;
    struct list *node;
    struct list *next;

    LIST_FOREACH_SAFE (node, next, &in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        bool alone = !l->acking; /* else next may end with it */

        if (l->trusted ||
            now(in) - l->since < (uint64_t)(INNER_AUTH_TIMEOUT * 1000))
            continue;
        refuse(l, "no secret key in time", 0);
        if (!alone)
            break;
    }
    if (in->conf.ping_workers &&
        now(in) - in->pinged >= (uint64_t)(INNER_PING * 1000)) {
        in->pinged = now(in);
        router_ping_workers(in->conf.router);
    }
}

int inner_open(struct inner **out, int fd, const struct inner_conf *conf)
{
    struct inner *in = xcalloc(1, sizeof(*in));
    uv_loop_t *loop = turn_loop(conf->turn);
    int err;

    in->conf = *conf;
    list_init(&in->links);
    err = listener_open(&in->listener, loop, fd, on_accept, in);
    if (err < 0) {
        free(in);
        return err;
    }
    uv_timer_init(loop, &in->timer);
    in->timer.data = in;
    in->pinged = now(in);
    if (*conf->secret_key || conf->ping_workers)
        uv_timer_start(&in->timer, on_tick, TICK_MS, TICK_MS);
    *out = in;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct inner *in = handle->data;

    buf_fini(&in->answer);
    free(in);
}

static void end(struct inner *in, void (*close_conn)(struct conn *c))
{
    struct list *node;

    LIST_FOREACH (node, &in->links)
        close_conn(LIST_ENTRY(node, struct link, node)->conn);
    while (!list_empty(&in->links))
        drop_link(LIST_ENTRY(in->links.next, struct link, node), false);
    listener_close(in->listener);
    uv_close((uv_handle_t *)&in->timer, on_timer_closed);
}

void inner_close(struct inner *in)
{
    end(in, conn_close);
}

void inner_close_flushed(struct inner *in)
{
    end(in, conn_close_flushed);
}
