/* A name is an entry, which has two sides, the subscription and the field. Each
 * has at most one command under way, and what is wanted meanwhile is done when
 * that is answered; so a name that comes and goes a thousand times is one
 * entry, and answers need no numbers. Entries with something to do stand in a
 * queue, of which a window is under way: a stampede waits here and not in the
 * sockets. The next time of being there begins with nothing. */
#include "engine/directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fields.h"
#include "engine/words.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/list.h"

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

/* Channels of one command. */
struct channels {
    struct buf words;
    size_t count;
};

struct directory {
    struct directory_conf conf;
    struct fields *fields; /* owned */
    struct redis *pushes;  /* borrowed; NULL: away */
    struct entry *entries;
    struct entry *cursor; /* the next to be written again */
    struct list todo;     /* entries */
    struct turn_task task;
    size_t in_flight; /* sides */
    size_t missing;   /* entries that are awaited */
    bool whole;       /* on_whole() was called */
    bool full;        /* a command could not be sent */
    uint64_t progress;
    struct channels starting, ending;
    struct buf scratch;
};

/* Room for the key or channel of a name: clusters and names have limits. */
#define KEY_SIZE (ENGINE_NAME_MAX + 2 + ENGINE_WORD_MAX)

static size_t make_key(
    char out[KEY_SIZE], const char *cluster, const char *name, size_t len)
{
    size_t head = (size_t)snprintf(out, KEY_SIZE, "%s:", cluster);

    memcpy(out + head, name, len);
    return head + len;
}

static void put_key(
    struct buf *out, const char *cluster, const char *name, size_t len)
{
    char key[KEY_SIZE];

    rediscommand_word(out, key, make_key(key, cluster, name, len));
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
    if (d->whole || !fields_are_alive(d->fields) || d->missing > 0)
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
static void note_full(void *arg)
{
    struct directory *d = arg;

    d->full = true;
    turn_schedule(d->conf.turn, &d->task);
}

/* ---- the fields ---- */

static void store(struct directory *d, struct entry *e)
{
    char key[KEY_SIZE];
    struct fields_name name = {.entry = e,
        .key = key,
        .len = make_key(key, d->conf.cluster, e->name, e->len)};

    e->stored = e->wanted ? STARTING : ENDING;
    e->due = false;
    d->in_flight++;
    if (e->wanted)
        fields_write(d->fields, &name);
    else
        fields_erase(d->fields, &name);
}

static void on_stored(void *entry, bool there, void *arg)
{
    struct entry *e = entry;

    e->stored = there ? ON : OFF;
    note_answer(arg, e);
}

static void on_batch(void *arg)
{
    look_if_whole(arg);
}

static void on_fault(const char *why, void *arg)
{
    struct directory *d = arg;

    d->conf.on_fault(why, d->conf.arg);
}

/* ---- the subscriptions ---- */

/* The server pushes what became of it. */
static void on_told(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

static void send_channels(
    struct directory *d, struct channels *channels, const char *command)
{
    struct redis_request request = {.commands = &d->scratch,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_told,
        .arg = d};
    struct redis_call *unused;

    if (channels->count > 0 && d->pushes) {
        buf_clear(&d->scratch);
        buf_shrink(&d->scratch, SCRATCH_KEEP);
        rediscommand_begin(&d->scratch, 1 + channels->count);
        words_text(&d->scratch, command);
        buf_append(&d->scratch, channels->words.data, channels->words.len);
        if (redis_send(d->pushes, &request, &unused) < 0)
            note_full(d);
    }
    channels->count = 0;
    buf_clear(&channels->words);
    buf_shrink(&channels->words, SCRATCH_KEEP);
}

static void hear(struct directory *d, struct entry *e)
{
    struct channels *channels = e->wanted ? &d->starting : &d->ending;

    e->heard = e->wanted ? STARTING : ENDING;
    d->in_flight++;
    put_key(&channels->words, d->conf.cluster, e->name, e->len);
    if (++channels->count == DIRECTORY_BATCH)
        send_channels(d, channels, e->wanted ? "SUBSCRIBE" : "UNSUBSCRIBE");
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
        hear(d, e);
    else if (e->wanted && e->heard == ON && (e->stored == OFF || e->due))
        store(d, e);
    if (!e->wanted && e->stored == ON)
        store(d, e);
    if (!e->wanted && e->heard == ON)
        hear(d, e);
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
    fields_flush(d->fields);
    send_channels(d, &d->ending, "UNSUBSCRIBE");
    look_if_whole(d);
}

/* ---- the public side ---- */

struct directory *directory_new(const struct directory_conf *conf)
{
    struct directory *d = xcalloc(1, sizeof(*d));
    struct fields_conf fields = {.cluster = conf->cluster,
        .address = conf->address,
        .commands = conf->commands,
        .on_stored = on_stored,
        .on_batch = on_batch,
        .on_fault = on_fault,
        .on_full = note_full,
        .arg = d};

    d->conf = *conf;
    d->fields = fields_new(&fields);
    list_init(&d->todo);
    list_init(&d->task.node);
    d->task.run = on_task;
    return d;
}

void directory_free(struct directory *d)
{
    struct entry *e, *next;

    if (!d)
        return;
    directory_end(d);
    MAP_FOREACH (hh, d->entries, e, next)
        free_entry(d, e);
    fields_free(d->fields);
    buf_fini(&d->starting.words);
    buf_fini(&d->ending.words);
    buf_fini(&d->scratch);
    free(d);
}

void directory_begin(struct directory *d, struct redis *pushes)
{
    struct entry *e, *next;

    d->pushes = pushes;
    fields_begin(d->fields);
    MAP_FOREACH (hh, d->entries, e, next) {
        e->awaited = true;
        d->missing++;
        look_at(d, e);
    }
}

void directory_end(struct directory *d)
{
    struct entry *e, *next;

    d->pushes = NULL;
    d->whole = d->full = false;
    d->in_flight = d->missing = 0;
    turn_cancel(&d->task);
    fields_end(d->fields);
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
    if (!d->pushes || !fields_are_alive(d->fields))
        return;
    fields_refresh(d->fields);
    if (d->pushes)
        rewrite_some(d);
}

void directory_leave(struct directory *d)
{
    fields_leave(d->fields);
}

uint64_t directory_progress(const struct directory *d)
{
    return d->progress;
}

size_t directory_count(const struct directory *d)
{
    return HASH_COUNT(d->entries);
}
