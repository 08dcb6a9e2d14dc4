/* One envelope goes to all gateways of other cells, to the inbox of one, or to
 * the names that it is for, which the gateways hear that have members of them;
 * one that has members of two gets it twice, and knows by its number. A
 * question has a number, and for each gateway that is to answer it a link of
 * its own, as queries.c knows them. An answer that nobody waits for any more
 * keeps its place until there is no room for others: then all such are swept
 * away. Whoever waits for one that is dropped runs inside the drop, and may ask
 * anew: nothing of the table is in anybody's hands then. */
#include "worker/departures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/secret.h"
#include "wire/framing.h"

#define ENVELOPE_KEEP 65536 /* bytes of the scratch buffer worth keeping */
#define SWEEP_MS      1000  /* between looks for answers nobody waits for */

/* The answer of one gateway, by question and address. */
struct awaited_key {
    uint32_t question;
    uint32_t ip;
    uint32_t port;
};

struct awaited {
    UT_hash_handle hh; /* the oldest first */
    struct list node;  /* of those to be dropped, or alone */
    struct awaited_key key;
    bool demanded; /* of a gateway that may be of our own cell */
    struct queries_link link;
};

/* An answer that is in the store. */
struct fetch {
    struct list node; /* in departures->fetches */
    struct departures *d;
    struct awaited_key key;
};

/* A question whose gateways are looked for. */
struct search {
    struct list node; /* in departures->searches */
    struct departures *d;
    bool only_whether;
    struct queries_link link;
    struct buf packet; /* the question; owned */
};

struct departures {
    struct turn *turn; /* borrowed */
    const struct engine_conf *conf;
    struct engine *engine; /* owned */
    char *reply;           /* owned; the inbox, for answers */
    uint64_t sender, number, to_all;
    uint32_t question;
    struct gateways_address *others; /* owned; gateways of other cells */
    struct engine_limits *limits;    /* owned; of the same, each */
    size_t nothers;
    struct awaited *awaited;
    uint64_t sweep_at; /* loop time, ms; no sweep before */
    struct list searches;
    struct list fetches;
    struct buf envelope, packet;
    bool waiting; /* since departures_are_waiting() */
};

/* Whoever waits for it runs in here. */
static void drop(struct departures *d, struct awaited *a, int err)
{
    HASH_DEL(d->awaited, a);
    list_remove(&a->node);
    queries_fail_all(&a->link, err);
    free(a);
}

/* Does nobody wait for it any more? */
static bool is_stale(const struct awaited *a)
{
    size_t i;

    return !queries_asker(&a->link, &i);
}

/* Nobody is told of it. */
static void sweep(struct departures *d)
{
    uint64_t now = clock_now(turn_loop(d->turn));
    struct awaited *a, *tmp;

    if (now < d->sweep_at)
        return;
    d->sweep_at = now + SWEEP_MS;
    HASH_ITER(hh, d->awaited, a, tmp)
    {
        if (is_stale(a))
            drop(d, a, -ETIMEDOUT);
    }
}

/* Can so many answers more be awaited? */
static bool has_room(struct departures *d, size_t count)
{
    size_t room = DEPARTURES_QUESTIONS_MAX - HASH_COUNT(d->awaited);

    if (count <= room)
        return true;
    sweep(d);
    return count <= DEPARTURES_QUESTIONS_MAX - HASH_COUNT(d->awaited);
}

static void end_search(struct search *s)
{
    list_remove(&s->node);
    buf_fini(&s->packet);
    free(s);
}

static struct awaited *find_awaited(
    const struct departures *d, const struct awaited_key *key)
{
    struct awaited *a;

    HASH_FIND(hh, d->awaited, key, sizeof(*key), a);
    return a;
}

static void take_value(
    struct departures *d, struct awaited *a, const void *data, size_t len)
{
    HASH_DEL(d->awaited, a);
    buf_clear(&d->packet);
    framing_reply_encode(&d->packet, data, len);
    queries_take_answer(&a->link, d->packet.data, d->packet.len);
    buf_shrink(&d->packet, ENVELOPE_KEEP);
    free(a);
}

static void end_fetch(struct fetch *f)
{
    list_remove(&f->node);
    free(f);
}

static void on_fetched(int err, const void *data, size_t len, void *arg)
{
    struct fetch *f = arg;
    struct awaited *a = find_awaited(f->d, &f->key);

    if (a && err < 0)
        drop(f->d, a, err == -ENOENT ? -ETIMEDOUT : err);
    else if (a)
        take_value(f->d, a, data, len);
    end_fetch(f);
}

/* The answer is in the store. */
static void fetch(
    struct departures *d, const struct crossing *c, struct awaited *a)
{
    struct fetch *f = xcalloc(1, sizeof(*f));
    char *word = crossing_stored_word(c, d->reply);
    int err;

    f->d = d;
    f->key = a->key;
    list_init(&f->node);
    list_push_back(&d->fetches, &f->node);
    err = engine_take(d->engine, word, on_fetched, f);
    if (err < 0) {
        drop(d, a, err);
        end_fetch(f);
    }
    free(word);
}

static void on_message(const uint8_t *data, size_t len, bool for_all, void *arg)
{
    struct departures *d = arg;
    struct crossing c;
    struct awaited_key key;
    struct awaited *a;

    if (for_all || crossing_read(&c, data, len) < 0 ||
        c.kind != CROSSING_ANSWER)
        return;
    key = (struct awaited_key){c.question, c.from.ip, c.from.port};
    a = find_awaited(d, &key);
    if (a && c.answer == CROSSING_TOO_LARGE)
        drop(d, a, -EMSGSIZE);
    else if (a && c.answer == CROSSING_STORED)
        fetch(d, &c, a);
    else if (a)
        take_value(d, a, c.data, c.len);
}

/* Its place among the others; their number: it is none of them. */
static size_t place_of(const struct departures *d, struct gateways_address at)
{
    size_t i = 0;

    while (i < d->nothers &&
           (d->others[i].ip != at.ip || d->others[i].port != at.port))
        i++;
    return i;
}

static bool is_known(const struct departures *d, struct gateways_address at)
{
    return place_of(d, at) < d->nothers;
}

struct engine_limits departures_limits(
    const struct departures *d, struct gateways_address at)
{
    size_t i = d ? place_of(d, at) : 0;

    return d && i < d->nothers ? d->limits[i] : (struct engine_limits){0};
}

/* Gateways that are not there any more answer nothing. */
static void drop_unknown(struct departures *d)
{
    struct awaited *a, *tmp;
    struct list unknown; /* what a callback drops leaves it, too */

    list_init(&unknown);
    HASH_ITER(hh, d->awaited, a, tmp)
    {
        struct gateways_address at = {a->key.ip, (uint16_t)a->key.port};

        if (!a->demanded && !is_known(d, at))
            list_push_back(&unknown, &a->node);
    }
    while (!list_empty(&unknown))
        drop(d, LIST_ENTRY(unknown.next, struct awaited, node), -ECONNRESET);
}

static bool is_ours(const struct departures *d, const struct engine_member *m)
{
    return strcmp(m->run, d->conf->run) == 0;
}

static void on_members(
    const struct engine_member *list, size_t count, void *arg)
{
    struct departures *d = arg;

    d->others = xrealloc(d->others, (count + 1) * sizeof(*d->others));
    d->limits = xrealloc(d->limits, (count + 1) * sizeof(*d->limits));
    d->nothers = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_ours(d, &list[i]))
            continue;
        d->others[d->nothers] =
            (struct gateways_address){list[i].ip, list[i].port};
        d->limits[d->nothers++] = list[i].limits;
    }
    drop_unknown(d);
}

static void on_up(void *arg)
{
}

struct departures *departures_open(struct turn *turn,
    const struct engine_conf *conf, const char *inbox,
    const struct engine_tidings *tidings, void *tidings_arg)
{
    struct departures *d;
    char token[SECRET_TOKEN_SIZE], err[ENGINE_ERROR_SIZE];
    struct engine_part part = {.watches = true,
        .on_message = on_message,
        .on_members = on_members,
        .on_up = on_up,
        .tidings = tidings,
        .tidings_arg = tidings_arg};

    if (!conf)
        return NULL;
    d = xcalloc(1, sizeof(*d));
    secret_new_token(token);
    memcpy(&d->sender, token, sizeof(d->sender));
    list_init(&d->searches);
    list_init(&d->fetches);
    d->turn = turn;
    d->conf = conf;
    d->reply = xasprintf("by:%s", inbox);
    part.inbox = d->reply;
    part.arg = d;
    d->engine = engine_open(turn, conf, &part, err);
    if (!d->engine) {
        log_error("no cluster: %s", err);
        free(d->reply);
        free(d);
        return NULL;
    }
    return d;
}

void departures_close(struct departures *d)
{
    if (!d)
        return;
    engine_close(d->engine);
    while (d->awaited)
        drop(d, d->awaited, -ECANCELED);
    while (!list_empty(&d->fetches))
        end_fetch(LIST_ENTRY(d->fetches.next, struct fetch, node));
    while (!list_empty(&d->searches)) {
        struct search *s = LIST_ENTRY(d->searches.next, struct search, node);

        queries_fail_all(&s->link, -ECANCELED);
        end_search(s);
    }
    free(d->others);
    free(d->limits);
    free(d->reply);
    buf_fini(&d->envelope);
    buf_fini(&d->packet);
    free(d);
}

enum departures_state departures_state(const struct departures *d)
{
    if (!d)
        return DEPARTURES_NONE;
    return engine_is_up(d->engine) ? DEPARTURES_UP : DEPARTURES_AWAY;
}

/* Put f into that envelope, which has the next number. 0 or -errno. */
static int seal(struct departures *d, struct crossing *c,
    const struct crossing_gateway *skips, const struct frame *f)
{
    if (!engine_is_up(d->engine))
        return -ENOTCONN;
    c->run = d->conf->run;
    c->sender = d->sender;
    c->number = d->number + 1;
    buf_clear(&d->envelope);
    buf_shrink(&d->envelope, ENVELOPE_KEEP);
    crossing_put(&d->envelope, c, skips);
    frame_encode(&d->envelope, f);
    return 0;
}

/* It was published. */
static int note_sent(struct departures *d, const struct crossing *c)
{
    d->number = c->number;
    d->to_all = c->to_all;
    d->waiting = true;
    return 0;
}

/* Publish f in that envelope; at NULL: to all. */
static int publish(struct departures *d, struct crossing *c,
    const struct crossing_gateway *skips, const struct gateways_address *at,
    const struct frame *f)
{
    struct frame to = *f;
    char inbox[32];
    int err;

    c->to_all = d->to_all + !at;
    to.local_ip = at ? at->ip : 0;
    to.local_port = at ? at->port : 0;
    err = seal(d, c, skips, &to);
    if (err < 0)
        return err;
    if (at)
        snprintf(inbox, sizeof(inbox), "at:%08x:%u", at->ip, at->port);
    err = engine_publish(
        d->engine, at ? inbox : NULL, d->envelope.data, d->envelope.len);
    return err < 0 ? err : note_sent(d, c);
}

/* To whoever has one of the names. */
static int publish_to_names(struct departures *d, struct crossing *c,
    const struct crossing_gateway *skips, const struct departures_names *names,
    const struct frame *f)
{
    size_t count = names->list->count, sent = 0;
    int err = 0;

    if (count == 0)
        return 0;
    if (count > 1)
        c->kind = CROSSING_COPY;
    c->to_all = d->to_all;
    err = seal(d, c, skips, f);
    for (size_t i = 0; i < count && err == 0; i++) {
        const struct cmdjson_name *name = &names->list->items[i];

        err = engine_publish_to_name(d->engine, names->kind, name->data,
            name->len, d->envelope.data, d->envelope.len);
        sent += err == 0;
    }
    return sent > 0 ? note_sent(d, c) : err;
}

int departures_send_all(struct departures *d, const struct frame *f,
    const struct departures_names *names, const struct crossing_gateway *skips,
    size_t nskips)
{
    struct crossing c = {.kind = CROSSING_ORDER, .nskips = nskips};

    if (!d)
        return 0;
    if (names && names->list->count <= DEPARTURES_NAMES_MAX)
        return publish_to_names(d, &c, skips, names, f);
    return publish(d, &c, skips, NULL, f);
}

/* May something be sent there? 0 or -errno. */
static int find(const struct departures *d, struct gateways_address at)
{
    if (!d)
        return -ENOTCONN;
    if (is_known(d, at))
        return engine_is_up(d->engine) ? 0 : -ENOTCONN;
    return engine_is_up(d->engine) ? -ENXIO : -ENOTCONN;
}

int departures_send(
    struct departures *d, uint32_t ip, uint16_t port, const struct frame *f)
{
    struct gateways_address at = {ip, port};
    struct crossing c = {.kind = CROSSING_ORDER};
    int err = find(d, at);

    return err < 0 ? err : publish(d, &c, NULL, &at, f);
}

size_t departures_count(const struct departures *d)
{
    return d ? d->nothers : 0;
}

static struct crossing new_question(struct departures *d)
{
    return (struct crossing){.kind = CROSSING_QUESTION,
        .question = ++d->question,
        .reply = d->reply,
        .reply_len = strlen(d->reply)};
}

/* There is room for it. */
static struct awaited *await(struct departures *d, uint32_t question,
    struct gateways_address at, struct query *q, size_t i)
{
    struct awaited *a = xcalloc(1, sizeof(*a));

    list_init(&a->node);
    a->key = (struct awaited_key){question, at.ip, at.port};
    queries_link_init(&a->link);
    HASH_ADD(hh, d->awaited, key, sizeof(a->key), a);
    queries_expect(q, i, at, &a->link);
    return a;
}

void departures_ask_all(
    struct departures *d, const struct frame *f, struct query *q, size_t i)
{
    struct crossing c;
    int err;

    if (!d || d->nothers == 0)
        return;
    c = new_question(d);
    err = has_room(d, d->nothers) ? publish(d, &c, NULL, NULL, f) : -ENOBUFS;
    for (size_t k = 0; k < d->nothers; k++) {
        if (err < 0)
            queries_refuse(q, i + k, d->others[k], err);
        else
            await(d, c.question, d->others[k], q, i + k);
    }
}

/* None of them can be asked; the i-th of q is not theirs. */
static void refuse_all(struct departures *d, struct query *q, size_t i, int err)
{
    for (size_t k = 0; k < d->nothers && i + 1 + k < queries_count(q); k++)
        queries_refuse(q, i + 1 + k, d->others[k], err);
}

/* Ask those of the places that are other cells' gateways, as many as q has
 * room for: it was made when there may have been fewer. */
static size_t ask_places(struct search *s, const struct engine_place *places,
    size_t count, struct query *q, size_t i)
{
    struct departures *d = s->d;
    struct crossing c = new_question(d);
    struct frame f;
    size_t n = 0;

    frame_decode(&f, s->packet.data, s->packet.len);
    for (size_t k = 0; k < count && i + 1 + n < queries_count(q); k++) {
        struct gateways_address at = {places[k].ip, places[k].port};
        int err = 0;

        if (!is_known(d, at))
            continue;
        n++;
        if (!s->only_whether && !has_room(d, 1))
            err = -ENOBUFS;
        else if (!s->only_whether)
            err = publish(d, &c, NULL, &at, &f);
        if (err < 0)
            queries_refuse(q, i + n, at, err);
        else if (!s->only_whether)
            await(d, c.question, at, q, i + n);
    }
    return n;
}

/* One id, whichever. */
static void answer_yes(struct search *s)
{
    static const char list[] = "a:1:{i:0;i:0;}";
    struct buf packet = {0};

    framing_reply_encode(&packet, list, sizeof(list) - 1);
    queries_take_answer(&s->link, packet.data, packet.len);
    buf_fini(&packet);
}

static void on_found(
    int err, const struct engine_place *places, size_t count, void *arg)
{
    struct search *s = arg;
    size_t i, n = 0;
    struct query *q = queries_asker(&s->link, &i);

    if (q && err < 0)
        refuse_all(s->d, q, i, err);
    else if (q)
        n = ask_places(s, places, count, q, i);
    if (n > 0 && s->only_whether)
        answer_yes(s);
    else
        queries_pass(&s->link);
    end_search(s);
}

void departures_ask_about(struct departures *d, const struct frame *f,
    const struct departures_names *names, bool only_whether, struct query *q,
    size_t i)
{
    struct search *s;
    int err;

    if (names->list->count > ENGINE_FIND_MAX) {
        departures_ask_all(d, f, q, i + 1);
        return;
    }
    s = xcalloc(1, sizeof(*s));
    s->d = d;
    s->only_whether = only_whether;
    list_init(&s->node);
    list_push_back(&d->searches, &s->node);
    queries_link_init(&s->link);
    frame_encode(&s->packet, f);
    err = engine_find(d->engine, names->kind, names->list, on_found, s);
    if (err == 0) {
        queries_expect(q, i, (struct gateways_address){0}, &s->link);
        return;
    }
    refuse_all(d, q, i, err);
    end_search(s);
}

int departures_ask(struct departures *d, struct gateways_address at,
    const struct frame *f, struct query *q, size_t i)
{
    struct crossing c;
    int err = find(d, at);

    if (err < 0)
        return err;
    if (!has_room(d, 1))
        return -ENOBUFS;
    c = new_question(d);
    err = publish(d, &c, NULL, &at, f);
    if (err == 0)
        await(d, c.question, at, q, i);
    return err;
}

const char *departures_reply(const struct departures *d)
{
    return d->reply;
}

uint32_t departures_number(struct departures *d)
{
    return ++d->question;
}

void departures_expect(struct departures *d, uint32_t number,
    struct gateways_address at, struct query *q, size_t i)
{
    if (has_room(d, 1))
        await(d, number, at, q, i)->demanded = true;
    else
        queries_refuse(q, i, at, -ENOBUFS);
}

bool departures_are_waiting(struct departures *d)
{
    bool waiting = d && d->waiting;

    if (d)
        d->waiting = false;
    return waiting;
}

void departures_count_up(const struct departures *d, struct engine_counts *out)
{
    memset(out, 0, sizeof(*out));
    if (d)
        engine_count(d->engine, out);
}
