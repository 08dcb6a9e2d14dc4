/* Each kind has its own fields between the common head and the data. */
#include "wire/crossing.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "util/alloc.h"
#include "wire/bigendian.h"

#define HEAD_LEN (2 + CROSSING_RUN_LEN + 3 * 8)
#define SKIP_LEN 6

static void put_gateway(uint8_t *p, const struct crossing_gateway *g)
{
    put32(p, g->ip);
    put16(p + 4, g->port);
}

static void put_fields(struct buf *out, const struct crossing *c,
    const struct crossing_gateway *skips)
{
    uint8_t *p;

    switch (c->kind) {
    case CROSSING_ORDER:
    case CROSSING_COPY:
    case CROSSING_TELL:
        p = buf_extend(out, 2 + c->nskips * SKIP_LEN);
        put16(p, (uint16_t)c->nskips);
        for (size_t i = 0; i < c->nskips; i++)
            put_gateway(p + 2 + i * SKIP_LEN, &skips[i]);
        break;
    case CROSSING_QUESTION:
        p = buf_extend(out, 5);
        put32(p, c->question);
        p[4] = (uint8_t)c->reply_len;
        buf_append(out, c->reply, c->reply_len);
        break;
    case CROSSING_ANSWER:
        p = buf_extend(out, 4 + SKIP_LEN + 1);
        put32(p, c->question);
        put_gateway(p + 4, &c->from);
        p[4 + SKIP_LEN] = (uint8_t)c->answer;
        break;
    }
}

void crossing_put(struct buf *out, const struct crossing *c,
    const struct crossing_gateway *skips)
{
    uint8_t *p = buf_extend(out, HEAD_LEN);

    p[0] = CROSSING_VERSION;
    p[1] = (uint8_t)c->kind;
    memcpy(p + 2, c->run, CROSSING_RUN_LEN);
    p += 2 + CROSSING_RUN_LEN;
    put64(p, c->sender);
    put64(p + 8, c->number);
    put64(p + 16, c->to_all);
    put_fields(out, c, skips);
}

/* Take n bytes off; NULL: there are not so many. */
static const uint8_t *take(struct crossing *c, size_t n)
{
    const uint8_t *p = c->data;

    if (c->len < n)
        return NULL;
    c->data += n;
    c->len -= n;
    return p;
}

static int read_order(struct crossing *c)
{
    const uint8_t *p = take(c, 2);

    if (!p)
        return -EPROTO;
    c->nskips = get16(p);
    c->skips = take(c, c->nskips * SKIP_LEN);
    return c->skips ? 0 : -EPROTO;
}

static int read_question(struct crossing *c)
{
    const uint8_t *p = take(c, 5);

    if (!p)
        return -EPROTO;
    c->question = get32(p);
    c->reply_len = p[4];
    c->reply = (const char *)take(c, c->reply_len);
    return c->reply && c->reply_len > 0 ? 0 : -EPROTO;
}

static int read_answer(struct crossing *c)
{
    const uint8_t *p = take(c, 4 + SKIP_LEN + 1);

    if (!p)
        return -EPROTO;
    c->question = get32(p);
    c->from.ip = get32(p + 4);
    c->from.port = get16(p + 8);
    if (p[4 + SKIP_LEN] > CROSSING_STORED)
        return -EPROTO;
    c->answer = p[4 + SKIP_LEN];
    return 0;
}

int crossing_read(struct crossing *c, const uint8_t *data, size_t len)
{
    const uint8_t *p;

    memset(c, 0, sizeof(*c));
    c->data = data;
    c->len = len;
    p = take(c, HEAD_LEN);
    if (len > 0 && data[0] != CROSSING_VERSION)
        return -EPROTONOSUPPORT;
    if (!p)
        return -EPROTO;
    c->run = (const char *)p + 2;
    c->sender = get64(p + 2 + CROSSING_RUN_LEN);
    c->number = get64(p + 2 + CROSSING_RUN_LEN + 8);
    c->to_all = get64(p + 2 + CROSSING_RUN_LEN + 16);
    c->kind = p[1];
    switch (c->kind) {
    case CROSSING_ORDER:
    case CROSSING_COPY:
    case CROSSING_TELL:
        return read_order(c);
    case CROSSING_QUESTION:
        return read_question(c);
    case CROSSING_ANSWER:
        return read_answer(c);
    }
    return -EPROTO;
}

char *crossing_stored_word(const struct crossing *c, const char *inbox)
{
    return xasprintf("%s:%" PRIu32 ":%08" PRIx32 ":%u", inbox, c->question,
        c->from.ip, c->from.port);
}

bool crossing_skips(const struct crossing *c, uint32_t ip, uint16_t port)
{
    for (size_t i = 0; i < c->nskips; i++) {
        const uint8_t *p = c->skips + i * SKIP_LEN;

        if (get32(p) == ip && get16(p + 4) == port)
            return true;
    }
    return false;
}
