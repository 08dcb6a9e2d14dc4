/* Gateways of other machines that keep a book of their clients (proc/book.h).
 * They give every onClose themselves, or the next process of theirs does: this
 * worker makes up none when links are away. Two things are left to it.
 *
 * Should their machine be gone, with the book, each worker gives up the clients
 * that it had last: their onClose is not certain. The machine is there as long
 * as any gateway is whose book lies in the same place, and as all registers can
 * be reached and list the gateway. It is another one where a gateway comes
 * again with its book in another place: then it was booted anew, or its books
 * were moved.
 *
 * And it remembers which onConnect and onClose it has begun lately. What the
 * gateway was told of that may have been lost with the link or the gateway;
 * then it gives the event again (FRAME_FLAG_AGAIN), and it does not begin. The
 * gateway is told before the handler begins, so that, whatever ends this
 * process, one that has begun is known to have. */
#include <errno.h>
#include <stdlib.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/bigendian.h"
#include "worker/gateways_impl.h"

#define BEGUN_MAX     65535 /* of all gateways that are elsewhere */
#define BUCKETS       16384
#define NO_EVENT      UINT16_MAX
#define BUCKET_OF(id) ((id) % BUCKETS) /* a gateway counts its clients */

/* The last ones, in a ring, and found by their client: a gateway's end may have
 * all of its clients' events given again at once. */
struct keepers_begun {
    size_t count;
    uint16_t first[BUCKETS]; /* of a chain through events, or NO_EVENT */
    struct begun {
        uint32_t ip; /* of the client's gateway */
        uint16_t port;
        uint16_t next; /* in its chain */
        uint32_t id;
        uint8_t cmd; /* 0: forgotten */
    } events[BEGUN_MAX];
};

/* ---- what has begun ---- */

static size_t count_begun(const struct keepers_begun *b)
{
    if (!b)
        return 0;
    return b->count < BEGUN_MAX ? b->count : BEGUN_MAX;
}

static bool has_begun(
    const struct keepers_begun *b, const struct frame *f, uint8_t cmd)
{
    uint16_t i = b ? b->first[BUCKET_OF(f->connection_id)] : NO_EVENT;

    for (; i != NO_EVENT; i = b->events[i].next) {
        const struct begun *e = &b->events[i];

        if (e->id == f->connection_id && e->cmd == cmd &&
            e->ip == f->local_ip && e->port == f->local_port)
            return true;
    }
    return false;
}

static void unchain(struct keepers_begun *b, uint16_t event)
{
    uint16_t *at = &b->first[BUCKET_OF(b->events[event].id)];

    while (*at != event)
        at = &b->events[*at].next;
    *at = b->events[event].next;
}

static struct keepers_begun *new_begun(void)
{
    struct keepers_begun *b = xcalloc(1, sizeof(*b));

    for (size_t i = 0; i < BUCKETS; i++)
        b->first[i] = NO_EVENT;
    return b;
}

static void note(struct gateways *g, const struct frame *f)
{
    struct keepers_begun *b = g->begun ? g->begun : new_begun();
    uint16_t event = (uint16_t)(b->count % BEGUN_MAX);
    uint16_t *first = &b->first[BUCKET_OF(f->connection_id)];

    g->begun = b;
    if (b->count++ >= BEGUN_MAX)
        unchain(b, event);
    b->events[event] = (struct begun){.ip = f->local_ip,
        .port = f->local_port,
        .next = *first,
        .id = f->connection_id,
        .cmd = f->cmd};
    *first = event;
}

bool keepers_may_begin(struct gateways *g, const struct frame *f)
{
    if (f->flag & FRAME_FLAG_AGAIN && has_begun(g->begun, f, f->cmd))
        return false;
    if (f->book & FRAME_BOOK_MAYBE && !has_begun(g->begun, f, FRAME_ON_CONNECT))
        return false;
    note(g, f);
    gateways_send_done(g);
    return true;
}

static void forget_begun(const struct peer *p)
{
    struct keepers_begun *b = p->g->begun;

    for (size_t i = 0; i < count_begun(b); i++)
        if (b->events[i].ip == p->at.ip && b->events[i].port == p->at.port)
            b->events[i].cmd = 0;
}

/* ---- where the book is ---- */

/* Put all of one set into the other. */
static void move_all(struct idmap *from, struct idmap *to)
{
    uint32_t id;

    while ((id = idmap_pop(from)) != 0)
        idmap_add(to, id);
}

/* Of a machine that is gone nobody else knows. */
static void give_up(struct peer *p)
{
    if (p->clients.count > 0)
        log_warn("the machine of gateway %s was started anew, its clients get "
                 "an onClose that is not certain clients=%zu",
            p->name, p->clients.count);
    move_all(&p->clients, &p->gone);
    if (p->gone.count > 0)
        gateways_tick_within(p->g, 0);
}

void keepers_forget(struct peer *p, uint32_t id)
{
    idmap_remove(&p->clients, id);
    idmap_remove(&p->rebinding, id);
}

/* The links broke before all were bound anew: whoever has not been bound is as
 * likely still this worker's as before. */
void keepers_lose_links(struct peer *p)
{
    move_all(&p->rebinding, &p->clients);
}

void keepers_take(struct peer *p, const struct frame *f)
{
    uint64_t keeper;

    if (f->connection_id != 0) {
        keepers_forget(p, f->connection_id);
        return;
    }
    if (f->body_len == 0) { /* this worker has been told of all that it has */
        idmap_fini(&p->rebinding);
        return;
    }
    if (f->body_len != sizeof(keeper))
        return; /* of a later version; it says nothing that is known here */
    keeper = (uint64_t)get32(f->body) << 32 | get32(f->body + 4);
    if (p->keeper == keeper) {
        /* All are bound anew, and this worker hears whom it has; until it has
         * heard of all, nobody else may know of the others. */
        move_all(&p->clients, &p->rebinding);
    } else if (p->keeper != 0) {
        give_up(p);
        forget_begun(p);
    }
    p->keeper = keeper;
    p->is_kept = true;
}

void keepers_settle(struct peer *p)
{
    if (p->keeper == 0 || p->is_kept)
        return;
    p->keeper = 0;
    census_take(p);
}

/* ---- while it is away ---- */

static bool is_machine_there(const struct peer *p)
{
    const struct list *node;

    LIST_FOREACH (node, &p->g->peers) {
        const struct peer *other = LIST_ENTRY(node, struct peer, node);

        if (other->is_kept && other->keeper == p->keeper)
            return true;
    }
    return false;
}

/* Only the way to it is broken: a register reaches it. */
static bool is_seen_by_others(const struct peer *p)
{
    const struct gateways *g = p->g;

    return p->listed && g->discovery && g->conf->discovery.registers &&
           discovery_missing(g->discovery) == 0;
}

void keepers_check_lost(struct peer *p, uint64_t now)
{
    uint64_t grace = (uint64_t)(p->g->conf->gateway_lost * 1000);

    if (!p->commands && is_seen_by_others(p))
        p->lost_at = now;
    if (p->commands || now - p->lost_at < grace)
        return;
    if (is_machine_there(p)) { /* and gives what is in the book */
        idmap_fini(&p->clients);
        return;
    }
    if (p->clients.count > 0 && !p->gone_logged)
        log_warn("gateway %s and its machine are gone, its clients get an "
                 "onClose that is not certain clients=%zu",
            p->name, p->clients.count);
    p->gone_logged = true;
    peer_lose_some(p, &p->clients);
}

void keepers_drop(struct peer *p)
{
    idmap_fini(&p->rebinding);
    idmap_fini(&p->gone);
}

void keepers_close(struct gateways *g)
{
    free(g->begun);
}
