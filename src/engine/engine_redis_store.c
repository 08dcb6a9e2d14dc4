/* What is too large to be published: a key that expires, and is deleted by the
 * same command that reads it. */
#include <errno.h>
#include <stdlib.h>

#include "engine/engine_redis_impl.h"
#include "engine/words.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"

/* KEYS: one. */
static const char take_script[] = "local data = redis.call('GET', KEYS[1])\n"
                                  "redis.call('DEL', KEYS[1])\n"
                                  "return data\n";

/* A call of engine_take(). */
struct taking {
    struct list node; /* in engine->takings */
    engine_taken_cb taken;
    void *arg; /* borrowed */
};

static void end_taking(struct taking *t)
{
    list_remove(&t->node);
    free(t);
}

void engine_end_takings(struct engine *e)
{
    while (!list_empty(&e->takings))
        end_taking(LIST_ENTRY(e->takings.next, struct taking, node));
}

/* If it failed, whoever takes it finds nothing. */
static void on_stored(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

int engine_store(
    struct engine *e, const char *word, const void *data, size_t len)
{
    struct buf *out = engine_scratch(e);

    if (e->state != UP)
        return -ENOTCONN;
    rediscommand_begin(out, 5);
    words_text(out, "SET");
    words_key(out, e->conf->name, "stored:", word);
    rediscommand_word(out, data, len);
    words_text(out, "EX");
    words_number(out, ENGINE_STORED);
    return engine_call(e, out, on_stored, e);
}

static void on_taken(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct taking *t = arg;
    const char *data = NULL;
    size_t len = 0;

    if (err == 0 && replies->type == REDIS_STRING) {
        data = replies->text;
        len = replies->len;
    } else if (err == 0) {
        err = replies->type == REDIS_ERROR ? -EPROTO : -ENOENT;
    }
    t->taken(err, data, len, t->arg);
    end_taking(t);
}

int engine_take(
    struct engine *e, const char *word, engine_taken_cb taken, void *arg)
{
    struct buf *out = engine_scratch(e);
    struct taking *t;
    int err;

    if (e->state != UP)
        return -ENOTCONN;
    words_eval(out, take_script, 1, 0);
    words_key(out, e->conf->name, "stored:", word);
    t = xcalloc(1, sizeof(*t));
    *t = (struct taking){.taken = taken, .arg = arg};
    list_init(&t->node);
    list_push_back(&e->takings, &t->node);
    err = engine_call(e, out, on_taken, t);
    if (err < 0)
        end_taking(t);
    return err;
}
