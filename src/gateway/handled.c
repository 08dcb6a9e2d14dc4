/* What a worker is told about the orders that it sent: how many have been run.
 * They are counted on the link that brings them and told on the one that takes
 * the events, many at a time, so that a message has next to nothing of it; what
 * is left over is told at the next tick, and in front of an orderly end. */
#include "gateway/inner_impl.h"

static void tell(struct link *l, const struct link *events)
{
    struct frame f = {.cmd = FRAME_HANDLED, .flag = FRAME_FLAG_STRING};
    uint8_t body[RECEIPT_LEN];

    l->untold = 0;
    if (!events) /* its worker is about to be lost */
        return;
    receipt_put(body, &l->handled);
    f.body = body;
    f.body_len = sizeof(body);
    router_put_on(l->in->conf.router, events->conn, &f);
}

void handled_begin(struct link *commands, const struct link *events)
{
    commands->receipts = true;
    tell(commands, events);
}

/* Of one that became no worker after all nobody wants to know. */
void handled_tell(struct link *l)
{
    if (l->acking)
        tell(l, inner_link_of(l->in, l->acking, false));
}

void handled_tell_all(struct inner *in)
{
    struct list *node;

    LIST_FOREACH (node, &in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        if (l->receipts && l->untold > 0)
            handled_tell(l);
    }
}
