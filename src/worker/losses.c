/* One set of ids for each gateway that was given up, for a time after the last
 * one: few gateways, so that a list will do. */
#include "worker/losses.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/idmap.h"

struct loss {
    uint32_t ip; /* of the gateway */
    uint16_t port;
    uint64_t last; /* loop time in ms */
    struct idmap ids;
};

static struct loss *find(const struct losses *l, const struct client_id *id)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->gateways[i].ip == id->local_ip &&
            l->gateways[i].port == id->local_port)
            return &l->gateways[i];
    return NULL;
}

void losses_add(struct losses *l, const struct client_id *id, uint64_t now)
{
    struct loss *loss = find(l, id);

    if (!loss) {
        l->gateways =
            xrealloc(l->gateways, (l->count + 1) * sizeof(l->gateways[0]));
        loss = &l->gateways[l->count++];
        *loss = (struct loss){.ip = id->local_ip, .port = id->local_port};
    }
    loss->last = now;
    idmap_add(&loss->ids, id->connection_id);
}

static void forget(struct losses *l, struct loss *loss)
{
    idmap_fini(&loss->ids);
    *loss = l->gateways[--l->count];
    if (l->count == 0)
        losses_fini(l);
}

bool losses_strike(struct losses *l, const struct client_id *id)
{
    struct loss *loss = l->count > 0 ? find(l, id) : NULL;

    if (!loss || !idmap_has(&loss->ids, id->connection_id))
        return false;
    idmap_remove(&loss->ids, id->connection_id);
    if (loss->ids.count == 0)
        forget(l, loss);
    return true;
}

void losses_expire(struct losses *l, uint64_t now)
{
    for (size_t i = l->count; i > 0; i--)
        if (now - l->gateways[i - 1].last >= LOSSES_KEEP_MS)
            forget(l, &l->gateways[i - 1]);
}

void losses_fini(struct losses *l)
{
    for (size_t i = 0; i < l->count; i++)
        idmap_fini(&l->gateways[i].ids);
    free(l->gateways);
    *l = (struct losses){0};
}
