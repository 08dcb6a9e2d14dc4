/* shares.h - are the clients' shares what the workers really have of them?
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_GATEWAY_SHARES_H
#define GW_SPEC_GATEWAY_SHARES_H

#include "gateway/router_impl.h"
#include "wire/frame.h"

struct shares_sum {
    const struct client *client; /* NULL: of all */
    size_t bytes;
};

static inline void shares_add(const uint8_t *packet, size_t len, void *arg)
{
    struct shares_sum *sum = arg;

    if (!sum->client || frame_connection_id(packet) == sum->client->id)
        sum->bytes += len;
}

/* What r's workers were given of c (NULL: of all) and have not begun. */
static inline size_t shares_given(
    const struct router *r, const struct client *c)
{
    struct shares_sum sum = {.client = c};
    struct list *node;

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && r->workers[i]->given)
            given_each(r->workers[i]->given, shares_add, &sum);
    LIST_FOREACH (node, &r->leaving)
        given_each(LIST_ENTRY(node, struct router_worker, node)->given,
            shares_add, &sum);
    return sum.bytes;
}

/* Every counter is what it counts. */
static inline bool shares_are_exact(
    const struct router *r, const struct roster *roster)
{
    size_t over = 0;

    if (shares_given(r, NULL) != r->unbegun_bytes)
        return false;
    for (size_t i = 0; i < roster_count(roster); i++) {
        const struct client *c = roster_at(roster, i);

        if (!c->gone && shares_given(r, c) != c->unbegun)
            return false;
        /* Else nothing would let it be read again. */
        if (c->paused & ROSTER_OVER && (c->unbegun == 0 || c->gone))
            return false;
        over += (c->paused & ROSTER_OVER) != 0;
    }
    return over == router_over_count(r);
}

#endif /* GW_SPEC_GATEWAY_SHARES_H */
