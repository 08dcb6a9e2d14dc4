/* A length that a peer claims is compared with the limit before anything is
 * waited for. */
#include "wire/framing.h"

#include <assert.h>
#include <errno.h>

#include "wire/bigendian.h"

/* A prefix saying claim, and the message behind it. */
static void put_prefixed(
    struct buf *out, size_t claim, const void *data, size_t len)
{
    uint8_t *p;

    assert(claim <= UINT32_MAX);
    p = buf_extend(out, FRAMING_PREFIX_LEN + len);
    put32(p, (uint32_t)claim);
    if (len > 0)
        memcpy(p + FRAMING_PREFIX_LEN, data, len);
}

static struct framing_message behind_prefix(const uint8_t *packet, size_t len)
{
    return (struct framing_message){
        .data = packet + FRAMING_PREFIX_LEN, .len = len - FRAMING_PREFIX_LEN};
}

ssize_t framing_line_measure(const uint8_t *data, size_t len, size_t limit)
{
    size_t scan = len > limit ? limit + 1 : len; /* the line feed included */
    const uint8_t *lf = scan > 0 ? memchr(data, '\n', scan) : NULL;

    if (lf)
        return lf - data + 1;
    return len > limit ? -EMSGSIZE : 0;
}

struct framing_message framing_line_message(const uint8_t *packet, size_t len)
{
    len--; /* the line feed */
    /* PHP's rtrim() takes every carriage return at the end, not one only. */
    while (len > 0 && packet[len - 1] == '\r')
        len--;
    return (struct framing_message){.data = packet, .len = len};
}

void framing_line_encode(struct buf *out, const void *data, size_t len)
{
    uint8_t *p = buf_extend(out, len + 1);

    if (len > 0)
        memcpy(p, data, len);
    p[len] = '\n';
}

ssize_t framing_prefix_measure(const uint8_t *data, size_t len, size_t limit)
{
    uint32_t total;

    if (len < FRAMING_PREFIX_LEN)
        return 0;
    total = get32(data);
    if (total < FRAMING_PREFIX_LEN)
        return -EPROTO;
    if (total - FRAMING_PREFIX_LEN > limit)
        return -EMSGSIZE;
    return (ssize_t)total;
}

struct framing_message framing_prefix_message(const uint8_t *packet, size_t len)
{
    return behind_prefix(packet, len);
}

void framing_prefix_encode(struct buf *out, const void *data, size_t len)
{
    put_prefixed(out, FRAMING_PREFIX_LEN + len, data, len);
}

ssize_t framing_reply_measure(const uint8_t *data, size_t len, size_t limit)
{
    uint32_t claim;

    if (len < FRAMING_PREFIX_LEN)
        return 0;
    claim = get32(data);
    if (claim > limit)
        return -EMSGSIZE;
    return (ssize_t)claim + FRAMING_PREFIX_LEN;
}

struct framing_message framing_reply_message(const uint8_t *packet, size_t len)
{
    return behind_prefix(packet, len);
}

void framing_reply_encode(struct buf *out, const void *data, size_t len)
{
    put_prefixed(out, len, data, len);
}
