/* A name is an entry, which has two sides, the subscription and the field. Each
 * has at most one command under way, and what is wanted meanwhile is done when
 * that is answered; so a name that comes and goes a thousand times is one
 * entry, and answers need no numbers. Entries with something to do stand in a
 * queue, of which a window is under way: a stampede waits here and not in the
 * sockets. What was under way when the engine went away is of no interest, its
 * batches are stale: the next time of being there begins with nothing. */
#include "engine/directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/rediscommand.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/list.h"
#include "util/secret.h"

#define SCRATCH_KEEP 65536 /* bytes of a buffer worth keeping */

enum side { OFF, STARTING, ON, ENDING };

struct entry {
    UT_hash_handle hh;
    struct list node; /* in directory->todo, or alone */
    bool wanted;
    bool awaited;          /* the directory is not whole without it */
    bool held;             /* both sides were on since they were off */
    bool due;              /* its field is there, and to be written again */
    uint8_t heard, stored; /* enum side */
    struct list waits;     /* of engine_wait */
    uint32_t len;
    char name[]; /* with its kind: "u:ann" */
};

enum batch_kind { WRITE, ERASE, ALIVE, STILL_ALIVE };

/* A call under way. */
struct batch {
    struct list node;
    struct directory *d;
    enum batch_kind kind;
    bool stale; /* of an earlier time of being there */
    size_t count;
    struct entry *entries[]; /* borrowed, unless it is stale */
};

struct words {
    struct buf bytes;
    size_t count;
};

struct directory {
    struct directory_conf conf; /* its address is owned */
    struct redis *pushes;       /* borrowed; NULL: away */
    struct entry *entries;
    struct entry *cursor; /* the next to be written again */
    struct list todo;     /* entries */
    struct list batches;
    struct turn_task task;
    size_t in_flight; /* sides */
    size_t missing;   /* entries that are awaited */
    bool alive;       /* our token is there */
    bool whole;       /* on_whole() was called */
    bool full;        /* a command could not be sent */
    uint64_t progress;
    char token[SECRET_TOKEN_SIZE];
    struct words starting, ending; /* of the subscriptions */
    struct batch *writing, *erasing;
    struct buf scratch;
};

static void put_text(struct buf *out, const char *word)
{
    rediscommand_word(out, word, strlen(word));
}

static void put_number(struct buf *out, unsigned n)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", n);
    put_text(out, text);
}

static void put_alive(struct buf *out, const struct directory *d)
{
    char *key = xasprintf("%s:alive:%s", d->conf.cluster, d->conf.address);

    put_text(out, key);
    free(key);
}

/* Longer ones do not occur: clusters and names have limits. */
static void put_key(
    struct buf *out, const char *cluster, const char *name, size_t len)
{
    char key[ENGINE_NAME_MAX + 2 + ENGINE_WORD_MAX];
    size_t head = (size_t)snprintf(key, sizeof(key), "%s:", cluster);

    memcpy(key + head, name, len);
    rediscommand_word(out, key, head + len);
}

/* "u:ann"; 0: it is no name. */
static size_t make_name(char out[ENGINE_WORD_MAX], enum engine_name kind,
    const void *name, size_t len)
{
    if (len + 2 > ENGINE_WORD_MAX)
        return 0;
    out[0] = (char)kind;
    out[1] = ':';
    memcpy(out + 2, name, len);
    return len + 2;
}

void directory_put_name(struct buf *out, const char *cluster,
    enum engine_name kind, const void *name, size_t len)
{
    char word[ENGINE_WORD_MAX];

    put_key(out, cluster, word, make_name(word, kind, name, len));
}

/* ---- entries ---- */

static struct entry *find(
    const struct directory *d, const char *name, size_t len)
{
    struct entry *e;

    HASH_FIND(hh, d->entries, name, (unsigned)len, e);
    return e;
}

static bool needs(const struct entry *e)
{
    if (!e->wanted)
        return e->heard == ON || e->stored == ON;
    return e->heard == OFF ||
           (e->heard == ON &&
               (e->stored == OFF || (e->stored == ON && e->due)));
}

static void look_if_whole(struct directory *d)
{
    if (d->whole || !d->alive || d->missing > 0)
        return;
    d->whole = true;
    d->conf.on_whole(d->conf.arg);
}

static void await_no_more(struct directory *d, struct entry *e)
{
    if (!e->awaited)
        return;
    e->awaited = false;
    d->missing--;
}

static void free_entry(struct directory *d, struct entry *e)
{
    if (d->cursor == e)
        d->cursor = e->hh.next;
    list_remove(&e->node);
    list_remove(&e->waits); /* who waits stays in a ring without it */
    HASH_DEL(d->entries, e);
    free(e);
}

static void end_waits(struct entry *e, bool held)
{
    struct list ended;

    list_init(&ended);
    list_splice(&ended, &e->waits);
    while (!list_empty(&ended)) {
        struct engine_wait *w =
            LIST_ENTRY(ended.next, struct engine_wait, node);

        list_remove(&w->node);
        w->done(w, held);
    }
}

/* Something about e has changed: queue it, or it is done. */
static void look_at(struct directory *d, struct entry *e)
{
    if (!d->pushes) {
        if (!e->wanted)
            free_entry(d, e);
    } else if (needs(e)) {
        if (list_empty(&e->node))
            list_push_back(&d->todo, &e->node);
        turn_schedule(d->conf.turn, &d->task);
    } else if (!e->wanted && e->heard == OFF && e->stored == OFF) {
        free_entry(d, e);
    } else if (e->heard == ON && e->stored == ON) {
        e->held = true;
        await_no_more(d, e);
        end_waits(e, true);
    }
}

/* A side of e is confirmed. */
static void note_answer(struct directory *d, struct entry *e)
{
    d->progress++;
    d->in_flight--;
    look_at(d, e);
    if (!list_empty(&d->todo))
        turn_schedule(d->conf.turn, &d->task);
}

/* Told by the task: whoever sends goes on with entries. */
static void note_full(struct directory *d)
{
    d->full = true;
    turn_schedule(d->conf.turn, &d->task);
}

/* ---- the store ---- */

static void on_stored(
    int err, const struct redisvalue *replies, size_t count, void *arg);

/* The command is in scratch. */
static void send_batch(struct directory *d, struct batch *b, size_t commands)
{
    struct redis_request request = {.commands = &d->scratch,
        .count = commands,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_stored,
        .arg = b};
    struct redis_call *unused;

    list_push_back(&d->batches, &b->node);
    if (redis_send(d->conf.commands, &request, &unused) == 0)
        return;
    list_remove(&b->node);
    free(b);
    note_full(d);
}

static struct batch *new_batch(
    struct directory *d, enum batch_kind kind, size_t room)
{
    struct batch *b = xcalloc(1, sizeof(*b) + room * sizeof(b->entries[0]));

    list_init(&b->node);
    b->d = d;
    b->kind = kind;
    return b;
}

static void clear_scratch(struct directory *d)
{
    buf_clear(&d->scratch);
    buf_shrink(&d->scratch, SCRATCH_KEEP);
}

static void send_alive(struct directory *d, enum batch_kind kind)
{
    clear_scratch(d);
    rediscommand_begin(&d->scratch, kind == ALIVE ? 5 : 3);
    put_text(&d->scratch, kind == ALIVE ? "SET" : "EXPIRE");
    put_alive(&d->scratch, d);
    if (kind == ALIVE) {
        put_text(&d->scratch, d->token);
        put_text(&d->scratch, "EX");
    }
    put_number(&d->scratch, ENGINE_EXPIRY);
    send_batch(d, new_batch(d, kind, 0), 1);
}

static void put_write(struct directory *d, const struct entry *e)
{
    rediscommand_begin(&d->scratch, 4);
    put_text(&d->scratch, "HSET");
    put_key(&d->scratch, d->conf.cluster, e->name, e->len);
    put_text(&d->scratch, d->conf.address);
    put_text(&d->scratch, d->token);
    rediscommand_begin(&d->scratch, 3);
    put_text(&d->scratch, "EXPIRE");
    put_key(&d->scratch, d->conf.cluster, e->name, e->len);
    put_number(&d->scratch, DIRECTORY_KEEP);
}

static void put_erase(struct directory *d, const struct entry *e)
{
    rediscommand_begin(&d->scratch, 3);
    put_text(&d->scratch, "HDEL");
    put_key(&d->scratch, d->conf.cluster, e->name, e->len);
    put_text(&d->scratch, d->conf.address);
}

static void send_fields(struct directory *d, struct batch **collected)
{
    struct batch *b = *collected;

    *collected = NULL;
    if (!b || !d->pushes) {
        free(b);
        return;
    }
    clear_scratch(d);
    for (size_t i = 0; i < b->count; i++) {
        if (b->kind == WRITE)
            put_write(d, b->entries[i]);
        else
            put_erase(d, b->entries[i]);
    }
    send_batch(d, b, b->count * (b->kind == WRITE ? 2 : 1));
}

static void collect_field(struct directory *d, struct batch **collected,
    enum batch_kind kind, struct entry *e)
{
    struct batch *b = *collected;

    if (!b)
        b = *collected = new_batch(d, kind, DIRECTORY_BATCH);
    e->stored = kind == WRITE ? STARTING : ENDING;
    e->due = false;
    b->entries[b->count++] = e;
    d->in_flight++;
    if (b->count == DIRECTORY_BATCH)
        send_fields(d, collected);
}

/* What Redis refuses; NULL: nothing. */
static const char *objection(const struct batch *b, int err,
    const struct redisvalue *replies, size_t count)
{
    if (err < 0)
        return redis_error(b->d->conf.commands);
    for (size_t i = 0; i < count; i++)
        if (replies[i].type == REDIS_ERROR)
            return replies[i].text;
    if (b->kind == STILL_ALIVE && replies->integer == 0)
        return "what it knew of this gateway is gone";
    return NULL;
}

static void on_stored(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct batch *b = arg;
    struct directory *d = b->d;
    const char *why = b->stale ? NULL : objection(b, err, replies, count);

    list_remove(&b->node);
    if (why) {
        d->conf.on_fault(why, d->conf.arg);
    } else if (!b->stale) {
        d->alive = d->alive || b->kind == ALIVE;
        for (size_t i = 0; i < b->count; i++) {
            b->entries[i]->stored = b->kind == WRITE ? ON : OFF;
            note_answer(d, b->entries[i]);
        }
        look_if_whole(d);
    }
    free(b);
}

/* ---- the subscriptions ---- */

/* The server pushes what became of it. */
static void on_told(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

static void send_channels(
    struct directory *d, struct words *channels, const char *command)
{
    struct redis_request request = {.commands = &d->scratch,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_told,
        .arg = d};
    struct redis_call *unused;

    if (channels->count > 0 && d->pushes) {
        clear_scratch(d);
        rediscommand_begin(&d->scratch, 1 + channels->count);
        put_text(&d->scratch, command);
        buf_append(&d->scratch, channels->bytes.data, channels->bytes.len);
        if (redis_send(d->pushes, &request, &unused) < 0)
            note_full(d);
    }
    channels->count = 0;
    buf_clear(&channels->bytes);
    buf_shrink(&channels->bytes, SCRATCH_KEEP);
}

static void collect_channel(
    struct directory *d, struct entry *e, enum side side)
{
    struct words *channels = side == STARTING ? &d->starting : &d->ending;

    e->heard = (uint8_t)side;
    d->in_flight++;
    put_key(&channels->bytes, d->conf.cluster, e->name, e->len);
    if (++channels->count == DIRECTORY_BATCH)
        send_channels(
            d, channels, side == STARTING ? "SUBSCRIBE" : "UNSUBSCRIBE");
}

void directory_confirm(
    struct directory *d, const char *channel, size_t len, bool on)
{
    size_t head = strlen(d->conf.cluster) + 1;
    struct entry *e = len > head ? find(d, channel + head, len - head) : NULL;

    if (!e || !d->pushes || e->heard != (on ? STARTING : ENDING))
        return;
    e->heard = on ? ON : OFF;
    note_answer(d, e);
    look_if_whole(d);
}

/* ---- what is to be done ---- */

static void act(struct directory *d, struct entry *e)
{
    if (e->wanted && e->heard == OFF)
        collect_channel(d, e, STARTING);
    else if (e->wanted && e->heard == ON && (e->stored == OFF || e->due))
        collect_field(d, &d->writing, WRITE, e);
    if (!e->wanted && e->stored == ON)
        collect_field(d, &d->erasing, ERASE, e);
    if (!e->wanted && e->heard == ON)
        collect_channel(d, e, ENDING);
}

static void on_task(struct turn_task *task)
{
    struct directory *d = LIST_ENTRY(task, struct directory, task);

    if (d->full) {
        d->conf.on_fault("too many commands are waiting", d->conf.arg);
        return;
    }
    while (
        d->pushes && !list_empty(&d->todo) && d->in_flight < DIRECTORY_WINDOW) {
        struct entry *e = LIST_ENTRY(d->todo.next, struct entry, node);

        list_remove(&e->node);
        act(d, e);
    }
    send_channels(d, &d->starting, "SUBSCRIBE");
    send_fields(d, &d->writing);
    send_fields(d, &d->erasing);
    send_channels(d, &d->ending, "UNSUBSCRIBE");
    look_if_whole(d);
}

/* ---- the public side ---- */

struct directory *directory_new(const struct directory_conf *conf)
{
    struct directory *d = xcalloc(1, sizeof(*d));

    d->conf = *conf;
    d->conf.address = xstrdup(conf->address);
    list_init(&d->todo);
    list_init(&d->batches);
    list_init(&d->task.node);
    d->task.run = on_task;
    return d;
}

void directory_free(struct directory *d)
{
    struct list *node, *tmp;
    struct entry *e, *next;

    if (!d)
        return;
    directory_end(d);
    MAP_FOREACH (hh, d->entries, e, next)
        free_entry(d, e);
    LIST_FOREACH_SAFE (node, tmp, &d->batches)
        free(LIST_ENTRY(node, struct batch, node));
    buf_fini(&d->starting.bytes);
    buf_fini(&d->ending.bytes);
    buf_fini(&d->scratch);
    free((char *)d->conf.address);
    free(d);
}

void directory_begin(struct directory *d, struct redis *pushes)
{
    struct entry *e, *next;

    d->pushes = pushes;
    secret_new_token(d->token);
    send_alive(d, ALIVE); /* first: who reads may erase what is of no token */
    MAP_FOREACH (hh, d->entries, e, next) {
        e->awaited = true;
        d->missing++;
        look_at(d, e);
    }
}

void directory_end(struct directory *d)
{
    struct entry *e, *next;
    struct list *node;

    d->pushes = NULL;
    d->alive = d->whole = d->full = false;
    d->in_flight = d->missing = 0;
    turn_cancel(&d->task);
    LIST_FOREACH (node, &d->batches)
        LIST_ENTRY(node, struct batch, node)->stale = true;
    MAP_FOREACH (hh, d->entries, e, next) {
        list_remove(&e->node);
        e->awaited = e->due = false;
        e->heard = e->stored = OFF;
        e->held = false;
        if (!e->wanted)
            free_entry(d, e);
    }
}

void directory_add(
    struct directory *d, enum engine_name kind, const void *name, size_t len)
{
    char word[ENGINE_WORD_MAX];
    size_t n = make_name(word, kind, name, len);
    struct entry *e;

    if (n == 0)
        return;
    e = find(d, word, n);
    if (!e) {
        e = xcalloc(1, sizeof(*e) + n);
        list_init(&e->node);
        list_init(&e->waits);
        memcpy(e->name, word, n);
        e->len = (uint32_t)n;
        HASH_ADD_KEYPTR(hh, d->entries, e->name, e->len, e);
    }
    e->wanted = true;
    look_at(d, e);
}

void directory_remove(
    struct directory *d, enum engine_name kind, const void *name, size_t len)
{
    char word[ENGINE_WORD_MAX];
    size_t n = make_name(word, kind, name, len);
    struct entry *e = n > 0 ? find(d, word, n) : NULL;

    if (!e)
        return;
    e->wanted = e->held = false;
    await_no_more(d, e);
    end_waits(e, false);
    look_at(d, e);
    if (d->pushes)
        turn_schedule(d->conf.turn, &d->task); /* it may be whole now */
}

int directory_wait(struct directory *d, enum engine_name kind, const void *name,
    size_t len, struct engine_wait *w)
{
    char word[ENGINE_WORD_MAX];
    size_t n = make_name(word, kind, name, len);
    struct entry *e = n > 0 ? find(d, word, n) : NULL;

    list_init(&w->node);
    if (!e || !e->wanted)
        return -ENOENT;
    if (e->held)
        return 1;
    list_push_back(&e->waits, &w->node);
    return 0;
}

/* Each time as many as come round within DIRECTORY_REWRITE. */
static void rewrite_some(struct directory *d)
{
    size_t n = HASH_COUNT(d->entries) * ENGINE_REFRESH / DIRECTORY_REWRITE + 1;

    for (; n > 0 && d->entries; n--) {
        struct entry *e = d->cursor ? d->cursor : d->entries;

        d->cursor = e->hh.next;
        if (!e->wanted || e->stored != ON)
            continue;
        e->due = true;
        look_at(d, e);
    }
}

void directory_refresh(struct directory *d)
{
    if (!d->pushes || !d->alive)
        return;
    send_alive(d, STILL_ALIVE);
    if (d->pushes)
        rewrite_some(d);
}

void directory_leave(struct directory *d)
{
    struct redis_request request = {.commands = &d->scratch,
        .count = 1,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_told,
        .arg = d};
    struct redis_call *unused;

    clear_scratch(d);
    rediscommand_begin(&d->scratch, 2);
    put_text(&d->scratch, "DEL");
    put_alive(&d->scratch, d);
    redis_send(d->conf.commands, &request, &unused);
}

uint64_t directory_progress(const struct directory *d)
{
    return d->progress;
}

size_t directory_count(const struct directory *d)
{
    return HASH_COUNT(d->entries);
}
