/* Numbers stay where they came: an ack points into the packet. */
#include "wire/ack.h"

#include <errno.h>
#include <string.h>

#include "wire/bigendian.h"

#define NUMBER_LEN 4 /* bytes on the wire */
#define HEAD_LEN   (3 * NUMBER_LEN)

int ack_parse(struct ack *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t numbers = len / NUMBER_LEN;
    uint32_t waits;

    if (len < HEAD_LEN || len % NUMBER_LEN != 0)
        return -EPROTO;
    numbers -= HEAD_LEN / NUMBER_LEN;
    waits = get32(p + 2 * NUMBER_LEN);
    if (waits > numbers)
        return -EPROTO;
    out->taken = get32(p);
    out->ended = get32(p + NUMBER_LEN);
    out->waits = (struct ack_numbers){p + HEAD_LEN, waits};
    out->begins = (struct ack_numbers){
        p + HEAD_LEN + waits * (size_t)NUMBER_LEN, numbers - waits};
    return 0;
}

void ack_put_number(struct buf *out, uint32_t number)
{
    put32(buf_extend(out, NUMBER_LEN), number);
}

void ack_put(struct buf *out, uint32_t taken, uint32_t ended,
    const struct buf *waits, const struct buf *begins)
{
    uint8_t *p = buf_extend(out, HEAD_LEN);

    put32(p, taken);
    put32(p + NUMBER_LEN, ended);
    put32(p + 2 * NUMBER_LEN, (uint32_t)(waits->len / NUMBER_LEN));
    buf_append(out, waits->data, waits->len);
    buf_append(out, begins->data, begins->len);
}

int ack_parse_left(struct ack_left *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    const uint8_t *end = len > 0 ? memchr(p, '\0', len) : NULL;
    size_t rest;

    if (!end)
        return -EPROTO;
    rest = len - (size_t)(end + 1 - p);
    *out = (struct ack_left){.pair = data, .known = rest > 0};
    if (rest % NUMBER_LEN != 0)
        return -EPROTO;
    if (rest > 0) {
        out->taken = get32(end + 1);
        out->unbegun =
            (struct ack_numbers){end + 1 + NUMBER_LEN, rest / NUMBER_LEN - 1};
    }
    return 0;
}

void ack_put_left(struct buf *out, const char *pair, uint32_t taken,
    const struct buf *unbegun)
{
    buf_append(out, pair, strlen(pair) + 1);
    if (!unbegun)
        return;
    ack_put_number(out, taken);
    buf_append(out, unbegun->data, unbegun->len);
}

uint32_t ack_number(const struct ack_numbers *numbers, size_t i)
{
    return get32(numbers->data + i * NUMBER_LEN);
}
