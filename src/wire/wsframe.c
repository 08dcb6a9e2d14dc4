/* Heads of frames, their masks, and the body of a Close. Messages, and what
 * belongs to one, are the connection's. */
#include "wire/wsframe.h"

#include <errno.h>
#include <string.h>

#include "util/utf8.h"
#include "wire/bigendian.h"

#define FINAL    0x80
#define RESERVED 0x70
#define OPCODE   0x0f
#define MASKED   0x80
#define LENGTH   0x7f
#define LEN_16   126 /* the length follows in 2 bytes */
#define LEN_64   127 /* in 8 */

static bool is_control(enum wsframe_opcode opcode)
{
    return opcode >= WSFRAME_CLOSE;
}

static bool is_known(enum wsframe_opcode opcode)
{
    return opcode <= WSFRAME_BINARY ||
           (opcode >= WSFRAME_CLOSE && opcode <= WSFRAME_PONG);
}

ssize_t wsframe_read(struct wsframe *f, const uint8_t *data, size_t len)
{
    size_t head = 2;

    if (len < 2)
        return 0;
    f->opcode = data[0] & OPCODE;
    f->final = data[0] & FINAL;
    f->len = data[1] & LENGTH;
    if ((data[0] & RESERVED) || !is_known(f->opcode) || !(data[1] & MASKED) ||
        (is_control(f->opcode) && (!f->final || f->len > WSFRAME_CONTROL_MAX)))
        return -EPROTO;
    if (f->len == LEN_16)
        head += 2;
    else if (f->len == LEN_64)
        head += 8;
    if (len < head + sizeof(f->mask))
        return 0;
    if (f->len == LEN_16) {
        f->len = get16(data + 2);
    } else if (f->len == LEN_64) {
        f->len = (uint64_t)get32(data + 2) << 32 | get32(data + 6);
        if (f->len > INT64_MAX)
            return -EPROTO;
    }
    memcpy(f->mask, data + head, sizeof(f->mask));
    return (ssize_t)(head + sizeof(f->mask));
}

void wsframe_unmask(const struct wsframe *f, uint8_t *payload)
{
    uint64_t mask, word;
    size_t i;

    memcpy(&mask, f->mask, 4);
    memcpy((uint8_t *)&mask + 4, f->mask, 4);
    for (i = 0; i + 8 <= f->len; i += 8) {
        memcpy(&word, payload + i, 8);
        word ^= mask;
        memcpy(payload + i, &word, 8);
    }
    for (; i < f->len; i++)
        payload[i] ^= f->mask[i % 4];
}

bool wsframe_is_close_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

int wsframe_read_close(
    struct wsframe_close *out, const uint8_t *payload, size_t len)
{
    *out = (struct wsframe_close){.code = WSFRAME_NO_CODE};
    if (len == 0)
        return 0;
    if (len == 1 || len > WSFRAME_CONTROL_MAX)
        return -EPROTO;
    out->code = get16(payload);
    out->reason = payload + 2;
    out->len = len - 2;
    if (!wsframe_is_close_code(out->code))
        return -EPROTO;
    return utf8_valid(out->reason, out->len) ? 0 : -EILSEQ;
}

void wsframe_put_close(struct buf *out, const struct wsframe_close *close)
{
    put16(buf_extend(out, 2), (uint16_t)close->code);
    buf_append(out, close->reason, close->len);
}

size_t wsframe_put_head(uint8_t *out, enum wsframe_opcode opcode, size_t len)
{
    out[0] = FINAL | (uint8_t)opcode;
    if (len < LEN_16) {
        out[1] = (uint8_t)len;
        return 2;
    }
    if (len <= UINT16_MAX) {
        out[1] = LEN_16;
        put16(out + 2, (uint16_t)len);
        return 4;
    }
    out[1] = LEN_64;
    put32(out + 2, (uint32_t)((uint64_t)len >> 32));
    put32(out + 6, (uint32_t)len);
    return WSFRAME_HEAD_MAX;
}
