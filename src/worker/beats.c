/* Whether gateways are there, and whether this worker is. A word a second for
 * those of other machines, so that there is always something for them to
 * acknowledge; which of them do not, and which are not even connected. A store
 * a second into the pages of those of this machine; what one of them has taken
 * back because the store was missing, and how this worker goes on. */
#include <errno.h>
#include <string.h>

#include "net/clock.h"
#include "util/log.h"
#include "wire/frame.h"
#include "worker/gateways_impl.h"

static void beat(struct peer *p)
{
    static const struct frame f = {
        .cmd = FRAME_PING, .flag = FRAME_FLAG_STRING};

    if (p->acks.page)
        claims_beat(p->acks.page);
    if (p->commands && conn_is_far(p->commands))
        frame_encode(conn_out(p->commands), &f);
}

/* A gateway that takes back what this worker has goes on with it at once, or
 * ends the links. */
static void check_revoked(struct peer *p, uint64_t now)
{
    if (p->revoked && now - p->revoked_at >= GATEWAYS_RENEW_MS)
        peer_lose_links(p, -ECANCELED);
}

void beats_tick(struct gateways *g, uint64_t now)
{
    struct list *node, *tmp;

    if (now - g->beat_at < REACH_BEAT_MS)
        return;
    g->beat_at = now;
    g->sends_lost += receipts_tick(&g->uncounted);
    LIST_FOREACH_SAFE (node, tmp, &g->peers) {
        beat(LIST_ENTRY(node, struct peer, node));
        check_revoked(LIST_ENTRY(node, struct peer, node), now);
    }
}

void peer_revoke(struct peer *p)
{
    p->revoked = true;
    p->revoked_at = clock_now(turn_loop(p->g->turn));
    p->g->ops->on_revoked(p->at, p->g->arg);
}

void peer_renew(struct peer *p, const struct frame *f)
{
    static const struct frame done = {
        .cmd = FRAME_CLAIMS, .flag = FRAME_FLAG_STRING};
    int err;

    peer_revoke(p);
    err = acks_renew(&p->acks, p->g->conf->claims, f->body, f->body_len);
    if (err < 0) {
        log_warn("no new page of claims with gateway %s, its links are closed "
                 "err=%s",
            p->name, strerror(-err));
        peer_lose_links(p, err);
        return;
    }
    p->revoked = false;
    receipts_show(&p->receipts, p->acks.page);
    frame_encode(conn_out(p->commands), &done);
    log_notice(
        "gateway %s has taken back what had not begun, it goes on", p->name);
}

/* ms since p was last heard, if that is too long ago; else 0. */
static uint64_t silence_of(const struct peer *p)
{
    uint64_t silence = p->commands ? conn_silence(p->commands) : 0;
    uint64_t events = p->events ? conn_silence(p->events) : 0;

    if (events > silence)
        silence = events;
    return silence >= REACH_SILENT_MS ? silence : 0;
}

size_t gateways_silent(const struct gateways *g)
{
    struct list *node;
    size_t count = 0;

    LIST_FOREACH (node, &g->peers)
        count += silence_of(LIST_ENTRY(node, struct peer, node)) > 0;
    return count;
}

void gateways_report(const struct gateways *g, reach_link_cb each, void *arg)
{
    uint64_t now = clock_now(turn_loop(g->turn));
    struct list *node;

    LIST_FOREACH (node, &g->peers) {
        const struct peer *p = LIST_ENTRY(node, struct peer, node);
        struct reach_link l = {.peer = p->name, .name = p->listener};

        l.ms = silence_of(p);
        l.state = "silent";
        if (!p->commands) {
            l.state = "away";
            l.ms = now - p->away_since;
        }
        if (!p->commands || l.ms > 0)
            each(&l, arg);
    }
}
