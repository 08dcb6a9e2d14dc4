/* How much of each gateway waits in the mailboxes.
 *
 * A gateway of gwrun's own gives no more than it may (its worker_high_water);
 * GatewayWorker's give what comes. The link of one that has given more than the
 * limit is not read until its part is shorter; the others' are. */
#include <stdlib.h>

#include "util/alloc.h"
#include "util/log.h"
#include "worker/dispatch_impl.h"

struct backlog {
    struct list node; /* in dispatch->backlogs while bytes > 0 */
    struct gateways_address from;
    size_t bytes;
    bool paused;
};

static struct backlog *find(struct dispatch *d, const struct frame *f)
{
    struct list *node;
    struct backlog *b;

    LIST_FOREACH (node, &d->backlogs) {
        b = LIST_ENTRY(node, struct backlog, node);
        if (b->from.ip == f->local_ip && b->from.port == f->local_port)
            return b;
    }
    b = xcalloc(1, sizeof(*b));
    b->from = (struct gateways_address){f->local_ip, f->local_port};
    list_init(&b->node);
    list_push_back(&d->backlogs, &b->node);
    return b;
}

static void hold(struct dispatch *d, struct backlog *b, bool paused)
{
    char ip[ADDR_TEXT_SIZE];
    union addr addr = {.in = {.sin_family = AF_INET,
                           .sin_port = htons(b->from.port),
                           .sin_addr.s_addr = htonl(b->from.ip)}};

    gateways_hold_events(d->gateways, b->from, paused);
    if (b->paused == paused)
        return;
    b->paused = paused;
    if (paused)
        log_warn("mailboxes are full, reading from gateway %s pauses "
                 "queued=%zu bytes=%zu",
            addr_format(ip, &addr), d->queued, b->bytes);
    else
        log_notice("mailboxes are shorter, reading from gateway %s goes on",
            addr_format(ip, &addr));
}

void backlogs_add(struct dispatch *d, const struct event *e)
{
    struct backlog *b = find(d, &e->f);

    d->queued++;
    b->bytes += e->size;
    if (b->bytes > d->conf->queue_max)
        hold(d, b, true);
}

void backlogs_remove(struct dispatch *d, const struct event *e)
{
    struct backlog *b = find(d, &e->f);

    d->queued--;
    b->bytes -= e->size;
    if (b->paused && !d->stopped && b->bytes <= d->conf->queue_max / 4)
        hold(d, b, false);
    if (b->bytes > 0)
        return;
    list_remove(&b->node);
    free(b);
}
