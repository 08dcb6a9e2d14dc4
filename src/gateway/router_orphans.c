/* Clients whose worker is gone find another one at their next event. Where a
 * script wants to know whose they are, those that say nothing are bound before:
 * the roster is gone through from its end, a batch at a time. A client that
 * leaves meanwhile has the last one take its place, which was looked at
 * already, or is still to be. */
#include <string.h>

#include "gateway/router_impl.h"
#include "wire/frame.h"

#define LOOKS 10000 /* at clients, in a batch, … */
#define BATCH 1000  /* … of which so many are bound */
#define WAIT_TICKS                                        \
    2 /* a lost worker is mostly there again by then, and \
         gets its share of them */

void router_note_orphans(struct router *r)
{
    r->orphans = true;
    r->orphans_wait = WAIT_TICKS;
}

void router_tick_orphans(struct router *r)
{
    r->orphans_wait -= r->orphans_wait > 0;
}

/* One on another machine has to know whom it has, should this one be gone. */
bool router_wants_bound(const struct router_worker *w)
{
    return w->features.callbacks & ROUTER_ON_BOUND || w->features.far_book;
}

void router_tell_bound(
    struct router *r, struct router_worker *w, struct client *c)
{
    static const uint8_t quiet[1];
    struct frame f = {
        .cmd = FRAME_BOUND,
        .flag = FRAME_FLAG_STRING,
        .client_ip = addr_ipv4(&c->peer),
        .client_port = addr_port(&c->peer),
        .connection_id = c->id,
    };

    if (c->streams && w->features.types)
        f.flag |= FRAME_FLAG_STREAM;
    if (c->peer.sa.sa_family == AF_INET6 && w->features.client_addr) {
        f.flag |= FRAME_FLAG_IPV6;
        memcpy(f.client_ip6, &c->peer.in6.sin6_addr, FRAME_IPV6_LEN);
    }
    if (w->features.callbacks & ROUTER_ON_BOUND) {
        router_put_session(r, w, c, &f);
    } else { /* its script does not hear of it */
        f.body = quiet;
        f.body_len = sizeof(quiet);
    }
    router_put(r, w, &f);
}

static bool is_wanted(const struct router *r)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && router_wants_bound(r->workers[i]))
            return true;
    return false;
}

/* Where the next event of c goes, c is bound now. Whether it was. */
static bool bind_orphan(struct router *r, struct client *c)
{
    struct router_worker *w;

    /* What waits of c, or is yet to be its first event, tells of it. */
    if (c->worker_serial == 0 || c->wait || c->gone ||
        router_bound_worker(r, c))
        return false;
    w = router_ready_worker(r, c, 0);
    if (!w) {
        r->orphans = true; /* for another pass */
        return false;
    }
    if (!router_wants_bound(w))
        return false;
    router_bind_for(r, w, c, FRAME_BOUND);
    return true;
}

/* Whoever had clients on links before knows now which of them it has. */
static void tell_all_bound(const struct router *r)
{
    struct frame f = {.cmd = FRAME_KEEPS, .flag = FRAME_FLAG_STRING};

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && r->workers[i]->features.far_book)
            router_put(r, r->workers[i], &f);
}

bool router_bind_orphans(struct router *r, const struct roster *roster)
{
    size_t count = roster_count(roster);
    size_t bound = 0;

    if (r->orphans_at == 0) {
        if (!r->orphans || r->orphans_wait > 0 || !is_wanted(r))
            return false;
        r->orphans = false;
        r->orphans_at = count;
    }
    if (r->orphans_at > count)
        r->orphans_at = count;
    for (int i = 0; i < LOOKS && bound < BATCH && r->orphans_at > 0; i++)
        bound += bind_orphan(r, roster_at(roster, --r->orphans_at));
    if (r->orphans_at == 0 && !r->orphans)
        tell_all_bound(r);
    return r->orphans_at > 0;
}
