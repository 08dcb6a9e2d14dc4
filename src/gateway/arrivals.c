/* Each gateway has a subscription of its own, so that a message costs no hop
 * inside the cell; what this cell has sent itself comes back and is dropped by
 * its first bytes. It hears what is for all gateways, for itself, and for the
 * uids and groups that it has members of. Of each sender the last number is
 * known: a number comes up at most once, and one that was left out is a gap. */
#include "gateway/arrivals.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/numbers.h"
#include "gateway/demands.h"
#include "gateway/outlook.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/secret.h"
#include "wire/crossing.h"

#define FAULTS_LOG_MS 60000

/* A process of another cell. */
struct sender {
    UT_hash_handle hh;
    uint64_t id;
    uint64_t number; /* of the last envelope */
    uint64_t to_all; /* of those for all cells so far */
};

struct arrivals {
    struct arrivals_conf conf;
    struct engine *engine;
    struct numbers numbers; /* of its ids */
    struct sender *senders; /* by id, the longest known first */
    uint64_t sender;        /* we are one, of answers and logins */
    uint64_t sent;
    struct demands *demands;
    struct outlook outlook;
    struct buf answer, envelope;
    struct arrivals_counts counts;
    struct log_share faults;
};

static void forget(struct arrivals *a, struct sender *s)
{
    HASH_DEL(a->senders, s);
    free(s);
}

static void forget_all(struct arrivals *a)
{
    struct sender *s, *tmp;

    HASH_ITER(hh, a->senders, s, tmp)
    forget(a, s);
}

static struct sender *add_sender(struct arrivals *a, const struct crossing *c)
{
    struct sender *s;

    if (HASH_COUNT(a->senders) >= ARRIVALS_SENDERS_MAX)
        forget(a, a->senders);
    s = xcalloc(1, sizeof(*s));
    s->id = c->sender;
    HASH_ADD(hh, a->senders, id, sizeof(s->id), s);
    return s;
}

/* False: it has come before. */
static bool is_new(struct arrivals *a, const struct crossing *c, bool for_all)
{
    struct sender *s;

    HASH_FIND(hh, a->senders, &c->sender, sizeof(c->sender), s);
    if (!s) {
        s = add_sender(a, c);
    } else if (c->kind == CROSSING_COPY && c->number == s->number) {
        return false; /* it was for two names, and came by the other */
    } else if (c->number <= s->number) {
        a->counts.doubles++;
        return false;
    } else if (c->to_all != s->to_all + for_all) {
        a->counts.gaps++;
    }
    s->number = c->number;
    s->to_all = c->to_all;
    return true;
}

static void note_fault(struct arrivals *a, const char *why)
{
    a->counts.faulty++;
    if (log_may(&a->faults, "faults of other cells", 1, FAULTS_LOG_MS))
        log_warn("what another cell sent was not understood: %s", why);
}

/* An envelope of ours; what it holds follows. */
static void begin_envelope(struct arrivals *a, struct crossing *c)
{
    c->run = a->conf.engine->run;
    c->sender = a->sender;
    c->number = ++a->sent;
    buf_shrink(&a->envelope, 65536);
    buf_clear(&a->envelope);
    crossing_put(&a->envelope, c, NULL);
}

/* Put what is too large to be published where the asker fetches it. */
static enum crossing_answer store_answer(struct arrivals *a,
    const struct crossing *c, const char *inbox, const void *data, size_t len)
{
    char *word = crossing_stored_word(c, inbox);
    int err = engine_store(a->engine, word, data, len);

    free(word);
    return err < 0 ? CROSSING_TOO_LARGE : CROSSING_STORED;
}

/* reply is not terminated. */
static void send_answer(struct arrivals *a, uint32_t question,
    const char *reply, size_t reply_len, const void *data, size_t len)
{
    struct crossing c = {.kind = CROSSING_ANSWER,
        .question = question,
        .from = {a->conf.ip, a->conf.port}};
    char *inbox = xstrndup(reply, reply_len);

    if (len > ARRIVALS_ANSWER_MAX)
        c.answer = store_answer(a, &c, inbox, data, len);
    begin_envelope(a, &c);
    if (c.answer == CROSSING_HERE)
        buf_append(&a->envelope, data, len);
    engine_publish(a->engine, inbox, a->envelope.data, a->envelope.len);
    free(inbox);
}

static void answer_demand(const struct demand *demand, bool held, void *arg)
{
    send_answer(arg, demand->question, demand->reply, demand->reply_len,
        held ? "b:1;" : "b:0;", 4);
}

/* A login has the uid alone. */
static void tell_login(const void *uid, size_t len, uint64_t login, void *arg)
{
    struct arrivals *a = arg;
    struct crossing c = {.kind = CROSSING_TELL};
    struct frame f = {.cmd = FRAME_ONLY,
        .flag = FRAME_FLAG_STRING,
        .ext = uid,
        .ext_len = len};
    struct buf body = {0};

    demand_put_login(&body, login);
    f.body = body.data;
    f.body_len = body.len;
    begin_envelope(a, &c);
    frame_encode(&a->envelope, &f);
    engine_publish_to_name(
        a->engine, ENGINE_UID, uid, len, a->envelope.data, a->envelope.len);
    buf_fini(&body);
}

static void on_demand(
    const struct frame *f, const struct demand *demand, bool done, void *arg)
{
    demands_take(((struct arrivals *)arg)->demands, f, demand, done);
}

static void run(struct arrivals *a, const struct crossing *c)
{
    struct frame f;
    enum frame_kind kind;
    int n;

    if (frame_measure(c->data, c->len, c->len) != (ssize_t)c->len ||
        frame_decode(&f, c->data, c->len) < 0) {
        note_fault(a, "it is no packet");
        return;
    }
    kind = frame_cmd_kind(f.cmd);
    if (c->kind == CROSSING_QUESTION ? kind != FRAME_KIND_QUESTION
                                     : kind != FRAME_KIND_ORDER) {
        note_fault(a, "it is no command for gateways");
        return;
    }
    a->counts.taken++;
    a->conf.commands->from = NULL;
    n = commands_run(a->conf.commands, &f, &a->answer);
    if (n > 0 && c->kind == CROSSING_QUESTION)
        send_answer(a, c->question, c->reply, c->reply_len, a->answer.data,
            a->answer.len);
    buf_clear(&a->answer);
    buf_shrink(&a->answer, 65536);
}

static void on_message(const uint8_t *data, size_t len, bool for_all, void *arg)
{
    struct arrivals *a = arg;
    struct crossing c;
    int err = crossing_read(&c, data, len);

    if (err < 0) {
        note_fault(a, err == -EPROTONOSUPPORT
                          ? "it is of another version of gwrun"
                          : "it is no envelope");
        return;
    }
    if (c.kind == CROSSING_TELL
            ? c.sender == a->sender
            : memcmp(c.run, a->conf.engine->run, CROSSING_RUN_LEN) == 0)
        return;
    if (!is_new(a, &c, for_all) || c.kind == CROSSING_ANSWER ||
        (c.kind != CROSSING_QUESTION &&
            crossing_skips(&c, a->conf.ip, a->conf.port)))
        return;
    run(a, &c);
}

static void on_ids_low(void *arg)
{
    struct arrivals *a = arg;

    numbers_ask(&a->numbers, a->engine);
}

static void on_ids(uint32_t first, uint32_t count, void *arg)
{
    struct arrivals *a = arg;

    if (first != 0)
        roster_lend_ids(a->conf.commands->roster, first, count);
}

/* What came meanwhile is lost, as the engine has counted: not once more. */
static void on_up(void *arg)
{
    struct arrivals *a = arg;

    forget_all(a);
    if (roster_ids_are_low(a->conf.commands->roster))
        on_ids_low(a);
}

static uint64_t count_clients(void *arg)
{
    return roster_count(((struct arrivals *)arg)->conf.commands->roster);
}

static enum engine_name kind_of(bool uid)
{
    return uid ? ENGINE_UID : ENGINE_GROUP;
}

static void on_added(bool uid, const char *name, size_t len, void *arg)
{
    struct arrivals *a = arg;

    engine_add_name(a->engine, kind_of(uid), name, len);
}

static void on_removed(bool uid, const char *name, size_t len, void *arg)
{
    struct arrivals *a = arg;

    engine_remove_name(a->engine, kind_of(uid), name, len);
}

static const struct roster_names_watch names_watch = {
    .added = on_added, .removed = on_removed};

struct arrivals *arrivals_open(
    const struct arrivals_conf *conf, char err[ENGINE_ERROR_SIZE])
{
    struct arrivals *a = xcalloc(1, sizeof(*a));
    struct engine_part part = {.ip = conf->ip,
        .port = conf->port,
        .limits = conf->limits,
        .hears_all = true,
        .on_message = on_message,
        .on_up = on_up,
        .clients = count_clients,
        .arg = a};
    struct demands_conf demands = {.answer = answer_demand, .tell = tell_login};
    char token[SECRET_TOKEN_SIZE];
    char inbox[32];

    a->conf = *conf;
    secret_new_token(token);
    memcpy(&a->sender, token, sizeof(a->sender));
    snprintf(inbox, sizeof(inbox), "at:%08x:%u", conf->ip, conf->port);
    part.inbox = inbox;
    a->engine = engine_open(conf->turn, conf->engine, &part, err);
    if (!a->engine) {
        free(a);
        return NULL;
    }
    outlook_init(
        &a->outlook, turn_loop(conf->turn), a->engine, conf->engine->cell);
    roster_watch_names(conf->commands->roster, &names_watch, a);
    a->numbers = (struct numbers){.done = on_ids, .arg = a};
    roster_borrow_ids(conf->commands->roster, on_ids_low, a);
    demands.engine = a->engine;
    demands.arg = a;
    a->demands = demands_new(&demands);
    conf->commands->on_demand = on_demand;
    conf->commands->on_newer = tell_login;
    conf->commands->arg = a;
    return a;
}

void arrivals_close(struct arrivals *a)
{
    if (!a)
        return;
    roster_watch_names(a->conf.commands->roster, NULL, NULL);
    roster_borrow_ids(a->conf.commands->roster, NULL, NULL);
    a->conf.commands->on_demand = NULL;
    a->conf.commands->on_newer = NULL;
    engine_close(a->engine);
    demands_free(a->demands);
    outlook_fini(&a->outlook);
    forget_all(a);
    buf_fini(&a->answer);
    buf_fini(&a->envelope);
    free(a);
}

void arrivals_leave(struct arrivals *a)
{
    if (a)
        engine_tell_leaving(a->engine);
}

void arrivals_count(const struct arrivals *a, struct arrivals_counts *out)
{
    memset(out, 0, sizeof(*out));
    if (!a)
        return;
    *out = a->counts;
    engine_count(a->engine, &out->engine);
}

bool arrivals_take_cells(struct arrivals *a, struct page_cells *out)
{
    return a && outlook_take(&a->outlook, out);
}
