/* What was sent to a gateway and what that has said to have run. A command that
 * was taken is run, or counted when its link ends: the script has been told
 * that all is well. */
#include "worker/receipts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/addr.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/frame.h"

int receipts_take(
    struct receipts *r, const char *gateway, const struct frame *f)
{
    struct receipt said;

    if (receipt_parse(&said, f->body, f->body_len) < 0)
        return -EPROTO;
    for (int i = RECEIPT_SEND; i < RECEIPT_KINDS; i++) {
        uint32_t open = r->written.orders[i] - r->confirmed.orders[i];

        if (said.orders[i] - r->confirmed.orders[i] > open) {
            log_warn("gateway %s has run orders that it was not sent", gateway);
            return -EPROTO;
        }
    }
    r->confirmed = said;
    r->known = r->heard = true;
    return 0;
}

void receipts_settle(struct receipts *r)
{
    r->known = r->heard;
}

void receipts_show(struct receipts *r, struct claims *page)
{
    r->shown = claims_show_sent(page, &r->written);
}

/* How many were written and are not confirmed; logged. */
static uint64_t count_lost(const struct receipt *written,
    const struct receipt *confirmed, const char *gateway)
{
    uint32_t lost[RECEIPT_KINDS];
    uint64_t sum = 0;

    for (int i = RECEIPT_SEND; i < RECEIPT_KINDS; i++) {
        lost[i] = written->orders[i] - confirmed->orders[i];
        sum += lost[i];
    }
    if (sum == 0)
        return 0;
    log_warn("commands lost with the links to gateway %s, or not known to be "
             "run messages=%u closes=%u members=%u sessions=%u",
        gateway, lost[RECEIPT_SEND], lost[RECEIPT_CLOSE], lost[RECEIPT_MEMBER],
        lost[RECEIPT_SESSION]);
    return sum;
}

/* ---- links that have ended ---- */

/* A gateway of this machine knows what it has run, and counts the rest. It may
 * be gone, too. */
struct wait {
    struct list node;
    struct claims *page; /* owned */
    struct receipt written, confirmed;
    char gateway[ADDR_TEXT_SIZE];
    unsigned ticks;
};

static void end_wait(struct wait *w)
{
    list_remove(&w->node);
    claims_close(w->page);
    free(w);
}

uint64_t receipts_end(struct receipts *r, const char *gateway,
    struct claims *page, struct list *waits)
{
    struct receipts ended = *r;
    struct wait *w;

    *r = (struct receipts){.known = ended.known};
    if (!ended.known)
        return 0;
    if (!ended.shown)
        return count_lost(&ended.written, &ended.confirmed, gateway);
    w = xcalloc(1, sizeof(*w));
    w->page = claims_share(page);
    w->written = ended.written;
    w->confirmed = ended.confirmed;
    snprintf(w->gateway, sizeof(w->gateway), "%s", gateway);
    list_init(&w->node);
    list_push_back(waits, &w->node);
    return 0;
}

/* What was written when the gateway had counted already is lost as well; of a
 * page that is not valid only what was confirmed is believed. */
static uint64_t hear(struct wait *w, bool ends)
{
    int err = ends ? claims_take_account(w->page, &w->written, &w->confirmed)
                   : claims_hear_counted(w->page, &w->written, &w->confirmed);
    uint64_t lost = 0;

    if (err == -EAGAIN)
        return 0;
    lost = count_lost(&w->written, &w->confirmed, w->gateway);
    end_wait(w);
    return lost;
}

uint64_t receipts_tick(struct list *waits)
{
    struct list *node, *tmp;
    uint64_t lost = 0;

    LIST_FOREACH_SAFE (node, tmp, waits) {
        struct wait *w = LIST_ENTRY(node, struct wait, node);

        lost += hear(w, ++w->ticks > RECEIPTS_WAIT);
    }
    return lost;
}

uint64_t receipts_close(struct list *waits)
{
    struct list *node, *tmp;
    uint64_t lost = 0;

    LIST_FOREACH_SAFE (node, tmp, waits)
        lost += hear(LIST_ENTRY(node, struct wait, node), true);
    return lost;
}
