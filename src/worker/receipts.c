/* What was sent to a gateway and what that has said to have run. A command that
 * was taken is run, or counted when its link ends: the script has been told
 * that all is well. */
#include "worker/receipts.h"

#include <errno.h>

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

uint64_t receipts_end(struct receipts *r, const char *gateway)
{
    uint32_t lost[RECEIPT_KINDS];
    uint64_t sum = 0;

    for (int i = RECEIPT_SEND; i < RECEIPT_KINDS; i++) {
        lost[i] = r->written.orders[i] - r->confirmed.orders[i];
        sum += lost[i];
    }
    *r = (struct receipts){.known = r->known};
    if (!r->known || sum == 0)
        return 0;
    log_warn("commands lost with the links to gateway %s, or not known to be "
             "run messages=%u closes=%u members=%u sessions=%u",
        gateway, lost[RECEIPT_SEND], lost[RECEIPT_CLOSE], lost[RECEIPT_MEMBER],
        lost[RECEIPT_SESSION]);
    return sum;
}
