/* Each client has a share of what a worker may have and not have begun.
 *
 * A client that is over it is not read from until half of it has begun; nobody
 * else notices. The share is a part of what is left of the worker's high-water
 * mark, so that there is always something left for those who come next, however
 * many are over theirs. A client of which nothing waits may send one message,
 * however large, if the mark has room for it. */
#include "clients/client_conn.h"
#include "gateway/router_impl.h"

#define SHARE_PART   16   /* of what is left, that one client may take */
#define SHARE_CROWD  1024 /* clients, or more: of the mark, … */
#define SHARE_LITTLE 512  /* … and bytes, or more, that each has beyond it */

static size_t share_of(const struct router *r, const struct router_worker *w)
{
    size_t used = given_bytes(w->given);
    size_t left = used < r->conf.high_water ? r->conf.high_water - used : 0;

    return left / SHARE_PART < r->conf.client_share ? left / SHARE_PART
                                                    : r->conf.client_share;
}

/* An event passes that leaves w with no more than its high-water mark; one that
 * alone is more than half of that needs half of it to be free. Beyond that each
 * client may have a little: the many who say little find room behind the few
 * who have filled it. */
bool router_share_fits(const struct router *r, struct router_worker *w,
    const struct client *c, size_t len)
{
    size_t max = r->conf.high_water;
    size_t few = w->clients > SHARE_CROWD ? w->clients : SHARE_CROWD;
    size_t little = max / few > SHARE_LITTLE ? max / few : SHARE_LITTLE;

    if (!w->given ||
        given_bytes(w->given) + (len < max / 2 ? len : max / 2) <= max ||
        c->unbegun + len <= little)
        return true;
    w->crowded = true;
    return false;
}

static void pause_client(
    struct router *r, struct client *c, enum roster_pause why)
{
    if (c->paused == 0) {
        client_conn_pause(c->conn);
        r->npaused++;
    }
    c->paused |= (uint8_t)why;
}

static void resume_client(
    struct router *r, struct client *c, enum roster_pause why)
{
    c->paused &= (uint8_t)~why;
    if (c->paused == 0) {
        client_conn_resume(c->conn);
        r->npaused--;
    }
}

void router_share_take(struct router *r, const struct router_worker *w,
    struct client *c, size_t len)
{
    r->unbegun_bytes += len;
    c->unbegun += (uint32_t)len;
    if (c->unbegun <= share_of(r, w) || c->paused & ROSTER_OVER || c->gone)
        return;
    pause_client(r, c, ROSTER_OVER);
    r->nover++;
    r->counters.over++;
}

void router_share_leave(struct router *r, const struct router_worker *w,
    struct client *c, size_t len)
{
    /* The event may be of an earlier client with the same id, and longer. */
    c->unbegun -= len < c->unbegun ? (uint32_t)len : c->unbegun;
    if (!(c->paused & ROSTER_OVER) || c->unbegun > share_of(r, w) / 2)
        return;
    r->nover--;
    resume_client(r, c, ROSTER_OVER);
}

void router_stall(struct router *r, struct client *c)
{
    if (!c->gone)
        pause_client(r, c, ROSTER_STALLED);
}

void router_unstall(struct router *r, struct client *c)
{
    if (c->paused & ROSTER_STALLED)
        resume_client(r, c, ROSTER_STALLED);
}

void router_share_end(struct router *r, struct client *c)
{
    r->npaused -= c->paused != 0;
    r->nover -= (c->paused & ROSTER_OVER) != 0;
    c->paused = 0;
}
