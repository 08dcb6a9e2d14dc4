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
#include "net/turn.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/bigendian.h"
#include "wire/frame.h"
#include "wire/framing.h"

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

void router_free(struct router *r)
{
    struct list *node;
    struct list *next;

    r->counters.lost += r->nheld;
    if (r->nheld > 0)
        log_warn("events lost, no worker took them count=%zu", r->nheld);
    router_unstick(r);
    LIST_FOREACH_SAFE (node, next, &r->leaving)
        router_free_worker(LIST_ENTRY(node, struct router_worker, node));
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

/* The worker of c, which is lost: events of c that it did not begin go out
 * before any other of c. NULL: it is none of those. */
static struct router_worker *find_leaving(
    const struct router *r, const struct client *c)
{
    struct list *node;

    LIST_FOREACH (node, &r->leaving) {
        struct router_worker *w = LIST_ENTRY(node, struct router_worker, node);

        if (w->serial == c->worker_serial)
            return w;
    }
    return NULL;
}

static bool had(const struct router_worker *w, const struct client *c)
{
    for (size_t i = 0; i < ROUTER_BEFORE_MAX && w->before[i] != 0; i++)
        if (w->before[i] == c->worker_serial)
            return true;
    return false;
}

/* The process that had c, on new links; NULL: it is not here. */
static struct router_worker *find_heir(
    const struct router *r, const struct client *c)
{
    for (size_t i = 0; c->worker_serial != 0 && i < r->nslots; i++)
        if (r->workers[i] && had(r->workers[i], c))
            return r->workers[i];
    return NULL;
}

/* A worker for c, which is bound to none, or NULL. Not inlined: it has much on
 * the stack that a message of a client with a worker need not pay for. */
__attribute__((noinline)) static struct router_worker *choose(
    struct router *r, const struct client *c)
{
    struct router_worker *heir;

    if (find_leaving(r, c))
        return NULL;
    heir = find_heir(r, c);
    if (!heir)
        return router_choose(r, c);
    return router_has_room(r, heir) ? heir : NULL;
}

/* The worker that can take an event of c with len bytes now, or NULL. */
struct router_worker *router_ready_worker(
    struct router *r, const struct client *c, size_t len)
{
    struct router_worker *w = router_bound_worker(r, c);

    if (w && !router_has_room(r, w)) {
        if (!router_may_leave(w, c))
            return NULL;
        w = NULL;
    }
    if (!w)
        w = choose(r, c);
    return w && router_share_fits(r, w, c, len) ? w : NULL;
}

/* Whether router_ready_worker() would find one. Asks no function: nothing is
 * bound. */
static bool has_ready_worker(struct router *r, const struct client *c)
{
    if (r->conf.mode == GATEWAY_ROUTER_FUNCTION && !router_bound_worker(r, c))
        return !find_leaving(r, c) && router_least_busy(r) != NULL;
    return router_ready_worker(r, c, 0) != NULL;
}

static uint64_t find_arrival(const struct router *r)
{
    return r->timed ? turn_woken(r->conf.turn) : 0;
}

/* w is told once of all that came in a turn. */
__attribute__((noinline)) static void tell_arrival(
    const struct router *r, struct router_worker *w, uint64_t arrived)
{
    uint8_t body[FRAME_ARRIVED_LEN];
    struct frame f = {.cmd = FRAME_ARRIVED,
        .flag = FRAME_FLAG_STRING,
        .body = body,
        .body_len = sizeof(body)};

    w->arrived = arrived;
    put64(body, arrived);
    router_put(r, w, &f);
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

/* Its first and its last event tell of it by themselves. */
__attribute__((noinline)) void router_bind_for(
    struct router *r, struct router_worker *w, struct client *c, uint8_t cmd)
{
    bool moves = c->worker_serial != 0;

    unbind(r, c); /* of a stalled one */
    bind_client(r, w, c);
    if (moves && router_wants_bound(w) && cmd != FRAME_ON_CONNECT &&
        cmd != FRAME_ON_CLOSE)
        router_tell_bound(r, w, c);
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
        router_bind_for(r, w, c, e->cmd);
    if (e->arrived != w->arrived && w->features.arrived)
        tell_arrival(r, w, e->arrived);
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
    const struct router_event e = {.body = body,
        .len = len,
        .arrived = find_arrival(r),
        .cmd = cmd,
        .type = type};
    struct router_worker *w;

    if (c->gone)
        return 0;
    w = router_first_held(c) ? NULL : router_ready_worker(r, c, len);
    if (w) {
        send_event(r, w, c, &e);
        return 0;
    }
    return wait_for_worker(r, c, &e);
}

/* The last event of c goes to its worker, or waits for one. */
static void give_close(
    struct router *r, struct client *c, const struct router_event *e)
{
    size_t len = e->len;
    struct router_worker *w =
        router_first_held(c) ? NULL : router_ready_worker(r, c, len);

    c->gone = true;
    router_share_end(r, c);
    if (!w) {
        router_hold(r, c, e);
        return;
    }
    send_event(r, w, c, e);
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
    give_close(r, c,
        &(struct router_event){.cmd = FRAME_ON_CLOSE,
            .body = r->scratch.data,
            .len = r->scratch.len,
            .arrived = find_arrival(r)});
    buf_clear(&r->scratch);
    buf_shrink(&r->scratch, SCRATCH_KEEP);
    buf_clear(&r->ends);
    buf_shrink(&r->ends, SCRATCH_KEEP);
}

void router_close_inherited(
    struct router *r, struct client *c, const void *body, size_t len)
{
    give_close(r, c,
        &(struct router_event){.cmd = FRAME_ON_CLOSE,
            .body = body,
            .len = len,
            .arrived = find_arrival(r),
            .again = true});
    roster_release(c); /* unless it waits */
}

int router_bind(struct router *r, struct client *c, uint64_t key_hash)
{
    for (size_t i = 0; i < r->nslots; i++) {
        if (!r->workers[i] ||
            ((r->workers[i]->key_hash ^ key_hash) | BOOKS_FLAGS) != BOOKS_FLAGS)
            continue;
        if (!router_has_room(r, r->workers[i]))
            return -EAGAIN;
        bind_client(r, r->workers[i], c);
        return 0;
    }
    return -ENOENT;
}

/* Give what waits of c to its worker, in order. True: nothing waits any more,
 * and its worker has room for what follows. */
static bool release(struct router *r, struct client *c)
{
    struct router_held *h;

    while ((h = router_first_held(c))) {
        struct router_worker *w = router_ready_worker(r, c, h->event.len);

        if (!w)
            return false;
        send_event(r, w, c, &h->event);
        if (h->event.cmd == FRAME_ON_CLOSE)
            unbind(r, c);
        router_unhold(r, c->wait, h);
    }
    return c->gone || has_ready_worker(r, c);
}

/* The worker without which nothing of c goes out, though others have room: the
 * one that has it, or had, or that is chosen for it whatever happens. NULL: it
 * is not held up by one of them. */
static struct router_worker *find_holder(
    const struct router *r, const struct client *c)
{
    struct router_worker *w = router_bound_worker(r, c);

    if (w && router_may_leave(w, c))
        w = NULL;
    if (!w)
        w = find_leaving(r, c);
    if (w && !w->conn)
        return w;
    if (!w)
        w = find_heir(r, c);
    if (!w)
        w = router_destined(r, c);
    return w && !router_has_room(r, w) ? w : NULL;
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
 * Those that one worker holds up are put aside and not passed again until it
 * has room, or is settled: each costs a visit for each worker, not for each
 * drain. */
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
        w = find_holder(r, wait->client);
        if (w) {
            list_remove(&wait->node);
            list_push_back(&w->stuck, &wait->node);
        }
    }
}

struct taking {
    struct router *r;
    struct router_worker *w;
    const struct roster *roster;
    bool runs;       /* not all handlers are through with this */
    struct list due; /* struct router_wait: of which something began */
};

/* Clients that have left have no share any more. */
static void on_begun(const uint8_t *packet, size_t len, void *arg)
{
    struct taking *t = arg;
    struct client *c =
        frame_cmd(packet) == FRAME_ON_CLOSE
            ? NULL
            : roster_find(t->roster, frame_connection_id(packet));

    t->r->unbegun_bytes -= len;
    if (t->w->features.far_book)
        router_note_begun(t->r, packet, len);
    if (t->runs)
        router_note_runs(t->w, frame_connection_id(packet));
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

/* Handlers of w are through. */
static int take_ended(struct router_worker *w, uint32_t ended)
{
    if (ended > w->running)
        return -EPROTO;
    w->running -= ended;
    if (w->running == 0 && (w->runs.count > 0 || w->runs_any))
        router_note_idle(w);
    return 0;
}

/* Whether something of w goes on behind ack. */
static bool leaves_running(const struct router_worker *w, const struct ack *ack)
{
    return w->running + ack->taken + ack->begins.count >
           (uint64_t)ack->ended + ack->waits.count;
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
    if (w->renews) /* what has begun is known from its page */
        return take_ended(w, ack.ended);
    t.runs = leaves_running(w, &ack);
    if (!given_has_room(w->given, r->conf.high_water))
        w->behind = true;
    begun = given_take(w->given, &ack, on_begun, &t);
    release_due(r, &t.due);
    if (begun < 0)
        return -EPROTO;
    w->running += (uint64_t)begun;
    if (take_ended(w, ack.ended) < 0)
        return -EPROTO;
    if (w->behind && given_has_room(w->given, r->conf.high_water / 4)) {
        w->behind = false;
        router_drained(r);
    } else if (w->crowded && given_bytes(w->given) <= r->conf.high_water / 2) {
        w->crowded = false;
        router_drained(r);
    }
    return w->windowed;
}

int router_want(struct router_worker *w, const void *body, size_t len)
{
    const struct ack_numbers ids = {body, len / sizeof(uint32_t)};
    int err = len % sizeof(uint32_t) == 0 ? 0 : -EPROTO;

    for (size_t i = 0; i < ids.count && err == 0; i++)
        err = given_want(w->given, ack_number(&ids, i));
    return err;
}

void router_grant(
    struct router *r, struct router_worker *w, struct conn *commands)
{
    if (!w->conn)
        return;
    buf_append_byte(&r->scratch, FRAME_GRANT);
    if (given_grant(w->given, &r->scratch))
        framing_reply_encode(
            conn_out(commands), r->scratch.data, r->scratch.len);
    buf_clear(&r->scratch);
}

void router_uid_bound(struct router *r, struct client *c)
{
    struct router_worker *w = router_bound_worker(r, c);
    bool had_one = c->worker_serial != 0;

    if (r->conf.mode != GATEWAY_ROUTER_HASH_UID ||
        (w && router_choose(r, c) == w))
        return;
    if (w)
        router_tell_left(r, w, c);
    unbind(r, c);
    if (had_one)
        c->worker_serial = ROUTER_UNBOUND;
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

size_t router_held_bytes(const struct router *r)
{
    return r->held_bytes;
}

const struct router_counters *router_counters(const struct router *r)
{
    return &r->counters;
}
