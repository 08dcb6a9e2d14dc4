#include "gateway/router.h"

#include <errno.h>
#include <string.h>

#include "gateway/client_io.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/frame.h"
#include "wire/phpser.h"

#define SCRATCH_KEEP (64 * 1024) /* bytes kept of the close-info buffer */

struct router_worker {
    struct conn *conn; /* borrowed */
    char *key;         /* owned */
    uint64_t key_hash; /* the same in every gateway */
    size_t clients;    /* bound to it */
    uint32_t serial;   /* tells it from others that had its slot */
    uint16_t slot;
    struct router_features features;
};

/* An event that waits for a worker. */
struct held {
    struct list node;
    struct client *client; /* kept alive by client->held */
    size_t len;
    uint8_t cmd;
    uint8_t body[];
};

struct router {
    struct router_conf conf;
    struct router_worker **workers; /* owned, and what it points to; by slot */
    size_t nslots, nworkers;
    uint32_t last_serial;
    struct list held;   /* struct held, oldest first */
    struct list paused; /* clients not read from */
    size_t nheld, held_bytes, npaused;
    struct router_counters counters;
    bool decided;      /* router_asks() when there were workers last */
    size_t last_asked; /* slot */
    uint64_t random;
    struct buf scratch; /* of router_close() */
};

struct router *router_new(const struct router_conf *conf)
{
    struct router *r = xcalloc(1, sizeof(*r));

    r->conf = *conf;
    list_init(&r->held);
    list_init(&r->paused);
    /* Seeded by the process's own hash key; xorshift needs it odd. */
    r->random = ((uint64_t)hash_bytes("router", 6) << 32) | 1;
    return r;
}

static void free_worker(struct router_worker *w)
{
    free(w->key);
    free(w);
}

static void unhold(struct router *r, struct held *h)
{
    list_remove(&h->node);
    r->nheld--;
    r->held_bytes -= sizeof(*h) + h->len;
    h->client->held--;
    clients_release(h->client);
    free(h);
}

void router_free(struct router *r)
{
    struct list *node;
    struct list *next;

    r->counters.lost += r->nheld;
    if (r->nheld > 0)
        log_warn("events lost, no worker took them count=%zu", r->nheld);
    LIST_FOREACH_SAFE (node, next, &r->held)
        unhold(r, LIST_ENTRY(node, struct held, node));
    LIST_FOREACH_SAFE (node, next, &r->paused)
        list_remove(node);
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            free_worker(r->workers[i]);
    free(r->workers);
    buf_fini(&r->scratch);
    free(r);
}

/* The living worker that c is bound to, or NULL. */
static struct router_worker *bound_worker(
    const struct router *r, const struct client *c)
{
    struct router_worker *w = NULL;

    if (c->worker_serial != 0 && c->worker_slot < r->nslots)
        w = r->workers[c->worker_slot];
    return w && w->serial == c->worker_serial ? w : NULL;
}

static void unbind(struct router *r, struct client *c)
{
    struct router_worker *w = bound_worker(r, c);

    if (w)
        w->clients--;
    c->worker_serial = 0;
}

static struct router_worker *least_busy(const struct router *r)
{
    struct router_worker *best = NULL;

    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[i];

        if (w && !conn_is_full(w->conn) &&
            (!best || w->clients < best->clients))
            best = w;
    }
    return best;
}

static struct router_worker *any_with_room(struct router *r)
{
    size_t start;

    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    start = r->nslots > 0 ? (size_t)(r->random % r->nslots) : 0;
    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[(start + i) % r->nslots];

        if (w && !conn_is_full(w->conn))
            return w;
    }
    return NULL;
}

/* A hash that all gateways share. */
static uint64_t stable_hash(const void *data, size_t len)
{
    static const uint8_t key[16];

    return hash_siphash(data, len, key);
}

/* Rendezvous hashing: the highest score wins, so that a worker that comes or
 * goes moves only its own share, and every gateway decides alike. */
static struct router_worker *by_hash(const struct router *r, uint64_t hash)
{
    struct router_worker *best = NULL;
    uint64_t best_score = 0;

    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[i];
        uint64_t pair[2];
        uint64_t score;

        if (!w)
            continue;
        pair[0] = hash;
        pair[1] = w->key_hash;
        score = stable_hash(pair, sizeof(pair));
        if (!best || score > best_score) {
            best = w;
            best_score = score;
        }
    }
    return best && !conn_is_full(best->conn) ? best : NULL;
}

static uint64_t address_hash(const union addr *peer)
{
    if (peer->sa.sa_family == AF_INET6)
        return stable_hash(&peer->in6.sin6_addr, sizeof(peer->in6.sin6_addr));
    return stable_hash(&peer->in.sin_addr, sizeof(peer->in.sin_addr));
}

static struct router_worker *find_worker(
    const struct router *r, const char *key)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && strcmp(r->workers[i]->key, key) == 0)
            return r->workers[i];
    return NULL;
}

static struct router_worker *by_function(
    const struct router *r, const struct client *c)
{
    const struct clients_name *uid = c->uid.name;
    char host[ADDR_TEXT_SIZE];
    const struct gateway_newcomer newcomer = {
        .remote_addr = addr_format_host(host, &c->peer),
        .remote_port = addr_port(&c->peer),
        .gateway_port = r->conf.gateway_port,
        .uid = uid ? uid->text : NULL,
        .uid_len = uid ? uid->len : 0,
    };
    struct gateway_candidate *list = xcalloc(r->nslots + 1, sizeof(*list));
    struct router_worker *chosen = NULL;
    size_t count = 0;
    int place = -1;

    for (size_t i = 0; i < r->nslots; i++) {
        const struct router_worker *w = r->workers[i];

        if (w && !conn_is_full(w->conn))
            list[count++] = (struct gateway_candidate){w->key, w->clients};
    }
    if (count > 0)
        place = r->conf.choose(list, count, &newcomer, r->conf.choose_arg);
    if (place >= 0 && (size_t)place < count)
        chosen = find_worker(r, list[place].key);
    free(list);
    return chosen ? chosen : least_busy(r);
}

/* A worker with room for a client that is bound to none, or NULL. */
static struct router_worker *choose(struct router *r, const struct client *c)
{
    const struct clients_name *uid = c->uid.name;

    switch (r->conf.mode) {
    case GATEWAY_ROUTER_RANDOM:
        return any_with_room(r);
    case GATEWAY_ROUTER_HASH_UID:
        if (uid)
            return by_hash(r, stable_hash(uid->text, uid->len));
        return by_hash(r, address_hash(&c->peer));
    case GATEWAY_ROUTER_HASH_IP:
        return by_hash(r, address_hash(&c->peer));
    case GATEWAY_ROUTER_FUNCTION:
        return by_function(r, c);
    case GATEWAY_ROUTER_LEAST:
        break;
    }
    return least_busy(r);
}

/* The worker that can take an event of c now, or NULL. */
static struct router_worker *ready_worker(
    struct router *r, const struct client *c)
{
    struct router_worker *w = bound_worker(r, c);

    if (w)
        return conn_is_full(w->conn) ? NULL : w;
    return choose(r, c);
}

/* Whether ready_worker() would find one. Asks no function: nothing is bound. */
static bool has_ready_worker(struct router *r, const struct client *c)
{
    if (r->conf.mode == GATEWAY_ROUTER_FUNCTION && !bound_worker(r, c))
        return least_busy(r) != NULL;
    return ready_worker(r, c) != NULL;
}

static void send_event(struct router *r, struct router_worker *w,
    struct client *c, uint8_t cmd, const void *body, size_t len)
{
    bool is_value = cmd == FRAME_ON_WEBSOCKET_CONNECT ||
                    (cmd == FRAME_ON_CLOSE && w->features.close_info);
    struct frame f = {
        .cmd = cmd,
        .flag = is_value ? 0 : FRAME_FLAG_STRING,
        .local_ip = r->conf.local_ip,
        .local_port = r->conf.local_port,
        .client_ip = addr_ipv4(&c->peer),
        .client_port = addr_port(&c->peer),
        .connection_id = c->id,
        .gateway_port = r->conf.gateway_port,
        .ext = c->session,
        .ext_len = c->session_len,
        .body = body,
        .body_len = len,
    };

    if (cmd == FRAME_ON_CLOSE && !w->features.close_info)
        f.body_len = 0;
    if (c->peer.sa.sa_family == AF_INET6 && w->features.client_addr) {
        f.flag |= FRAME_FLAG_IPV6;
        memcpy(f.client_ip6, &c->peer.in6.sin6_addr, FRAME_IPV6_LEN);
    }
    if (c->worker_serial != w->serial) {
        c->worker_serial = w->serial;
        c->worker_slot = w->slot;
        w->clients++;
    }
    frame_encode(conn_out(w->conn), &f);
    r->counters.events++;
}

static void pause_client(struct router *r, struct client *c)
{
    if (c->paused || c->gone)
        return;
    c->paused = true;
    client_pause(c->conn);
    list_push_back(&r->paused, &c->paused_node);
    r->npaused++;
}

static void forget_pause(struct router *r, struct client *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    list_remove(&c->paused_node);
    r->npaused--;
}

static void hold(struct router *r, struct client *c, uint8_t cmd,
    const void *body, size_t len)
{
    struct held *h = xmalloc(sizeof(*h) + len);

    h->client = c;
    h->cmd = cmd;
    h->len = len;
    if (len > 0)
        memcpy(h->body, body, len);
    list_push_back(&r->held, &h->node);
    c->held++;
    r->nheld++;
    r->held_bytes += sizeof(*h) + len;
    pause_client(r, c);
}

int router_forward(struct router *r, struct client *c, uint8_t cmd,
    const void *body, size_t len)
{
    struct router_worker *w;

    if (c->gone)
        return 0;
    w = c->held > 0 ? NULL : ready_worker(r, c);
    if (w) {
        send_event(r, w, c, cmd, body, len);
        return 0;
    }
    if (router_is_full(r)) {
        r->counters.refused++;
        return -ENOBUFS;
    }
    hold(r, c, cmd, body, len);
    return 0;
}

/* What gwrun's workers learn with ON_CLOSE (docs/protocol.md). */
static void put_close_info(
    struct buf *out, const struct client *c, int code, const char *reason)
{
    const struct clients_name *uid = c->uid.name;

    phpser_put_array(out, 4);
    phpser_put_string(out, "uid", 3);
    if (uid)
        phpser_put_string(out, uid->text, uid->len);
    else
        phpser_put_null(out);
    phpser_put_string(out, "groups", 6);
    phpser_put_array(out, c->ngroups);
    for (uint16_t i = 0; i < c->ngroups; i++) {
        phpser_put_int(out, i);
        phpser_put_string(out, c->groups[i].name->text, c->groups[i].name->len);
    }
    phpser_put_end(out);
    phpser_put_string(out, "code", 4);
    phpser_put_int(out, code);
    phpser_put_string(out, "reason", 6);
    phpser_put_string(out, reason, strlen(reason));
    phpser_put_end(out);
}

void router_close(
    struct router *r, struct client *c, int code, const char *reason)
{
    struct router_worker *w;

    if (c->gone)
        return;
    w = c->held > 0 ? NULL : ready_worker(r, c);
    c->gone = true;
    forget_pause(r, c);
    buf_clear(&r->scratch);
    put_close_info(&r->scratch, c, code, reason);
    if (w) {
        send_event(r, w, c, FRAME_ON_CLOSE, r->scratch.data, r->scratch.len);
        unbind(r, c);
    } else {
        hold(r, c, FRAME_ON_CLOSE, r->scratch.data, r->scratch.len);
    }
    buf_clear(&r->scratch);
    buf_shrink(&r->scratch, SCRATCH_KEEP);
}

/* Oldest first. A client's events stay in order: its worker, once full, is full
 * for the rest of the walk. */
static void release_held(struct router *r)
{
    struct list *node;
    struct list *next;

    LIST_FOREACH_SAFE (node, next, &r->held) {
        struct held *h = LIST_ENTRY(node, struct held, node);
        struct client *c = h->client;
        struct router_worker *w = ready_worker(r, c);

        if (!w)
            continue;
        send_event(r, w, c, h->cmd, h->body, h->len);
        if (h->cmd == FRAME_ON_CLOSE)
            unbind(r, c);
        unhold(r, h);
    }
}

void router_drained(struct router *r)
{
    struct list *node;
    struct list *next;

    release_held(r);
    LIST_FOREACH_SAFE (node, next, &r->paused) {
        struct client *c = LIST_ENTRY(node, struct client, paused_node);

        if (c->held > 0 || !has_ready_worker(r, c))
            continue;
        forget_pause(r, c);
        client_resume(c->conn);
    }
}

/* A free slot; ROUTER_WORKERS_MAX when there is none. */
static size_t free_slot(struct router *r)
{
    size_t i = 0;

    while (i < r->nslots && r->workers[i])
        i++;
    if (i == r->nslots && i < ROUTER_WORKERS_MAX) {
        r->nslots++;
        r->workers =
            xrealloc(r->workers, r->nslots * sizeof(struct router_worker *));
        r->workers[i] = NULL;
    }
    return i;
}

struct router_worker *router_add_worker(struct router *r, struct conn *conn,
    const char *key, struct router_features features, struct conn **replaced)
{
    struct router_worker *w = find_worker(r, key);

    *replaced = w ? w->conn : NULL;
    if (!w) {
        size_t slot = free_slot(r);

        if (slot == ROUTER_WORKERS_MAX)
            return NULL;
        w = xcalloc(1, sizeof(*w));
        w->key = xstrdup(key);
        w->key_hash = stable_hash(key, strlen(key));
        w->serial = ++r->last_serial;
        w->slot = (uint16_t)slot;
        r->workers[slot] = w;
        r->nworkers++;
    }
    w->conn = conn;
    w->features = features;
    router_drained(r);
    return w;
}

void router_remove_worker(struct router *r, struct router_worker *w)
{
    router_asks(r); /* remembers it, should w be the last one */
    r->workers[w->slot] = NULL;
    r->nworkers--;
    free_worker(w);
    router_drained(r); /* what waited for its link may go elsewhere */
}

void router_uid_bound(struct router *r, struct client *c)
{
    if (r->conf.mode == GATEWAY_ROUTER_HASH_UID)
        unbind(r, c);
}

bool router_is_full(const struct router *r)
{
    return r->held_bytes > ROUTER_HELD_MAX;
}

void router_set_decides(struct router_worker *w, bool decides)
{
    w->features.decides = decides;
}

bool router_asks(struct router *r)
{
    if (r->nworkers == 0)
        return r->decided;
    r->decided = false;
    for (size_t i = 0; i < r->nslots && !r->decided; i++)
        r->decided = r->workers[i] && r->workers[i]->features.decides;
    return r->decided;
}

struct router_worker *router_pick_decider(struct router *r)
{
    for (size_t i = 1; i <= r->nslots; i++) {
        size_t slot = (r->last_asked + i) % r->nslots;
        struct router_worker *w = r->workers[slot];

        if (w && w->features.decides && !conn_is_full(w->conn)) {
            r->last_asked = slot;
            return w;
        }
    }
    return NULL;
}

void router_put(
    const struct router *r, struct router_worker *w, struct frame *f)
{
    f->local_ip = r->conf.local_ip;
    f->local_port = r->conf.local_port;
    f->gateway_port = r->conf.gateway_port;
    frame_encode(conn_out(w->conn), f);
}

uint32_t router_serial(const struct router_worker *w)
{
    return w->serial;
}

void router_ping_workers(struct router *r)
{
    struct frame f = {.cmd = FRAME_PING, .flag = FRAME_FLAG_STRING};

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            frame_encode(conn_out(r->workers[i]->conn), &f);
}

size_t router_worker_count(const struct router *r)
{
    return r->nworkers;
}

size_t router_paused_count(const struct router *r)
{
    return r->npaused;
}

size_t router_held_count(const struct router *r)
{
    return r->nheld;
}

size_t router_queued(const struct router *r)
{
    size_t sum = 0;

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            sum += conn_queued(r->workers[i]->conn);
    return sum;
}

const struct router_counters *router_counters(const struct router *r)
{
    return &r->counters;
}
