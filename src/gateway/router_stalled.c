/* Workers of this machine that do not move. Such a worker beats in its page of
 * claims once a second, and what it begins moves the same page; one that does
 * neither for STALL_TICKS is stalled: it was stopped, or its handler computes.
 * It gets no new events, and where another worker could begin what it has not
 * begun, that is taken back. It is not dead: what it has begun goes on, the
 * clients of those handlers wait for it, and once it moves again it goes on
 * with a new page.
 *
 * Nothing here decides what runs. Whether an event may begin is decided in the
 * page, so a worker that was taken for stalled, and was not, costs nothing but
 * the way of its events. */
#include <errno.h>

#include "gateway/router_impl.h"
#include "util/log.h"

#define STALL_TICKS 3     /* about as many seconds */
#define IDS_MAX     65536 /* clients of which is known that nothing runs */

/* ---- whose handlers may run ---- */

void router_note_runs(struct router_worker *w, uint32_t connection_id)
{
    if (w->runs_any)
        return;
    idmap_add(&w->runs, connection_id);
    if (w->runs.count > IDS_MAX) {
        w->runs_any = true;
        idmap_fini(&w->runs);
    }
}

void router_note_idle(struct router_worker *w)
{
    w->runs_any = false;
    idmap_fini(&w->runs);
}

bool router_may_run(const struct router_worker *w, uint32_t connection_id)
{
    return w->running > 0 &&
           (w->runs_any || idmap_has(&w->runs, connection_id));
}

bool router_may_leave(const struct router_worker *w, const struct client *c)
{
    return w->renews && !router_may_run(w, c->id);
}

/* ---- who is stalled ---- */

/* Whether w is watched; its ticks of rest are counted. */
static bool look(struct router_worker *w)
{
    uint64_t pulse;

    if (w->renews || !w->features.stalls || !w->given ||
        !given_pulse(w->given, &pulse))
        return false;
    w->rest = pulse == w->pulse ? w->rest + 1 : 0;
    w->pulse = pulse;
    return true;
}

/* Somebody else who moves could take events: not one of those whose scripts
 * load at the same time. */
static bool has_substitute(const struct router *r)
{
    for (size_t i = 0; i < r->nslots; i++) {
        const struct router_worker *w = r->workers[i];

        if (w && !w->stalled && w->rest <= 1) /* a beat may be late */
            return true;
    }
    return false;
}

static void begin_stall(struct router *r, struct router_worker *w)
{
    w->stalled = true;
    r->counters.stalls++;
    log_warn("a worker is stalled, it gets no new events key=%s running=%llu "
             "not_begun=%zu",
        w->key, (unsigned long long)w->running, given_count(w->given));
}

static void end_stall(struct router *r, struct router_worker *w)
{
    w->stalled = w->renews = false;
    w->rest = 0;
    buf_fini(&w->frozen);
    log_notice("a stalled worker goes on key=%s", w->key);
    router_unstick(r);
    router_drained(r);
}

/* Without room for a new page everything stays as it is. */
static void take_back(
    struct router *r, struct router_worker *w, const struct roster *roster)
{
    struct claims *page = router_offer_page(r, w);
    size_t count;

    if (!page)
        return;
    w->renews = true;
    count = router_take_back(r, w, roster);
    given_renew(w->given, page);
    if (count > 0)
        log_warn("others get what a stalled worker has not begun key=%s "
                 "count=%zu",
            w->key, count);
    router_drained(r);
}

void router_watch(struct router *r, const struct roster *roster)
{
    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[i];

        if (!w || !look(w))
            continue;
        if (w->stalled && w->rest == 0)
            end_stall(r, w);
        else if (!w->stalled && w->rest >= STALL_TICKS)
            begin_stall(r, w);
    }
    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[i];

        if (w && w->stalled && !w->renews && has_substitute(r))
            take_back(r, w, roster);
        if (w)
            w->stalled_ticks = w->stalled ? w->stalled_ticks + 1 : 0;
    }
}

int router_renewed(struct router *r, struct router_worker *w)
{
    if (!w->conn)
        return 0; /* it leaves */
    if (!w->renews)
        return -EPROTO;
    given_renewed(w->given);
    end_stall(r, w);
    return 0;
}

size_t router_stalled_count(const struct router *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->nslots; i++)
        count += r->workers[i] && r->workers[i]->stalled;
    return count;
}
