/* What an engine asks on its way up, one after the other: what server it is,
 * the claim, and the members. The claim is made again for as long as it is
 * there, the members are asked for again at each news of them. */
#include "engine/engine_redis_impl.h"

#include <stdlib.h>
#include <string.h>

#include "engine/cells.h"
#include "engine/words.h"
#include "net/addr.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"
#include "util/log.h"

/* Of these questions one is under way at a time. */
static void ask(
    struct engine *e, const struct buf *command, redis_reply_cb done)
{
    e->asking = engine_call(e, command, done, e) == 0;
    if (!e->asking)
        engine_lose(e, "too many commands are waiting");
}

static void on_members(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;
    const struct redisvalue *all = replies;
    struct engine_member *list;
    size_t n = 0;

    e->asking = false;
    if (err < 0 || all->type != REDIS_ARRAY) {
        engine_lose(e, err < 0 ? redis_error(e->commands) : all->text);
        return;
    }
    list = xcalloc(all->len / 2 + 1, sizeof(*list));
    for (size_t i = 0; i + 1 < all->len && n < ENGINE_MEMBERS_MAX; i += 2)
        n += cells_read_member(&list[n], &all->items[i], &all->items[i + 1]);
    e->part.on_members(list, n, e->part.arg);
    free(list);
    if (e->state == CLAIMING)
        engine_subscribe(e);
}

void engine_ask_members(struct engine *e)
{
    struct buf *out = engine_scratch(e);

    if (!e->part.watches)
        return;
    cells_put_members(out, e->conf);
    ask(e, out, on_members);
}

static void on_claimed(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;
    char address[ADDR_TEXT_SIZE], why[ENGINE_ERROR_SIZE];
    struct cells_self self = engine_self(e, address);
    enum cells_claim claim = CELLS_REFUSED;

    e->asking = false;
    if (err == 0)
        claim = cells_read_claim(replies, &self, why);
    if (err < 0)
        engine_lose(e, redis_error(e->commands));
    else if (claim == CELLS_FORMER)
        engine_leave(e, why);
    else if (claim == CELLS_REFUSED)
        engine_lose(e, why);
    else if (e->part.watches)
        engine_ask_members(e);
    else if (e->state == CLAIMING)
        engine_subscribe(e);
}

void engine_claim(struct engine *e)
{
    struct buf *out = engine_scratch(e);
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(e, address);

    cells_put_claim(out, &self);
    ask(e, out, on_claimed);
}

static void on_info(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;
    char why[ENGINE_ERROR_SIZE] = "";
    int verdict = 0;

    e->asking = false;
    if (err == 0 && replies->type == REDIS_STRING)
        verdict = server_judge(replies->text, why);
    if (err < 0) {
        engine_lose(e, redis_error(e->commands));
    } else if (replies->type == REDIS_ERROR &&
               strncmp(replies->text, "NOPERM", 6) != 0) {
        engine_lose(e, replies->text);
    } else if (verdict < 0) {
        engine_lose(e, why);
    } else if (e->state == CLAIMING) {
        if (*why && !e->told_policy)
            log_warn("the cluster is at risk: %s", why);
        e->told_policy = *why;
        engine_claim(e);
    }
}

/* An ACL may keep from us what server it is; then we find out. */
void engine_ask_server(struct engine *e)
{
    struct buf *out = engine_scratch(e);

    rediscommand_begin(out, 1);
    words_text(out, "INFO");
    ask(e, out, on_info);
}
