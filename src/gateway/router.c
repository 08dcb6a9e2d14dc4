#include "gateway/router.h"

#include <errno.h>
#include <string.h>

#include "gateway/client_io.h"
#include "gateway/router_impl.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/frame.h"
#include "wire/phpser.h"

#define SCRATCH_KEEP (64 * 1024) /* bytes kept of the close-info buffer */

struct router *router_new(const struct router_conf *conf)
{
    struct router *r = xcalloc(1, sizeof(*r));

    r->conf = *conf;
    list_init(&r->leaving);
    list_init(&r->held);
    list_init(&r->paused);
    /* Seeded by the process's own hash key; xorshift needs it odd. */
    r->random = ((uint64_t)hash_bytes("router", 6) << 32) | 1;
    return r;
}

void router_free_worker(struct router_worker *w)
{
    list_remove(&w->node);
    if (w->given)
        given_free(w->given);
    free(w->key);
    free(w);
}

static void unhold(struct router *r, struct held *h)
{
    list_remove(&h->node);
    r->nheld--;
    r->held_bytes -= sizeof(*h) + h->event.len;
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
    LIST_FOREACH_SAFE (node, next, &r->leaving)
        router_free_worker(LIST_ENTRY(node, struct router_worker, node));
    LIST_FOREACH_SAFE (node, next, &r->held)
        unhold(r, LIST_ENTRY(node, struct held, node));
    LIST_FOREACH_SAFE (node, next, &r->paused)
        list_remove(node);
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            router_free_worker(r->workers[i]);
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

/* Its worker is lost, and the events that it did not begin come first. */
static bool is_left_behind(const struct router *r, const struct client *c)
{
    struct list *node;

    LIST_FOREACH (node, &r->leaving)
        if (LIST_ENTRY(node, struct router_worker, node)->serial ==
            c->worker_serial)
            return true;
    return false;
}

/* The worker that can take an event of c now, or NULL. */
static struct router_worker *ready_worker(
    struct router *r, const struct client *c)
{
    struct router_worker *w = bound_worker(r, c);

    if (w)
        return router_has_room(r, w) ? w : NULL;
    return is_left_behind(r, c) ? NULL : router_choose(r, c);
}

/* Whether ready_worker() would find one. Asks no function: nothing is bound. */
static bool has_ready_worker(struct router *r, const struct client *c)
{
    if (r->conf.mode == GATEWAY_ROUTER_FUNCTION && !bound_worker(r, c))
        return !is_left_behind(r, c) && router_least_busy(r) != NULL;
    return ready_worker(r, c) != NULL;
}

/* Append the packet to w's link, and keep it if w acknowledges. */
static void put_event(struct router_worker *w, const struct frame *f)
{
    struct buf *out = conn_out(w->conn);
    size_t before = out->len;

    frame_encode(out, f);
    if (w->given)
        given_add(w->given, out->data + before, out->len - before);
}

static void send_event(struct router *r, struct router_worker *w,
    struct client *c, const struct event *e)
{
    bool is_value = e->cmd == FRAME_ON_WEBSOCKET_CONNECT ||
                    (e->cmd == FRAME_ON_CLOSE && w->features.close_info);
    struct frame f = {
        .cmd = e->cmd,
        .flag = is_value ? 0 : FRAME_FLAG_STRING,
        .local_ip = r->conf.local_ip,
        .local_port = r->conf.local_port,
        .client_ip = addr_ipv4(&c->peer),
        .client_port = addr_port(&c->peer),
        .connection_id = c->id,
        .gateway_port = r->conf.gateway_port,
        .ext = c->session,
        .ext_len = c->session_len,
        .body = e->body,
        .body_len = e->len,
    };

    if (e->cmd == FRAME_ON_CLOSE && !w->features.close_info)
        f.body_len = 0;
    if (e->again && w->given)
        f.flag |= FRAME_FLAG_AGAIN;
    if (c->peer.sa.sa_family == AF_INET6 && w->features.client_addr) {
        f.flag |= FRAME_FLAG_IPV6;
        memcpy(f.client_ip6, &c->peer.in6.sin6_addr, FRAME_IPV6_LEN);
    }
    if (c->worker_serial != w->serial) {
        c->worker_serial = w->serial;
        c->worker_slot = w->slot;
        w->clients++;
    }
    put_event(w, &f);
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

void router_hold(struct router *r, struct list *list, struct client *c,
    const struct event *e)
{
    struct held *h = xmalloc(sizeof(*h) + e->len);

    h->client = c;
    h->event = *e;
    h->event.body = h->body;
    if (e->len > 0)
        memcpy(h->body, e->body, e->len);
    list_push_back(list, &h->node);
    c->held++;
    r->nheld++;
    r->held_bytes += sizeof(*h) + e->len;
    pause_client(r, c);
}

int router_forward(struct router *r, struct client *c, uint8_t cmd,
    const void *body, size_t len)
{
    const struct event e = {.body = body, .len = len, .cmd = cmd};
    struct router_worker *w;

    if (c->gone)
        return 0;
    w = c->held > 0 ? NULL : ready_worker(r, c);
    if (w) {
        send_event(r, w, c, &e);
        return 0;
    }
    if (router_is_full(r)) {
        r->counters.refused++;
        return -ENOBUFS;
    }
    router_hold(r, &r->held, c, &e);
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
    struct event e = {.cmd = FRAME_ON_CLOSE};
    struct router_worker *w;

    if (c->gone)
        return;
    w = c->held > 0 ? NULL : ready_worker(r, c);
    c->gone = true;
    forget_pause(r, c);
    buf_clear(&r->scratch);
    put_close_info(&r->scratch, c, code, reason);
    e.body = r->scratch.data;
    e.len = r->scratch.len;
    if (w) {
        send_event(r, w, c, &e);
        unbind(r, c);
    } else {
        router_hold(r, &r->held, c, &e);
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
        send_event(r, w, c, &h->event);
        if (h->event.cmd == FRAME_ON_CLOSE)
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

struct router_worker *router_find_worker(
    const struct router *r, const char *key)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && strcmp(r->workers[i]->key, key) == 0)
            return r->workers[i];
    return NULL;
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

/* Before its first event. */
static void ask_for_acks(struct router *r, struct router_worker *w)
{
    struct frame f = {.cmd = FRAME_ACK};

    w->given = given_new();
    router_put(r, w, &f);
}

struct router_worker *router_add_worker(struct router *r, struct conn *conn,
    const char *key, struct router_features features, struct conn **replaced)
{
    struct router_worker *w = router_find_worker(r, key);

    *replaced = w ? w->conn : NULL;
    if (!w) {
        size_t slot = free_slot(r);

        if (slot == ROUTER_WORKERS_MAX)
            return NULL;
        w = xcalloc(1, sizeof(*w));
        list_init(&w->node);
        w->key = xstrdup(key);
        w->key_hash = router_hash(key, strlen(key));
        w->serial = ++r->last_serial;
        w->slot = (uint16_t)slot;
        r->workers[slot] = w;
        r->nworkers++;
    }
    w->conn = conn;
    w->features = features;
    if (features.acks)
        ask_for_acks(r, w);
    router_drained(r);
    return w;
}

void router_remove_worker(struct router *r, struct router_worker *w)
{
    router_asks(r); /* remembers it, should w be the last one */
    r->workers[w->slot] = NULL;
    r->nworkers--;
    w->conn = NULL;
    if (w->given)
        list_push_back(&r->leaving, &w->node);
    else
        router_free_worker(w);
    router_drained(r); /* what waited for its link may go elsewhere */
}

int router_acknowledge(
    struct router *r, struct router_worker *w, const void *body, size_t len)
{
    struct ack ack;
    ssize_t begun;

    if (ack_parse(&ack, body, len) < 0)
        return -EPROTO;
    if (given_bytes(w->given) > r->conf.high_water)
        w->behind = true;
    begun = given_take(w->given, &ack);
    if (begun < 0)
        return -EPROTO;
    w->running += (uint64_t)begun;
    if (ack.ended > w->running)
        return -EPROTO;
    w->running -= ack.ended;
    if (w->behind && given_bytes(w->given) <= r->conf.high_water / 4) {
        w->behind = false;
        router_drained(r);
    }
    return 0;
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

        if (w && w->features.decides && router_has_room(r, w)) {
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

bool router_acknowledges(const struct router_worker *w)
{
    return w->given != NULL;
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

size_t router_unbegun_count(const struct router *r)
{
    struct list *node;
    size_t sum = 0;

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && r->workers[i]->given)
            sum += given_count(r->workers[i]->given);
    LIST_FOREACH (node, &r->leaving)
        sum += given_count(LIST_ENTRY(node, struct router_worker, node)->given);
    return sum;
}

const struct router_counters *router_counters(const struct router *r)
{
    return &r->counters;
}
