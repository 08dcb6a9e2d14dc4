/* What leaves an engine that is there: messages, and the question who has a
 * name. What cannot leave is counted as lost. */
#include <errno.h>

#include "engine/engine_redis_impl.h"
#include "engine/finding.h"
#include "engine/words.h"
#include "upstream/rediscommand.h"

/* How many have heard it: an inbox that nobody has loses it. */
static void on_published(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;

    if (err < 0 || replies->type != REDIS_INTEGER || replies->integer == 0)
        e->counts.lost++;
    if (err < 0)
        engine_lose(e, redis_error(e->commands));
}

/* What is for a name may be for nobody. */
static void on_published_to_name(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;

    if (err < 0 || replies->type != REDIS_INTEGER)
        e->counts.lost++;
    if (err < 0)
        engine_lose(e, redis_error(e->commands));
}

/* The command stands in scratch, without the data. */
static int send_published(struct engine *e, struct buf *out, const void *data,
    size_t len, redis_reply_cb done)
{
    int err = -ENOTCONN;

    if (e->state == UP) {
        rediscommand_word(out, data, len);
        err = engine_call(e, out, done, e);
    }
    if (err == 0)
        e->counts.published++;
    else
        e->counts.lost++;
    return err;
}

static struct buf *begin_publish(struct engine *e)
{
    struct buf *out = engine_scratch(e);

    rediscommand_begin(out, 3);
    words_text(out, "PUBLISH");
    return out;
}

int engine_publish(
    struct engine *e, const char *inbox, const void *data, size_t len)
{
    struct buf *out = begin_publish(e);

    if (inbox)
        words_key(out, e->conf->name, inbox, "");
    else
        words_text(out, e->subscription.channels[SUBSCRIPTION_ALL]);
    return send_published(e, out, data, len, on_published);
}

int engine_publish_to_name(struct engine *e, enum engine_name kind,
    const void *name, size_t name_len, const void *data, size_t len)
{
    struct buf *out = begin_publish(e);

    directory_put_name(out, e->conf->name, kind, name, name_len);
    return send_published(e, out, data, len, on_published_to_name);
}

int engine_find(struct engine *e, enum engine_name kind,
    const struct cmdjson_names *names, engine_found_cb found, void *arg)
{
    struct finding_question question = {
        .cluster = e->conf->name, .kind = kind, .names = names};

    if (names->count > ENGINE_FIND_MAX)
        return -E2BIG;
    if (e->state != UP)
        return -ENOTCONN;
    return finding_begin(&e->findings, e->commands, &question, found, arg);
}
