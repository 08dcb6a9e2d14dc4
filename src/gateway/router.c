/* Which event goes where and when. An event of a client leaves at once, if its
 * worker has room and no earlier event of this client waits; else it waits
 * (router_held.c). So a client's events reach its worker in order, and what a
 * worker that acknowledges was given is in its struct given until it says that
 * the event has begun. */
#include "gateway/router.h"

#include <errno.h>
#include <string.h>

#include "clients/client_conn.h"
#include "gateway/close_info.h"
#include "gateway/router_impl.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/frame.h"

#define SCRATCH_KEEP (64 * 1024) /* bytes kept of the close-info buffer */

struct router *router_new(const struct router_conf *conf)
{
    struct router *r = xcalloc(1, sizeof(*r));

    r->conf = *conf;
    list_init(&r->leaving);
    list_init(&r->waiting);
    for (size_t i = 0; i < ROUTER_WAIT_SIZES; i++)
        list_init(&r->sizes[i]);
    /* Seeded by the process's own hash key; xorshift needs it odd. */
    r->random = ((uint64_t)hash_bytes("router", 6) << 32) | 1;
    return r;
}

void router_free_worker(struct router_worker *w)
{
    router_forget_sessions(w);
    list_remove(&w->node);
    if (w->given)
        given_free(w->given);
    free(w->key);
    free(w);
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
    router_unstick(r);
    LIST_FOREACH_SAFE (node, next, &r->waiting) {
        struct router_wait *wait = LIST_ENTRY(node, struct router_wait, node);
        struct router_held *h;

        while ((h = router_first_held(wait->client)))
            router_unhold(r, wait, h);
        router_end_wait(r, wait);
    }
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            router_free_worker(r->workers[i]);
    free(r->workers);
    buf_fini(&r->scratch);
    buf_fini(&r->ends);
    free(r);
}

struct router_worker *router_bound_worker(
    const struct router *r, const struct client *c)
{
    struct router_worker *w = NULL;

    if (c->worker_serial != 0 && c->worker_slot < r->nslots)
        w = r->workers[c->worker_slot];
    return w && w->serial == c->worker_serial ? w : NULL;
}

static void unbind(struct router *r, struct client *c)
{
    struct router_worker *w = router_bound_worker(r, c);

    if (w) {
        w->clients--;
        router_forget_session(r, w, c);
    }
    c->worker_serial = 0;
}

/* The worker of c is lost: events of c that it did not begin go out before any
 * other of c. */
static bool is_left_behind(const struct router *r, const struct client *c)
{
    struct list *node;

    LIST_FOREACH (node, &r->leaving)
        if (LIST_ENTRY(node, struct router_worker, node)->serial ==
            c->worker_serial)
            return true;
    return false;
}

/* A worker for c, which is bound to none, or NULL. Not inlined: it has much on
 * the stack that a message of a client with a worker need not pay for. */
__attribute__((noinline)) static struct router_worker *choose(
    struct router *r, const struct client *c)
{
    return is_left_behind(r, c) ? NULL : router_choose(r, c);
}

/* The worker that can take an event of c with len bytes now, or NULL. */
static struct router_worker *ready_worker(
    struct router *r, const struct client *c, size_t len)
{
    struct router_worker *w = router_bound_worker(r, c);

    if (w && !router_has_room(r, w))
        return NULL;
    if (!w)
        w = choose(r, c);
    return w && router_share_fits(r, w, c, len) ? w : NULL;
}

/* Whether ready_worker() would find one. Asks no function: nothing is bound. */
static bool has_ready_worker(struct router *r, const struct client *c)
{
    if (r->conf.mode == GATEWAY_ROUTER_FUNCTION && !router_bound_worker(r, c))
        return !is_left_behind(r, c) && router_least_busy(r) != NULL;
    return ready_worker(r, c, 0) != NULL;
}

/* Append the packet to w's link, and keep it if w acknowledges. */
static void put_event(struct router *r, struct router_worker *w,
    struct client *c, const struct frame *f)
{
    struct buf *out = conn_out(w->conn);
    size_t before = out->len;

    frame_encode(out, f);
    if (!w->given) {
        unheard_give(&w->unheard);
        return;
    }
    given_add(w->given, out->data + before, out->len - before);
    router_share_take(r, w, c, out->len - before);
}

static void bind_client(
    const struct router *r, struct router_worker *w, struct client *c)
{
    c->session_known = c->session_len == 0;
    c->worker_serial = w->serial;
    c->worker_slot = w->slot;
    w->clients++;
    router_book_worker(r, w, c);
}

static void send_event(struct router *r, struct router_worker *w,
    struct client *c, const struct router_event *e)
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
        .body = e->body,
        .body_len = e->len,
    };

    if (e->cmd == FRAME_ON_CLOSE && !w->features.close_info)
        f.body_len = 0;
    if (w->features.types)
        f.flag |= e->type;
    if (c->streams && w->features.types)
        f.flag |= FRAME_FLAG_STREAM;
    if (e->again && w->given)
        f.flag |= FRAME_FLAG_AGAIN;
    if (c->peer.sa.sa_family == AF_INET6 && w->features.client_addr) {
        f.flag |= FRAME_FLAG_IPV6;
        memcpy(f.client_ip6, &c->peer.in6.sin6_addr, FRAME_IPV6_LEN);
    }
    if (c->worker_serial != w->serial)
        bind_client(r, w, c);
    router_put_session(r, w, c, &f);
    if (e->cmd != FRAME_ON_MESSAGE)
        router_put_place(r, w, c, &f);
    put_event(r, w, c, &f);
    r->counters.events++;
}

/* Keep e, which no worker can take now. 0, or -ENOBUFS: too much waits. Out of
 * the way of the messages that need not wait. */
__attribute__((noinline)) static int wait_for_worker(
    struct router *r, struct client *c, const struct router_event *e)
{
    if (!router_make_room(r, c, e->len)) {
        r->counters.refused++;
        return -ENOBUFS;
    }
    router_hold(r, c, e);
    return 0;
}

int router_forward(struct router *r, struct client *c, uint8_t cmd,
    uint8_t type, const void *body, size_t len)
{
    const struct router_event e = {
        .body = body, .len = len, .cmd = cmd, .type = type};
    struct router_worker *w;

    if (c->gone)
        return 0;
    w = router_first_held(c) ? NULL : ready_worker(r, c, len);
    if (w) {
        send_event(r, w, c, &e);
        return 0;
    }
    return wait_for_worker(r, c, &e);
}

/* The last event of c goes to its worker, or waits for one. */
static void give_close(
    struct router *r, struct client *c, const void *body, size_t len)
{
    const struct router_event e = {
        .cmd = FRAME_ON_CLOSE, .body = body, .len = len};
    struct router_worker *w =
        router_first_held(c) ? NULL : ready_worker(r, c, len);

    c->gone = true;
    router_share_end(r, c);
    if (!w) {
        router_hold(r, c, &e);
        return;
    }
    send_event(r, w, c, &e);
    unbind(r, c);
    if (c->wait)
        router_end_wait(r, c->wait);
}

/* What gwrun's workers learn with ON_CLOSE. The book has it before it leaves.
 */
static void put_close_info(
    struct router *r, struct client *c, const struct client_conn_end *end)
{
    struct close_info_part names, how;
    size_t len;

    buf_clear(&r->scratch);
    buf_clear(&r->ends);
    close_info_put_end(&r->ends, end);
    books_end(r->conf.books, c, &r->ends);
    len = r->ends.len;
    close_info_put_names(&r->ends, c, SIZE_MAX);
    how = (struct close_info_part){r->ends.data, len};
    names = (struct close_info_part){r->ends.data + len, r->ends.len - len};
    close_info_put(&r->scratch, &names, &how);
}

void router_close(
    struct router *r, struct client *c, const struct client_conn_end *end)
{
    if (c->gone)
        return;
    put_close_info(r, c, end);
    give_close(r, c, r->scratch.data, r->scratch.len);
    buf_clear(&r->scratch);
    buf_shrink(&r->scratch, SCRATCH_KEEP);
    buf_clear(&r->ends);
    buf_shrink(&r->ends, SCRATCH_KEEP);
}

void router_close_inherited(
    struct router *r, struct client *c, const void *body, size_t len)
{
    give_close(r, c, body, len);
    roster_release(c); /* unless it waits */
}

bool router_bind(struct router *r, struct client *c, uint64_t key_hash)
{
    for (size_t i = 0; i < r->nslots; i++) {
        if (!r->workers[i] ||
            ((r->workers[i]->key_hash ^ key_hash) | BOOKS_ASKS) != BOOKS_ASKS)
            continue;
        bind_client(r, r->workers[i], c);
        return true;
    }
    return false;
}

/* Give what waits of c to its worker, in order. True: nothing waits any more,
 * and its worker has room for what follows. */
static bool release(struct router *r, struct client *c)
{
    struct router_held *h;

    while ((h = router_first_held(c))) {
        struct router_worker *w = ready_worker(r, c, h->event.len);

        if (!w)
            return false;
        send_event(r, w, c, &h->event);
        if (h->event.cmd == FRAME_ON_CLOSE)
            unbind(r, c);
        router_unhold(r, c->wait, h);
    }
    return c->gone || has_ready_worker(r, c);
}

/* Release the clients that are stuck behind w, while w has room. */
static void release_stuck(struct router *r, struct router_worker *w)
{
    struct list *node;
    struct list *next;

    LIST_FOREACH_SAFE (node, next, &w->stuck) {
        struct router_wait *wait = LIST_ENTRY(node, struct router_wait, node);

        if (release(r, wait->client))
            router_end_wait(r, wait);
        else if (!router_has_room(r, w))
            return;
    }
}

/* Clients are served in the order in which they began to wait, each with all
 * its events in one go: a client that waits is not read from and has few.
 * Clients of a worker without room are put aside and not passed again until it
 * has some: each costs a visit for each worker, not for each drain. */
void router_drained(struct router *r)
{
    struct list *node;
    struct list *next;

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && router_has_room(r, r->workers[i]))
            release_stuck(r, r->workers[i]);
    LIST_FOREACH_SAFE (node, next, &r->waiting) {
        struct router_wait *wait = LIST_ENTRY(node, struct router_wait, node);
        struct router_worker *w;

        if (release(r, wait->client)) {
            router_end_wait(r, wait);
            continue;
        }
        if (!router_least_busy(r))
            return; /* nobody has room */
        w = router_bound_worker(r, wait->client);
        if (w && !router_has_room(r, w)) {
            list_remove(&wait->node);
            list_push_back(&w->stuck, &wait->node);
        }
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

/* Tell w, before its first event, that events say which type of websocket
 * message they carry. */
static void tell_types(const struct router *r, struct router_worker *w)
{
    struct frame f = {.cmd = FRAME_TYPES, .flag = FRAME_FLAG_STRING};

    router_put(r, w, &f);
}

/* A page of claims for w, which is told its name. NULL: w takes none; or, with
 * a line in the log, there is none: what w says is then all that is known. */
static struct claims *offer_page(
    const struct router *r, struct router_worker *w)
{
    struct frame f = {.cmd = FRAME_CLAIMS, .flag = FRAME_FLAG_STRING};
    struct claims *page;
    int err;

    if (!w->features.claims || !r->conf.claims)
        return NULL;
    err = claims_create(&page, r->conf.claims);
    if (err < 0) {
        log_warn(
            "no page of claims for a worker: should it be lost, an event "
            "that it began may be given to another one key=%s file=%s err=%s",
            w->key, r->conf.claims, strerror(-err));
        return NULL;
    }
    f.body = (const uint8_t *)claims_name(page);
    f.body_len = strlen(claims_name(page));
    router_put(r, w, &f);
    return page;
}

/* Ask w, before its first event, to say what it begins, and to claim it. */
static void ask_for_acks(struct router *r, struct router_worker *w)
{
    struct frame f = {.cmd = FRAME_ACK};

    router_put(r, w, &f);
    w->given = given_new(offer_page(r, w));
}

/* What the scripts of those that are here have; or had, while none is. */
static void find_callbacks(struct router *r)
{
    if (r->nworkers == 0)
        return;
    r->callbacks = 0;
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            r->callbacks |= r->workers[i]->features.callbacks;
}

void router_lose_unheard(struct router *r, struct router_worker *w)
{
    uint64_t unknown = unheard_end(&w->unheard);

    r->counters.unknown += unknown;
    if (unknown > 0)
        log_warn("a worker that acknowledges nothing was lost, some of its "
                 "events may not have run key=%s events=%llu",
            w->key, (unsigned long long)unknown);
}

struct router_worker *router_add_worker(struct router *r, struct conn *conn,
    const char *key, struct router_features features, struct conn **replaced)
{
    struct router_worker *w = router_find_worker(r, key);

    *replaced = w ? w->conn : NULL;
    if (w) {
        router_lose_unheard(r, w);
    } else {
        size_t slot = free_slot(r);

        if (slot == ROUTER_WORKERS_MAX)
            return NULL;
        w = xcalloc(1, sizeof(*w));
        list_init(&w->node);
        list_init(&w->stuck);
        list_init(&w->sessions);
        w->key = xstrdup(key);
        w->key_hash = router_hash(key, strlen(key));
        w->serial = ++r->last_serial;
        w->slot = (uint16_t)slot;
        r->workers[slot] = w;
        r->nworkers++;
    }
    w->conn = conn;
    w->features = features;
    if (features.types)
        tell_types(r, w);
    if (features.book)
        router_begin_books(r, w);
    if (features.acks)
        ask_for_acks(r, w);
    if (features.session)
        router_begin_sessions(r, w);
    router_drained(r);
    return w;
}

void router_remove_worker(struct router *r, struct router_worker *w)
{
    find_callbacks(r); /* remembers them, should w be the last one */
    router_unstick(r);
    r->workers[w->slot] = NULL;
    r->nworkers--;
    w->conn = NULL;
    router_forget_sessions(w);
    if (w->given) {
        given_revoke(w->given);
        list_push_back(&r->leaving, &w->node);
    } else {
        router_free_worker(w);
    }
    router_drained(r); /* what waited for its link may go elsewhere */
}

struct taking {
    struct router *r;
    struct router_worker *w;
    const struct roster *roster;
    struct list due; /* struct router_wait: of which something began */
};

/* Clients that have left have no share any more. */
static void on_begun(uint32_t connection_id, size_t len, void *arg)
{
    struct taking *t = arg;
    struct client *c = roster_find(t->roster, connection_id);

    t->r->unbegun_bytes -= len;
    if (!c)
        return;
    router_share_leave(t->r, t->w, c, len);
    if (c->wait) {
        list_remove(&c->wait->due);
        list_push_back(&t->due, &c->wait->due);
    }
}

/* Events that did not fit behind those which have begun may fit now. */
static void release_due(struct router *r, struct list *due)
{
    while (!list_empty(due)) {
        struct router_wait *wait =
            LIST_ENTRY(due->next, struct router_wait, due);

        list_remove(&wait->due);
        if (release(r, wait->client))
            router_end_wait(r, wait);
    }
}

int router_acknowledge(struct router *r, struct router_worker *w,
    const struct roster *roster, const void *body, size_t len)
{
    struct taking t = {.r = r, .w = w, .roster = roster};
    struct ack ack;
    ssize_t begun;

    list_init(&t.due);
    if (ack_parse(&ack, body, len) < 0)
        return -EPROTO;
    if (!given_has_room(w->given, r->conf.high_water))
        w->behind = true;
    begun = given_take(w->given, &ack, on_begun, &t);
    release_due(r, &t.due);
    if (begun < 0)
        return -EPROTO;
    w->running += (uint64_t)begun;
    if (ack.ended > w->running)
        return -EPROTO;
    w->running -= ack.ended;
    if (w->behind && given_has_room(w->given, r->conf.high_water / 4)) {
        w->behind = false;
        router_drained(r);
    } else if (w->crowded && given_bytes(w->given) <= r->conf.high_water / 2) {
        w->crowded = false;
        router_drained(r);
    }
    return 0;
}

void router_uid_bound(struct router *r, struct client *c)
{
    if (r->conf.mode != GATEWAY_ROUTER_HASH_UID)
        return;
    unbind(r, c);
    if (c->wait) { /* stuck behind that worker no longer */
        list_remove(&c->wait->node);
        list_push_back(&r->waiting, &c->wait->node);
    }
}

bool router_is_full(const struct router *r)
{
    return r->held_bytes > ROUTER_HELD_MAX ||
           r->unbegun_bytes >
               r->nworkers * r->conf.high_water + ROUTER_HELD_MAX;
}

void router_set_callback(
    struct router_worker *w, enum router_callback callback, bool has)
{
    if (has)
        w->features.callbacks |= callback;
    else
        w->features.callbacks &= ~(unsigned)callback;
}

bool router_has_callback(struct router *r, enum router_callback callback)
{
    find_callbacks(r);
    return r->callbacks & callback;
}

bool router_takes_answers(const struct router_worker *w)
{
    return w->features.answers;
}

struct router_worker *router_pick(
    struct router *r, enum router_callback callback)
{
    for (size_t i = 1; i <= r->nslots; i++) {
        size_t slot = (r->last_asked + i) % r->nslots;
        struct router_worker *w = r->workers[slot];

        if (w && w->features.callbacks & callback && router_has_room(r, w)) {
            r->last_asked = slot;
            return w;
        }
    }
    return NULL;
}

void router_put_on(const struct router *r, struct conn *link, struct frame *f)
{
    f->local_ip = r->conf.local_ip;
    f->local_port = r->conf.local_port;
    f->gateway_port = r->conf.gateway_port;
    frame_encode(conn_out(link), f);
}

void router_put(
    const struct router *r, struct router_worker *w, struct frame *f)
{
    router_put_on(r, w->conn, f);
}

bool router_acknowledges(const struct router_worker *w)
{
    return w->given != NULL;
}

uint32_t router_serial(const struct router_worker *w)
{
    return w->serial;
}

bool router_has(const struct router_worker *w, const struct client *c)
{
    return c->worker_serial == w->serial;
}

void router_hear(struct router_worker *w)
{
    unheard_hear(&w->unheard);
}

void router_tick(struct router *r)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            unheard_tick(&r->workers[i]->unheard);
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

size_t router_local_count(const struct router *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->nslots; i++)
        count += r->workers[i] && r->workers[i]->features.is_local;
    return count;
}

size_t router_silent_count(const struct router *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->nslots; i++)
        count += r->workers[i] && !r->workers[i]->given;
    return count;
}

size_t router_paused_count(const struct router *r)
{
    return r->npaused;
}

size_t router_over_count(const struct router *r)
{
    return r->nover;
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
