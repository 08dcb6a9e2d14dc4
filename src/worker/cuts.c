/* A gateway that ends our event link and not the other one, as soon as it is
 * there and again and again, has another worker of our name, which takes our
 * place whenever we take its. Let it have that for a while: who comes and goes
 * every second serves nobody. */
#include <errno.h>

#include "net/clock.h"
#include "util/log.h"
#include "worker/gateways_impl.h"

void cuts_note(struct peer *p, int err)
{
    uint64_t now = clock_now(turn_loop(p->g->turn));
    bool by_gateway = (err == 0 || err == -ECONNRESET) && p->commands &&
                      !conn_has_ended(p->commands);

    if (!by_gateway || now - p->connected_at >= GATEWAYS_SETTLED_MS) {
        p->cuts = 0;
        return;
    }
    if (++p->cuts < GATEWAYS_CUTS_MAX)
        return;
    p->cuts = GATEWAYS_CUTS_MAX - 1; /* the next one is one too many again */
    p->events_after = now + GATEWAYS_CUT_WAIT_MS;
    log_error(
        "gateway %s ends our link again and again, it is asked for events in "
        "%d s: does another worker on this host have our name and number? "
        "give them different names, or see the gateway's log key=%s",
        p->name, GATEWAYS_CUT_WAIT_MS / 1000, p->g->worker_key);
}
