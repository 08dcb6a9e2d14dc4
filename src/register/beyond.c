/* The list is kept while the engine is away: most of it still holds. */
#include "register/beyond.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "util/alloc.h"
#include "util/secret.h"
#include "wire/regmsg.h"

struct beyond {
    struct engine *engine; /* owned */
    void (*changed)(void *arg);
    void *arg;
    char (*addresses)[ADDR_TEXT_SIZE]; /* owned */
    size_t count;
    struct buf line;
};

static void on_message(const uint8_t *data, size_t len, bool for_all, void *arg)
{
}

static void on_up(void *arg)
{
}

static bool can_be_reached(uint32_t ip)
{
    return ip >> 24 != 127 && ip >> 28 != 15;
}

/* Whether the line is another one than before. */
static bool encode(struct beyond *b)
{
    const char **list = xcalloc(b->count + 1, sizeof(*list));
    struct buf before = b->line;
    bool is_new;

    for (size_t i = 0; i < b->count; i++)
        list[i] = b->addresses[i];
    b->line = (struct buf){0};
    regmsg_put_broadcast_addresses(&b->line, list, b->count);
    is_new = before.len != b->line.len ||
             memcmp(before.data, b->line.data, before.len) != 0;
    buf_fini(&before);
    free(list);
    return is_new;
}

static void on_members(
    const struct engine_member *list, size_t count, void *arg)
{
    struct beyond *b = arg;

    b->addresses = xrealloc(b->addresses, (count + 1) * sizeof(*b->addresses));
    b->count = 0;
    for (size_t i = 0; i < count; i++) {
        union addr a = {.in = {.sin_family = AF_INET,
                            .sin_port = htons(list[i].port),
                            .sin_addr.s_addr = htonl(list[i].ip)}};

        if (can_be_reached(list[i].ip))
            addr_format(b->addresses[b->count++], &a);
    }
    if (encode(b))
        b->changed(b->arg);
}

struct beyond *beyond_open(struct turn *turn, const struct engine_conf *conf,
    void (*changed)(void *arg), void *arg, char err[ENGINE_ERROR_SIZE])
{
    struct beyond *b = xcalloc(1, sizeof(*b));
    char token[SECRET_TOKEN_SIZE];
    char inbox[SECRET_TOKEN_SIZE + 16];
    struct engine_part part = {.kind = "register",
        .inbox = inbox,
        .watches = true,
        .on_message = on_message,
        .on_members = on_members,
        .on_up = on_up,
        .arg = b};

    secret_new_token(token);
    snprintf(inbox, sizeof(inbox), "register:%s", token);
    b->changed = changed;
    b->arg = arg;
    encode(b);
    b->engine = engine_open(turn, conf, &part, err);
    if (b->engine)
        return b;
    buf_fini(&b->line);
    free(b);
    return NULL;
}

void beyond_close(struct beyond *b)
{
    if (!b)
        return;
    engine_close(b->engine);
    free(b->addresses);
    buf_fini(&b->line);
    free(b);
}

const struct buf *beyond_line(struct beyond *b)
{
    return &b->line;
}
