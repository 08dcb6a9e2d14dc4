/* Numbers stay where they came: an ack points into the packet. */
#include "wire/ack.h"

#include <errno.h>

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

uint32_t ack_number(const struct ack_numbers *numbers, size_t i)
{
    return get32(numbers->data + i * NUMBER_LEN);
}
