/* How much of each gateway waits in the mailboxes.
 *
 * A gateway of gwrun's own gives no more than it may (its worker_high_water);
 * GatewayWorker's give what comes. The link of one that has given more than the
 * limit is not read until its part is shorter; the others' are. */
#include "worker/backlogs.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/log.h"
#include "worker/gateways_impl.h"

struct backlog {
    struct list node; /* in backlogs->list while bytes > 0 */
    struct gateways_address from;
    size_t bytes;
    bool paused;
};

void backlogs_init(struct backlogs *all, struct gateways *gateways, size_t max)
{
    *all = (struct backlogs){.gateways = gateways, .max = max};
    list_init(&all->list);
}

static struct backlog *find(struct backlogs *all, struct gateways_address from)
{
    struct list *node;
    struct backlog *b;

    LIST_FOREACH (node, &all->list) {
        b = LIST_ENTRY(node, struct backlog, node);
        if (b->from.ip == from.ip && b->from.port == from.port)
            return b;
    }
    b = xcalloc(1, sizeof(*b));
    b->from = from;
    list_init(&b->node);
    list_push_back(&all->list, &b->node);
    return b;
}

static void hold(const struct backlogs *all, struct backlog *b, bool paused)
{
    char ip[ADDR_TEXT_SIZE];
    union addr addr = {.in = {.sin_family = AF_INET,
                           .sin_port = htons(b->from.port),
                           .sin_addr.s_addr = htonl(b->from.ip)}};

    gateways_hold_events(all->gateways, b->from, paused);
    if (b->paused == paused)
        return;
    b->paused = paused;
    if (paused)
        log_warn("mailboxes are full, reading from gateway %s pauses "
                 "queued=%zu bytes=%zu",
            addr_format(ip, &addr), all->queued, b->bytes);
    else
        log_notice("mailboxes are shorter, reading from gateway %s goes on",
            addr_format(ip, &addr));
}

void backlogs_add(
    struct backlogs *all, struct gateways_address from, size_t bytes)
{
    struct backlog *b = find(all, from);

    all->queued++;
    b->bytes += bytes;
    if (b->bytes > all->max)
        hold(all, b, true);
}

void backlogs_remove(
    struct backlogs *all, struct gateways_address from, size_t bytes)
{
    struct backlog *b = find(all, from);

    all->queued--;
    b->bytes -= bytes;
    if (b->paused && !all->stopped && b->bytes <= all->max / 4)
        hold(all, b, false);
    if (b->bytes > 0)
        return;
    list_remove(&b->node);
    free(b);
}
