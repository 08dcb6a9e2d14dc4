/* The parts stand in the order of their flags. */
#include "wire/demand.h"

#include <errno.h>
#include <string.h>

#include "wire/bigendian.h"

#define LOGIN_LEN 8

void demand_put_login(struct buf *out, uint64_t login)
{
    uint8_t *p = buf_extend(out, LOGIN_LEN);

    put32(p, (uint32_t)(login >> 32));
    put32(p + 4, (uint32_t)login);
}

int demand_read_login(uint64_t *login, const uint8_t *data, size_t len)
{
    if (len != LOGIN_LEN)
        return -EPROTO;
    *login = (uint64_t)get32(data) << 32 | get32(data + 4);
    return 0;
}

void demand_put(struct buf *out, const struct demand *d)
{
    buf_append_byte(out, d->flags);
    if (d->flags & DEMAND_WAIT) {
        put32(buf_extend(out, 4), d->question);
        buf_append_byte(out, (uint8_t)d->reply_len);
        buf_append(out, d->reply, d->reply_len);
    }
    if (d->flags & DEMAND_ONLY)
        demand_put_login(out, d->login);
}

int demand_read(struct demand *d, const uint8_t *data, size_t len)
{
    size_t at = 1;

    memset(d, 0, sizeof(*d));
    if (len < 1)
        return -EPROTO;
    d->flags = data[0];
    if (d->flags & DEMAND_WAIT) {
        if (len < at + 5 || len < at + 5 + data[at + 4] || data[at + 4] == 0)
            return -EPROTO;
        d->question = get32(data + at);
        d->reply_len = data[at + 4];
        d->reply = (const char *)data + at + 5;
        at += 5 + d->reply_len;
    }
    if (d->flags & DEMAND_ONLY)
        return demand_read_login(&d->login, data + at, len - at);
    return len == at ? 0 : -EPROTO;
}
