/* Two batches collect at once, of fields to write and of fields to erase. A
 * batch knows nothing of its names but the entries that it tells of. */
#include "engine/fields.h"

#include <stdlib.h>

#include "engine/engine.h"
#include "engine/words.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"
#include "util/list.h"
#include "util/secret.h"

#define SCRATCH_KEEP 65536 /* bytes of a buffer worth keeping */

enum batch_kind { WRITE, ERASE, ALIVE, STILL_ALIVE };

/* A call under way. */
struct batch {
    struct list node; /* in fields->batches */
    struct fields *f;
    enum batch_kind kind;
    bool stale; /* of an earlier time of being there */
    size_t count;
    void *entries[]; /* borrowed, unless it is stale */
};

/* What is to be a batch. */
struct collected {
    struct buf commands;
    size_t count;
    void *entries[FIELDS_BATCH];
};

struct fields {
    struct fields_conf conf; /* its address is owned */
    bool alive;
    char token[SECRET_TOKEN_SIZE];
    struct list batches;
    struct collected writing, erasing;
    struct buf scratch;
};

static void clear(struct buf *b)
{
    buf_clear(b);
    buf_shrink(b, SCRATCH_KEEP);
}

/* What Redis refuses; NULL: nothing. */
static const char *objection(const struct batch *b, int err,
    const struct redisvalue *replies, size_t count)
{
    if (err < 0)
        return redis_error(b->f->conf.commands);
    for (size_t i = 0; i < count; i++)
        if (replies[i].type == REDIS_ERROR)
            return replies[i].text;
    if (b->kind == STILL_ALIVE && replies->integer == 0)
        return "what it knew of this gateway is gone";
    return NULL;
}

static void on_reply(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct batch *b = arg;
    struct fields *f = b->f;
    const char *why = b->stale ? NULL : objection(b, err, replies, count);

    list_remove(&b->node);
    if (why) {
        f->conf.on_fault(why, f->conf.arg);
    } else if (!b->stale) {
        f->alive = f->alive || b->kind == ALIVE;
        for (size_t i = 0; i < b->count; i++)
            f->conf.on_stored(b->entries[i], b->kind == WRITE, f->conf.arg);
        f->conf.on_batch(f->conf.arg);
    }
    free(b);
}

static void send_batch(struct fields *f, enum batch_kind kind,
    const struct buf *commands, void *const *entries, size_t count)
{
    struct batch *b = xcalloc(1, sizeof(*b) + count * sizeof(b->entries[0]));
    struct redis_request request = {.commands = commands,
        .count = kind == WRITE   ? count * 2
                 : kind == ERASE ? count
                                 : 1,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_reply,
        .arg = b};
    struct redis_call *unused;

    b->f = f;
    b->kind = kind;
    b->count = count;
    for (size_t i = 0; i < count; i++)
        b->entries[i] = entries[i];
    list_init(&b->node);
    list_push_back(&f->batches, &b->node);
    if (redis_send(f->conf.commands, &request, &unused) == 0)
        return;
    list_remove(&b->node);
    free(b);
    f->conf.on_full(f->conf.arg);
}

/* ---- the token ---- */

static void put_alive(struct fields *f)
{
    words_key(&f->scratch, f->conf.cluster, "alive:", f->conf.address);
}

void fields_begin(struct fields *f)
{
    secret_new_token(f->token);
    clear(&f->scratch);
    rediscommand_begin(&f->scratch, 5);
    words_text(&f->scratch, "SET");
    put_alive(f);
    words_text(&f->scratch, f->token);
    words_text(&f->scratch, "EX");
    words_number(&f->scratch, ENGINE_EXPIRY);
    send_batch(f, ALIVE, &f->scratch, NULL, 0);
}

void fields_refresh(struct fields *f)
{
    clear(&f->scratch);
    rediscommand_begin(&f->scratch, 3);
    words_text(&f->scratch, "EXPIRE");
    put_alive(f);
    words_number(&f->scratch, ENGINE_EXPIRY);
    send_batch(f, STILL_ALIVE, &f->scratch, NULL, 0);
}

static void on_told(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

void fields_leave(struct fields *f)
{
    struct redis_request request = {.commands = &f->scratch,
        .count = 1,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_told,
        .arg = f};
    struct redis_call *unused;

    clear(&f->scratch);
    rediscommand_begin(&f->scratch, 2);
    words_text(&f->scratch, "DEL");
    put_alive(f);
    redis_send(f->conf.commands, &request, &unused);
}

/* ---- the fields ---- */

static void drop_collected(struct collected *c)
{
    c->count = 0;
    clear(&c->commands);
}

static void flush(struct fields *f, struct collected *c, enum batch_kind kind)
{
    if (c->count > 0)
        send_batch(f, kind, &c->commands, c->entries, c->count);
    drop_collected(c);
}

void fields_write(struct fields *f, const struct fields_name *name)
{
    struct collected *c = &f->writing;

    rediscommand_begin(&c->commands, 4);
    words_text(&c->commands, "HSET");
    rediscommand_word(&c->commands, name->key, name->len);
    words_text(&c->commands, f->conf.address);
    words_text(&c->commands, f->token);
    rediscommand_begin(&c->commands, 3);
    words_text(&c->commands, "EXPIRE");
    rediscommand_word(&c->commands, name->key, name->len);
    words_number(&c->commands, FIELDS_KEEP);
    c->entries[c->count++] = name->entry;
    if (c->count == FIELDS_BATCH)
        flush(f, c, WRITE);
}

void fields_erase(struct fields *f, const struct fields_name *name)
{
    struct collected *c = &f->erasing;

    rediscommand_begin(&c->commands, 3);
    words_text(&c->commands, "HDEL");
    rediscommand_word(&c->commands, name->key, name->len);
    words_text(&c->commands, f->conf.address);
    c->entries[c->count++] = name->entry;
    if (c->count == FIELDS_BATCH)
        flush(f, c, ERASE);
}

void fields_flush(struct fields *f)
{
    flush(f, &f->writing, WRITE);
    flush(f, &f->erasing, ERASE);
}

/* ---- the public side ---- */

struct fields *fields_new(const struct fields_conf *conf)
{
    struct fields *f = xcalloc(1, sizeof(*f));

    f->conf = *conf;
    f->conf.address = xstrdup(conf->address);
    list_init(&f->batches);
    return f;
}

void fields_free(struct fields *f)
{
    struct list *node, *tmp;

    if (!f)
        return;
    LIST_FOREACH_SAFE (node, tmp, &f->batches)
        free(LIST_ENTRY(node, struct batch, node));
    buf_fini(&f->writing.commands);
    buf_fini(&f->erasing.commands);
    buf_fini(&f->scratch);
    free((char *)f->conf.address);
    free(f);
}

void fields_end(struct fields *f)
{
    struct list *node;

    f->alive = false;
    drop_collected(&f->writing);
    drop_collected(&f->erasing);
    LIST_FOREACH (node, &f->batches)
        LIST_ENTRY(node, struct batch, node)->stale = true;
}

bool fields_are_alive(const struct fields *f)
{
    return f->alive;
}
