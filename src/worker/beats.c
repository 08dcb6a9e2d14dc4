/* Whether gateways are there. A word a second for those of other machines, so
 * that there is always something for them to acknowledge; which of them do not,
 * and which are not even connected. */
#include "net/clock.h"
#include "wire/frame.h"
#include "worker/gateways_impl.h"

static void beat(struct peer *p)
{
    static const struct frame f = {
        .cmd = FRAME_PING, .flag = FRAME_FLAG_STRING};

    if (p->commands && conn_is_far(p->commands))
        frame_encode(conn_out(p->commands), &f);
}

void beats_tick(struct gateways *g, uint64_t now)
{
    struct list *node;

    if (now - g->beat_at < REACH_BEAT_MS)
        return;
    g->beat_at = now;
    LIST_FOREACH (node, &g->peers)
        beat(LIST_ENTRY(node, struct peer, node));
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
