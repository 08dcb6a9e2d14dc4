/* Who is behind a link: what it says of itself first, and what comes of it. A
 * worker has two links, for events and for commands. They say the same pair, a
 * number at random, on which the gateway knows that they belong together,
 * whatever lies in between and changes addresses; the one for commands may be
 * heard later, so the other one waits for it. A worker is known by its key, and
 * no two links have the same one. */
#include <stdlib.h>
#include <string.h>

#include "gateway/inner_impl.h"
#include "util/alloc.h"
#include "util/secret.h"
#include "wire/bigendian.h"
#include "wire/framing.h"

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
        inner_drop(l, false);
        return;
    }
}

/* The link of the worker that has this key, or NULL. */
static struct link *find_owner(const struct inner *in, const char *key)
{
    struct router_worker *w = router_find_worker(in->conf.router, key);

    return w ? inner_link_of(in, w, false) : NULL;
}

/* Nothing came for a heartbeat, since somebody first wanted the key. A worker
 * on this machine sends none, but the kernel tells at once when it ends. */
static bool is_silent(struct link *l)
{
    const struct inner *in = l->in;
    uint64_t bytes = conn_bytes_in(l->conn);

    if (bytes != l->heard_bytes) {
        l->heard_bytes = bytes;
        l->heard_at = inner_now(in);
    }
    return in->conf.ping_workers &&
           inner_now(in) - l->heard_at >= (uint64_t)(INNER_SILENCE * 1000);
}

/* Whether l may have the key of old. Two workers of one name on one host would
 * otherwise take it from each other for ever, and no client would be served.
 *
 *   old ended, or is silent for a heartbeat | yes
 *   l is of the same process                | yes, the worker came again
 *   l is of another process                 | no
 *   one of them does not say, as PHP's      | yes, but not for the third time
 *                                           | within INNER_HANDOVER_TIME
 */
static bool may_replace(struct link *l, struct link *old)
{
    uint64_t at = inner_now(l->in);
    bool same =
        l->process && old->process && strcmp(l->process, old->process) == 0;

    if (conn_has_ended(old->conn) || is_silent(old))
        return true;
    if (l->process && old->process && !same)
        return false;
    l->handovers = old->handovers;
    l->handovers_at = old->handovers_at;
    l->kept = old->kept;
    if (same)
        return true;
    if (at - l->handovers_at >= (uint64_t)(INNER_HANDOVER_TIME * 1000)) {
        l->handovers = 0;
        l->handovers_at = at;
    }
    old->kept |= ++l->handovers >= INNER_HANDOVERS;
    return !old->kept;
}

static void refuse_namesake(struct link *l, const char *name)
{
    char peer[ADDR_TEXT_SIZE];
    char quoted[LOG_QUOTE_SIZE];

    l->in->refused++;
    if (log_may(&l->in->namesakes, "refused workers", 1, INNER_REFUSED_LOG))
        log_error("worker refused, another process on its host has the same "
                  "name and number and goes on: give them different names "
                  "(name of workers; in PHP $worker->name) peer=%s key=%s",
            addr_format(peer, conn_peer(l->conn)),
            log_quote(quoted, name, strlen(name)));
    conn_close(l->conn);
    inner_drop(l, false);
}

/* A worker that acknowledges and comes again does not go on with its clients:
 * what it did before is settled when its other link ends, too. */
static void end_predecessor(struct link *old)
{
    conn_close(old->conn);
    inner_drop(old, true);
}

/* The link that said the same pair, on which the worker behind l sends its
 * commands; NULL: it is not here. */
static struct link *find_commands(const struct link *l, const char *pair)
{
    struct list *node;

    LIST_FOREACH (node, &l->in->links) {
        struct link *c = LIST_ENTRY(node, struct link, node);

        if (c != l && c->pair && !c->acking && !c->worker && !c->waits &&
            secret_equal_text(pair, c->pair))
            return c;
    }
    return NULL;
}

static bool offers(const struct cmdjson_auth *auth, const char *feature)
{
    return auth->gwrun > 0 && cmdjson_has_feature(auth, feature);
}

#define LIMITS_LEN 16

static void put_limits(uint8_t body[LIMITS_LEN], const struct inner_conf *conf)
{
    put32(body, conf->groups_max);
    put32(body + 4, (uint32_t)frame_max(conf->packet_max));
    put32(body + 8, (uint32_t)conf->session_max);
    put32(body + 12, FRAME_TAKES_LABELS | FRAME_TAKES_DEMANDS);
}

static void tell_limits(const struct link *l)
{
    struct frame limits = {.cmd = FRAME_LIMITS, .flag = FRAME_FLAG_STRING};
    uint8_t body[LIMITS_LEN];

    put_limits(body, &l->in->conf);
    limits.body = body;
    limits.body_len = sizeof(body);
    router_put_on(l->in->conf.router, l->conn, &limits);
}

/* On a link that has answers only; none of them begins with that byte. */
static void tell_program(struct link *l)
{
    uint8_t answer[1 + LIMITS_LEN] = {FRAME_LIMITS};

    if (l->is_told)
        return;
    l->is_told = true;
    put_limits(answer + 1, &l->in->conf);
    framing_reply_encode(conn_out(l->conn), answer, sizeof(answer));
}

static void tell_name(const struct link *l)
{
    const struct inner_conf *conf = &l->in->conf;
    struct frame f = {.cmd = FRAME_NAME, .flag = FRAME_FLAG_STRING};

    f.body = (const uint8_t *)conf->name;
    f.body_len = strlen(conf->name);
    router_put_on(conf->router, l->conn, &f);
}

static void tell_about_us(const struct link *l, const struct cmdjson_auth *auth)
{
    if (offers(auth, "limits"))
        tell_limits(l);
    if (l->in->conf.name && offers(auth, "name"))
        tell_name(l);
}

static bool is_of_our_machine(
    const struct inner_conf *conf, const struct cmdjson_auth *auth)
{
    return conf->machine && auth->machine &&
           secret_equal_text(auth->machine, conf->machine);
}

/* What a worker begins, it says on the link on which it acknowledges. */
static bool takes_requests(
    const struct cmdjson_auth *auth, const struct link *commands)
{
    return commands && offers(auth, "request");
}

static unsigned callbacks_of(
    const struct cmdjson_auth *auth, const struct link *commands)
{
    unsigned callbacks = 0;

    if (offers(auth, "on_handshake"))
        callbacks |= ROUTER_ON_HANDSHAKE;
    if (takes_requests(auth, commands) && offers(auth, "on_request"))
        callbacks |= ROUTER_ON_REQUEST;
    if (commands && offers(auth, "bound") && offers(auth, "on_bound"))
        callbacks |= ROUTER_ON_BOUND;
    if (takes_requests(auth, commands) && offers(auth, "api"))
        callbacks |= ROUTER_API;
    return callbacks;
}

/* The worker is to say when its script has another set of callbacks. */
static void watch(const struct link *l, uint8_t cmd)
{
    struct frame f = {.cmd = cmd};

    router_put(l->in->conf.router, l->worker, &f);
}

static void become_worker(struct link *l, const struct cmdjson_auth *auth,
    const char *name, const char *key)
{
    struct inner *in = l->in;
    struct link *commands =
        offers(auth, "ack") && auth->pair ? find_commands(l, auth->pair) : NULL;
    struct router_features features = {
        .close_info = offers(auth, "close_info"),
        .client_addr = offers(auth, "client_addr"),
        .handshake = offers(auth, "handshake"),
        .callbacks = callbacks_of(auth, commands),
        .answers = offers(auth, "handshake_answer"),
        .acks = commands != NULL,
        .session = commands && offers(auth, "session"),
        .types = offers(auth, "types"),
        .is_local = is_of_our_machine(&in->conf, auth),
        .claims = commands && offers(auth, "claims") &&
                  is_of_our_machine(&in->conf, auth),
        .window = commands && offers(auth, "window") &&
                  !is_of_our_machine(&in->conf, auth),
        .stalls = commands && offers(auth, "claims") && offers(auth, "stall") &&
                  is_of_our_machine(&in->conf, auth),
        .requests = takes_requests(auth, commands),
        .bound = commands && offers(auth, "bound"),
        .book = commands && offers(auth, "book") &&
                is_of_our_machine(&in->conf, auth),
        .arrived =
            offers(auth, "arrived") && is_of_our_machine(&in->conf, auth),
        .far_book = commands && offers(auth, "far_book"),
        .others = commands && offers(auth, "far_book"),
    };
    char host[ADDR_TEXT_SIZE];
    char quoted[LOG_QUOTE_SIZE];
    struct conn *replaced;

    addr_format_host(host, conn_peer(l->conn));
    if (commands && offers(auth, "receipts"))
        handled_begin(commands, l);
    if (commands && offers(auth, "left") && auth->process && !features.is_local)
        partings_join(commands, l, auth->process, key);
    l->worker =
        router_add_worker(in->conf.router, l->conn, key, features, &replaced);
    if (!l->worker) {
        inner_refuse(l, "too many workers", FRAME_WORKER_CONNECT);
        return;
    }
    if (commands)
        commands->acking = l->worker;
    absent_strike(&in->absent, key);
    log_write(replaced || !commands ? LOG_NOTICE : LOG_INFO, __FILE__,
        "worker joined peer=%s key=%s replaced=%d acknowledges=%d local=%d",
        host, log_quote(quoted, name, strlen(name)), replaced != NULL,
        commands != NULL, features.is_local);
    if (replaced) {
        drop_replaced(in, replaced);
        in->conf.on_worker_gone(router_serial(l->worker), in->conf.arg);
    }
    if (features.handshake)
        watch(l, FRAME_HANDSHAKE_WATCH);
    if (features.requests)
        watch(l, FRAME_REQUEST_WATCH);
    if (features.bound)
        watch(l, FRAME_BOUND);
    tell_about_us(l, auth);
    in->conf.on_worker(in->conf.arg);
}

/* Are events for it? Its key is its name, a colon and a number. */
static bool is_of_our_kind(const struct inner_conf *conf, const char *key)
{
    const char *colon = strrchr(key, ':');
    size_t len = colon ? (size_t)(colon - key) : strlen(key);

    return !conf->workers || (strlen(conf->workers) == len &&
                                 memcmp(conf->workers, key, len) == 0);
}

/* It sends commands as any program may; what else a worker is told, it is. */
static void stand_aside(
    struct link *l, const struct cmdjson_auth *auth, const char *name)
{
    char peer[ADDR_TEXT_SIZE];
    char quoted[LOG_QUOTE_SIZE];

    l->aside = true;
    log_info("worker of another kind joined, it gets no events peer=%s key=%s",
        addr_format(peer, conn_peer(l->conn)),
        log_quote(quoted, name, strlen(name)));
    tell_about_us(l, auth);
}

static void want_key(
    struct link *l, const struct cmdjson_auth *auth, const char *name)
{
    char host[ADDR_TEXT_SIZE];
    char *key =
        xasprintf("%s:%s", addr_format_host(host, conn_peer(l->conn)), name);
    struct link *old = find_owner(l->in, key);

    if (auth->process)
        l->process = xstrdup(auth->process);
    if (old && !may_replace(l, old)) {
        refuse_namesake(l, name);
    } else {
        if (old && router_acknowledges(old->worker))
            end_predecessor(old);
        become_worker(l, auth, name, key);
    }
    free(key);
}

static void introduce_worker(struct link *l, const struct cmdjson_auth *auth)
{
    const char *name = auth->worker_key ? auth->worker_key : "";

    if (is_of_our_kind(&l->in->conf, name))
        want_key(l, auth, name);
    else
        stand_aside(l, auth, name);
}

/* The worker's link for commands was opened first, but what comes on it may
 * come later. auth is taken over. */
static void await_commands(struct link *l, struct cmdjson_auth *auth)
{
    l->waits = xcalloc(1, sizeof(*l->waits));
    *l->waits = *auth;
    *auth = (struct cmdjson_auth){0};
    l->waits_since = inner_now(l->in);
}

static void end_wait(struct link *l)
{
    struct cmdjson_auth auth = *l->waits;

    free(l->waits);
    l->waits = NULL;
    introduce_worker(l, &auth); /* l may be gone */
    cmdjson_fini_auth(&auth);
}

/* The link with a worker's commands is here: does the worker wait for that? */
static void take_pair(struct link *l, struct cmdjson_auth *auth)
{
    struct list *node;

    if (!auth->pair || l->pair || l->worker || l->waits)
        return;
    l->pair = auth->pair;
    auth->pair = NULL;
    LIST_FOREACH (node, &l->in->links) {
        struct link *events = LIST_ENTRY(node, struct link, node);

        if (events->waits && secret_equal_text(l->pair, events->waits->pair)) {
            end_wait(events);
            return;
        }
    }
}

void introductions_take(struct link *l, const struct frame *f)
{
    const char *secret_key = l->in->conf.secret_key;
    struct cmdjson_auth auth;

    if (cmdjson_parse_auth(&auth, f->body, f->body_len) < 0) {
        inner_refuse(l, "introduction not valid", f->cmd);
        return;
    }
    if (*secret_key && !secret_is_one_of(auth.secret_key, secret_key,
                           l->in->conf.secret_key_also)) {
        inner_refuse(l, "wrong secret key", f->cmd);
        cmdjson_fini_auth(&auth);
        return;
    }
    l->trusted = true;
    inner_know(l);
    conn_set_packet_max(l->conn, frame_max(l->in->conf.packet_max));
    if (f->cmd == FRAME_GATEWAY_CLIENT_CONNECT) {
        if (offers(&auth, "limits"))
            tell_program(l);
        take_pair(l, &auth);
    } else if (!l->worker && !l->aside && !l->waits) {
        if (offers(&auth, "ack") && auth.pair && !find_commands(l, auth.pair))
            await_commands(l, &auth);
        else
            introduce_worker(l, &auth);
    }
    cmdjson_fini_auth(&auth);
}

/* The first that has waited too long; NULL: none has. */
static struct link *find_expired(const struct inner *in)
{
    struct list *node;

    LIST_FOREACH (node, &in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        if (l->waits && inner_now(in) - l->waits_since >=
                            (uint64_t)(INNER_PAIR_TIMEOUT * 1000))
            return l;
    }
    return NULL;
}

void introductions_expire(struct inner *in)
{
    struct link *l;

    while ((l = find_expired(in)))
        end_wait(l);
}

void introductions_forget(struct link *l)
{
    if (l->waits)
        cmdjson_fini_auth(l->waits);
    free(l->waits);
    free(l->process);
    free(l->pair);
}
