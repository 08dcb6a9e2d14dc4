/* Heads are read and written byte by byte at their offsets; ext and body stay
 * where they are. What flags put in
 * front of ext is for the functions about the front only. */
#include "wire/frame.h"

#include <assert.h>
#include <errno.h>

#include "wire/bigendian.h"

#define LEN_FIELD 4 /* bytes of pack_len */

ssize_t frame_measure(const uint8_t *data, size_t len, size_t limit)
{
    uint32_t pack_len;

    if (len < LEN_FIELD)
        return 0;
    pack_len = get32(data);
    if (pack_len < FRAME_HEAD_LEN)
        return -EPROTO;
    if (pack_len > limit)
        return -EMSGSIZE;
    return (ssize_t)pack_len;
}

#define FRONT_FLAGS (FRAME_FLAG_IPV6 | FRAME_FLAG_SESSION | FRAME_FLAG_BOOK)

/* Bytes that flags put in front of ext: nothing, with most packets. */
static size_t front_len(uint8_t cmd, uint8_t flag)
{
    const struct frame f = {.cmd = cmd, .flag = flag};
    size_t len = 0;

    if (!(flag & FRONT_FLAGS))
        return 0;
    if (flag & FRAME_FLAG_IPV6)
        len += FRAME_IPV6_LEN;
    if (flag & FRAME_FLAG_SESSION)
        len += FRAME_CHANGES_LEN;
    if (frame_has_place(&f))
        len += FRAME_BOOK_LEN;
    return len;
}

static void read_front(struct frame *f, const uint8_t *p)
{
    if (f->flag & FRAME_FLAG_IPV6) {
        memcpy(f->client_ip6, p, FRAME_IPV6_LEN);
        p += FRAME_IPV6_LEN;
    }
    if (f->flag & FRAME_FLAG_SESSION) {
        f->changes = get32(p);
        p += FRAME_CHANGES_LEN;
    }
    if (frame_has_place(f)) {
        f->book = p[0];
        f->place = get32(p + 1);
    }
}

static void write_front(uint8_t *p, const struct frame *f)
{
    if (f->flag & FRAME_FLAG_IPV6) {
        memcpy(p, f->client_ip6, FRAME_IPV6_LEN);
        p += FRAME_IPV6_LEN;
    }
    if (f->flag & FRAME_FLAG_SESSION) {
        put32(p, f->changes);
        p += FRAME_CHANGES_LEN;
    }
    if (frame_has_place(f)) {
        p[0] = f->book;
        put32(p + 1, f->place);
    }
}

int frame_decode(struct frame *f, const uint8_t *data, size_t len)
{
    size_t ext_len, front_size;

    if (len < FRAME_HEAD_LEN || get32(data) != len)
        return -EPROTO;
    ext_len = get32(data + 24);
    front_size = front_len(data[4], data[21]);
    if (ext_len > len - FRAME_HEAD_LEN || ext_len < front_size)
        return -EPROTO;
    f->cmd = data[4];
    f->local_ip = get32(data + 5);
    f->local_port = get16(data + 9);
    f->client_ip = get32(data + 11);
    f->client_port = get16(data + 15);
    f->connection_id = get32(data + 17);
    f->flag = data[21];
    f->gateway_port = get16(data + 22);
    memset(f->client_ip6, 0, FRAME_IPV6_LEN);
    f->changes = f->place = f->book = 0;
    if (front_size > 0)
        read_front(f, data + FRAME_HEAD_LEN);
    f->ext_len = ext_len - front_size;
    f->ext = data + FRAME_HEAD_LEN + front_size;
    f->body_len = len - FRAME_HEAD_LEN - ext_len;
    f->body = data + FRAME_HEAD_LEN + ext_len;
    return 0;
}

uint8_t frame_cmd(const uint8_t *packet)
{
    return packet[4];
}

const uint8_t *frame_body(const uint8_t *packet, size_t len, size_t *body_len)
{
    size_t ext_len = get32(packet + 24);

    if (ext_len > len - FRAME_HEAD_LEN ||
        ext_len < front_len(packet[4], packet[21]))
        return NULL;
    *body_len = len - FRAME_HEAD_LEN - ext_len;
    return packet + FRAME_HEAD_LEN + ext_len;
}

uint32_t frame_connection_id(const uint8_t *packet)
{
    return get32(packet + 17);
}

void frame_encode(struct buf *out, const struct frame *f)
{
    size_t front_size = front_len(f->cmd, f->flag);
    size_t len = FRAME_HEAD_LEN + front_size + f->ext_len + f->body_len;
    uint8_t *p;

    assert(len <= UINT32_MAX);
    p = buf_extend(out, len);
    put32(p, (uint32_t)len);
    p[4] = f->cmd;
    put32(p + 5, f->local_ip);
    put16(p + 9, f->local_port);
    put32(p + 11, f->client_ip);
    put16(p + 15, f->client_port);
    put32(p + 17, f->connection_id);
    p[21] = f->flag;
    put16(p + 22, f->gateway_port);
    put32(p + 24, (uint32_t)(front_size + f->ext_len));
    p += FRAME_HEAD_LEN;
    if (front_size > 0)
        write_front(p, f);
    p += front_size;
    if (f->ext_len > 0)
        memcpy(p, f->ext, f->ext_len);
    if (f->body_len > 0)
        memcpy(p + f->ext_len, f->body, f->body_len);
}

#define FRAME_ROW(name, number, kind) \
    [FRAME_##name] = {#name, FRAME_KIND_##kind},
static const struct {
    const char *name;
    enum frame_kind kind;
} commands[UINT8_MAX + 1] = {FRAME_COMMANDS(FRAME_ROW)};

const char *frame_cmd_name(uint8_t cmd)
{
    return commands[cmd].name ? commands[cmd].name : "?";
}

enum frame_kind frame_cmd_kind(uint8_t cmd)
{
    return commands[cmd].kind;
}
