/* One table says of which kind a command is; the counts stand in its order. */
#include "wire/receipt.h"

#include <errno.h>

#include "wire/bigendian.h"
#include "wire/frame.h"

#define COUNT_LEN 4 /* bytes on the wire */

const uint8_t receipt_kinds[UINT8_MAX + 1] = {
    [FRAME_SEND_TO_ONE] = RECEIPT_SEND,
    [FRAME_SEND_TO_ALL] = RECEIPT_SEND,
    [FRAME_SEND_TO_UID] = RECEIPT_SEND,
    [FRAME_SEND_TO_GROUP] = RECEIPT_SEND,
    [FRAME_KICK] = RECEIPT_CLOSE,
    [FRAME_DESTROY] = RECEIPT_CLOSE,
    [FRAME_BIND_UID] = RECEIPT_MEMBER,
    [FRAME_UNBIND_UID] = RECEIPT_MEMBER,
    [FRAME_JOIN_GROUP] = RECEIPT_MEMBER,
    [FRAME_LEAVE_GROUP] = RECEIPT_MEMBER,
    [FRAME_UNGROUP] = RECEIPT_MEMBER,
    [FRAME_ONLY] = RECEIPT_MEMBER,
    [FRAME_UPDATE_SESSION] = RECEIPT_SESSION,
    [FRAME_SET_SESSION] = RECEIPT_SESSION,
    [FRAME_PATCH_SESSION] = RECEIPT_SESSION,
};

void receipt_put(uint8_t body[RECEIPT_LEN], const struct receipt *r)
{
    for (size_t i = RECEIPT_SEND; i < RECEIPT_KINDS; i++)
        put32(body + (i - RECEIPT_SEND) * COUNT_LEN, r->orders[i]);
}

int receipt_parse(struct receipt *out, const void *data, size_t len)
{
    const uint8_t *p = data;

    if (len != RECEIPT_LEN)
        return -EPROTO;
    out->orders[RECEIPT_OTHER] = 0;
    for (size_t i = RECEIPT_SEND; i < RECEIPT_KINDS; i++)
        out->orders[i] = get32(p + (i - RECEIPT_SEND) * COUNT_LEN);
    return 0;
}
