/* The engine on Redis: two connections, one for commands, which the library
 * makes anew by itself, and one for the subscription, which belongs to one time
 * of being there and is closed before the next begins.
 *
 *   AWAY         nothing is under way but the timer
 *   CLAIMING     what server it is, the claim, then the members, were asked for
 *   SUBSCRIBING  SUBSCRIBE was sent; of a gateway, its names follow
 *   UP           all channels are confirmed
 *   LEFT         another system has the cell's name; there is no way back
 *
 * lose() leads from everywhere else to AWAY. What stands in Redis, and what of
 * it is ours, is cells.c's. */
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/directory.h"
#include "engine/engine_calls.h"
#include "engine/finding.h"
#include "engine/server.h"
#include "engine/vigil.h"
#include "net/addr.h"
#include "net/clock.h"
#include "net/handle.h"
#include "upstream/redis.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/list.h"
#include "util/log.h"

#define RETRY_MIN_MS 100
#define PROBE        "?" /* no envelope begins so */
#define CHANNELS     3   /* inbox, news, all */

enum state { AWAY, CLAIMING, SUBSCRIBING, UP, LEFT };

struct engine {
    struct turn *turn;              /* borrowed */
    const struct engine_conf *conf; /* borrowed */
    struct engine_part part;        /* its inbox is owned */
    struct server server;
    struct vigil vigil;
    struct redis *commands; /* owned */
    struct redis *pushes;   /* owned; NULL unless SUBSCRIBING or UP */
    uv_timer_t timer;       /* the next try, or the next refresh */
    enum state state;
    char *channels[CHANNELS];    /* owned: inbox, news, all */
    unsigned confirmed;          /* of them */
    struct directory *directory; /* owned; NULL: it is no gateway */
    uint64_t progress;           /* of the directory, at the last look */
    bool asking;                 /* the claim or the members are under way */
    bool was_up, told_away, told_policy;
    unsigned tries;      /* since it was there last */
    uint64_t away_since; /* ms */
    uint64_t heard_at;   /* ms; the last probe that came back */
    struct list findings;
    struct buf commands_scratch;
    struct engine_counts counts;
};

/* A call of engine_find(). */
struct finding {
    struct list node; /* in engine->findings */
    struct engine *e;
    engine_found_cb found;
    void *arg; /* borrowed */
};

static void begin(struct engine *e);
static void ask_members(struct engine *e);

static uint64_t now_ms(const struct engine *e)
{
    return clock_now(e->timer.loop);
}

static void address_of(const struct engine *e, char out[ADDR_TEXT_SIZE])
{
    union addr a = {.in = {.sin_family = AF_INET,
                        .sin_port = htons(e->part.port),
                        .sin_addr.s_addr = htonl(e->part.ip)}};

    *out = '\0';
    if (e->part.ip != 0)
        addr_format(out, &a);
}

/* What this process claims; address is its memory. */
struct cells_self engine_self(
    const struct engine *e, char address[ADDR_TEXT_SIZE])
{
    address_of(e, address);
    return (struct cells_self){.conf = e->conf,
        .process = e->part.inbox,
        .kind = e->part.kind,
        .address = address,
        .clients = e->part.clients ? e->part.clients(e->part.arg) : 0};
}

/* ---- the way down ---- */

static void on_timer(uv_timer_t *timer);

/* Full jitter: all of a cluster lose a server at once. */
static void try_later(struct engine *e)
{
    uint64_t most = RETRY_MIN_MS << (e->tries < 10 ? e->tries : 10);
    uint64_t now = uv_hrtime(); /* hashed with a key of this process */

    if (most > (uint64_t)(ENGINE_RETRY_MAX * 1000))
        most = (uint64_t)(ENGINE_RETRY_MAX * 1000);
    e->tries++;
    uv_timer_start(&e->timer, on_timer,
        RETRY_MIN_MS / 2 + hash_bytes(&now, sizeof(now)) % most, 0);
}

static void lose(struct engine *e, const char *why)
{
    if (e->state == AWAY || e->state == LEFT)
        return;
    if (!e->told_away)
        log_warn("the cluster is away, this cell goes on by itself: %s", why);
    e->told_away = true;
    if (e->state == UP)
        e->away_since = now_ms(e);
    e->state = AWAY;
    if (e->directory)
        directory_end(e->directory);
    if (e->pushes)
        redis_close(e->pushes);
    e->pushes = NULL;
    e->counts.up = false;
    try_later(e);
}

/* ---- the way up ---- */

int engine_call(
    struct engine *e, const struct buf *command, redis_reply_cb done, void *arg)
{
    struct redis_request request = {.commands = command,
        .count = 1,
        .timeout_ms = ENGINE_CALL_MS,
        .done = done,
        .arg = arg};
    struct redis_call *unused;

    return redis_send(e->commands, &request, &unused);
}

/* Commands are counted for what they are: a server that takes none is away. */
static int call(
    struct engine *e, const struct buf *commands, redis_reply_cb done)
{
    return engine_call(e, commands, done, e);
}

static struct buf *scratch(struct engine *e)
{
    buf_clear(&e->commands_scratch);
    buf_shrink(&e->commands_scratch, 65536);
    return &e->commands_scratch;
}

static void on_told(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

/* Others look at the members at once. */
static void tell_news(struct engine *e)
{
    struct buf *out = scratch(e);

    rediscommand_begin(out, 3);
    cells_put_word(out, "PUBLISH");
    cells_put_word(out, e->channels[1]);
    cells_put_word(out, PROBE);
    call(e, out, on_told);
}

static void settle(struct engine *e)
{
    uint64_t now = now_ms(e);

    e->state = UP;
    e->tries = 0;
    e->heard_at = now;
    e->counts.up = true;
    if (e->was_up) {
        e->counts.gaps++;
        e->counts.away_ms += now - e->away_since;
    }
    log_notice("the cluster is there cluster=%s cell=%s", e->conf->name,
        e->conf->cell);
    vigil_begin(&e->vigil, now, e->was_up ? now - e->away_since : 0);
    e->was_up = true;
    e->told_away = false;
    uv_timer_start(&e->timer, on_timer, ENGINE_REFRESH * 1000, 0);
    e->part.on_up(e->part.arg);
    if (e->part.ip != 0)
        tell_news(e);
}

static bool is_text(const struct redisvalue *v, const char *text)
{
    return v->type == REDIS_STRING && v->len == strlen(text) &&
           memcmp(v->text, text, v->len) == 0;
}

/* A message on one of the channels. */
static void take_message(struct engine *e, const struct redisvalue *channel,
    const struct redisvalue *payload)
{
    bool own = is_text(channel, e->channels[0]);
    bool all = !own && is_text(channel, e->channels[2]);

    if (!own && !all && is_text(channel, e->channels[1])) {
        if (e->state == UP && !e->asking)
            ask_members(e);
    } else if (own && is_text(payload, PROBE)) {
        e->heard_at = now_ms(e);
    } else if (e->state == UP) {
        e->part.on_message(
            (const uint8_t *)payload->text, payload->len, all, e->part.arg);
    }
}

/* Inbox and news, and what is for all gateways, come first; then the names. */
static void take_confirmation(
    struct engine *e, const struct redisvalue *channel, bool on)
{
    unsigned count = e->part.hears_all ? 3 : 2;

    if (e->confirmed < count) {
        if (++e->confirmed < count)
            return;
        if (e->directory)
            directory_begin(e->directory, e->pushes);
        else
            settle(e);
    } else if (e->directory && channel->type == REDIS_STRING) {
        directory_confirm(e->directory, channel->text, channel->len, on);
    }
}

static void on_push(struct redisvalue *v, void *arg)
{
    struct engine *e = arg;

    if (v->type == REDIS_ERROR) {
        lose(e, v->text);
    } else if (v->type == REDIS_ARRAY && v->len == 3) {
        if (is_text(&v->items[0], "message") &&
            v->items[2].type == REDIS_STRING)
            take_message(e, &v->items[1], &v->items[2]);
        else if (is_text(&v->items[0], "subscribe"))
            take_confirmation(e, &v->items[1], true);
        else if (is_text(&v->items[0], "unsubscribe"))
            take_confirmation(e, &v->items[1], false);
    }
    redisvalue_free(v);
}

static void on_pushes_down(int err, void *arg)
{
    struct engine *e = arg;

    lose(e, redis_error(e->pushes));
}

static struct redis *open_redis(struct engine *e, bool pushes)
{
    struct redis_conf conf = {.on_push = pushes ? on_push : NULL,
        .on_down = pushes ? on_pushes_down : NULL,
        .arg = e};

    return server_open(&e->server, e->turn, &conf);
}

static void subscribe(struct engine *e)
{
    struct buf *out = scratch(e);
    size_t count = e->part.hears_all ? 3 : 2;
    struct redis_request request = {
        .timeout_ms = ENGINE_CALL_MS, .done = on_told, .arg = e};
    struct redis_call *unused;

    e->state = SUBSCRIBING;
    e->confirmed = 0;
    e->pushes = open_redis(e, true);
    rediscommand_begin(out, 1 + count);
    cells_put_word(out, "SUBSCRIBE");
    for (size_t i = 0; i < count; i++)
        cells_put_word(out, e->channels[i]);
    request.commands = out;
    redis_send(e->pushes, &request, &unused);
    /* a confirmation that does not come is found by the timer */
    uv_timer_start(&e->timer, on_timer, ENGINE_CALL_MS, 0);
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
        lose(e, err < 0 ? redis_error(e->commands) : all->text);
        return;
    }
    list = xcalloc(all->len / 2 + 1, sizeof(*list));
    for (size_t i = 0; i + 1 < all->len && n < ENGINE_MEMBERS_MAX; i += 2)
        n += cells_read_member(&list[n], &all->items[i], &all->items[i + 1]);
    e->part.on_members(list, n, e->part.arg);
    free(list);
    if (e->state == CLAIMING)
        subscribe(e);
}

static void ask_members(struct engine *e)
{
    struct buf *out = scratch(e);

    if (!e->part.watches)
        return;
    cells_put_members(out, e->conf);
    e->asking = true;
    if (call(e, out, on_members) < 0) {
        e->asking = false;
        lose(e, "too many commands are waiting");
    }
}

/* Another system has this one's name. */
static void leave(struct engine *e, const char *why)
{
    log_error(
        "left the cluster for good, this cell goes on by itself: %s", why);
    e->counts.left = true;
    e->told_away = true;
    lose(e, why);
    e->state = LEFT;
    uv_timer_stop(&e->timer);
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
        lose(e, redis_error(e->commands));
    else if (claim == CELLS_FORMER)
        leave(e, why);
    else if (claim == CELLS_REFUSED)
        lose(e, why);
    else if (e->part.watches)
        ask_members(e);
    else if (e->state == CLAIMING)
        subscribe(e);
}

static void claim(struct engine *e)
{
    struct buf *out = scratch(e);
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(e, address);

    cells_put_claim(out, &self);
    e->asking = true;
    if (call(e, out, on_claimed) < 0) {
        e->asking = false;
        lose(e, "too many commands are waiting");
    }
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
        lose(e, redis_error(e->commands));
    } else if (replies->type == REDIS_ERROR &&
               strncmp(replies->text, "NOPERM", 6) != 0) {
        lose(e, replies->text);
    } else if (verdict < 0) {
        lose(e, why);
    } else if (e->state == CLAIMING) {
        if (*why && !e->told_policy)
            log_warn("the cluster is at risk: %s", why);
        e->told_policy = *why;
        claim(e);
    }
}

/* What server is it? An ACL may keep that from us; then we find out. */
static void begin(struct engine *e)
{
    struct buf *out = scratch(e);

    e->state = CLAIMING;
    rediscommand_begin(out, 1);
    cells_put_word(out, "INFO");
    e->asking = true;
    if (call(e, out, on_info) < 0) {
        e->asking = false;
        lose(e, "too many commands are waiting");
    }
}

/* Prove that what is published comes back: that the subscription is no deaf
 * one, and that both connections lead to the same server. */
static void probe(struct engine *e)
{
    struct buf *out = scratch(e);

    rediscommand_begin(out, 3);
    cells_put_word(out, "PUBLISH");
    cells_put_word(out, e->channels[0]);
    cells_put_word(out, PROBE);
    call(e, out, on_told);
}

/* Has more of the directory been confirmed since the last look? */
static bool has_progress(struct engine *e)
{
    uint64_t before = e->progress;

    e->progress = e->directory ? directory_progress(e->directory) : 0;
    return e->progress != before;
}

/* For ENGINE_EXPIRY more. */
static void hold_claims(struct engine *e)
{
    if (e->directory)
        directory_refresh(e->directory);
    if (!e->asking)
        claim(e);
}

static void on_timer(uv_timer_t *timer)
{
    struct engine *e = timer->data;

    if (e->state == AWAY && !e->asking) {
        begin(e);
    } else if (e->state == AWAY) {
        try_later(e); /* a call of the last try has not ended yet */
    } else if (e->state == SUBSCRIBING && has_progress(e)) {
        uv_timer_start(&e->timer, on_timer, ENGINE_REFRESH * 1000, 0);
        hold_claims(e); /* they outlast that all names are told again */
    } else if (e->state == SUBSCRIBING) {
        lose(e, "a subscription was not confirmed in time");
    } else if (now_ms(e) - e->heard_at >= ENGINE_EXPIRY * 1000) {
        lose(e, "what is published does not come back");
        e->away_since = e->heard_at;
    } else {
        uv_timer_start(&e->timer, on_timer, ENGINE_REFRESH * 1000, 0);
        probe(e);
        hold_claims(e);
        vigil_look(&e->vigil, now_ms(e));
    }
}

/* ---- the public side ---- */

const char *engine_check(const char *url, char err[ENGINE_ERROR_SIZE])
{
    struct redisurl parsed;
    char why[REDISURL_ERROR_SIZE];
    int rc = redisurl_parse(&parsed, url, why);

    redisurl_fini(&parsed);
    if (rc == 0)
        return NULL;
    snprintf(err, ENGINE_ERROR_SIZE, "%s", why);
    return err;
}

static void name_channels(struct engine *e)
{
    e->channels[0] = xasprintf("%s:%s", e->conf->name, e->part.inbox);
    e->channels[1] = xasprintf("%s:news", e->conf->name);
    e->channels[2] = xasprintf("%s:all", e->conf->name);
}

static void on_whole(void *arg)
{
    settle(arg);
}

static void on_directory_fault(const char *why, void *arg)
{
    lose(arg, why);
}

static struct directory *new_directory(struct engine *e)
{
    char address[ADDR_TEXT_SIZE];
    struct directory_conf conf = {.turn = e->turn,
        .cluster = e->conf->name,
        .address = address,
        .commands = e->commands,
        .on_whole = on_whole,
        .on_fault = on_directory_fault,
        .arg = e};

    address_of(e, address);
    return directory_new(&conf);
}

struct engine *engine_open(struct turn *turn, const struct engine_conf *conf,
    const struct engine_part *part, char err[ENGINE_ERROR_SIZE])
{
    struct engine *e = xcalloc(1, sizeof(*e));

    if (!server_init(&e->server, conf, err)) {
        free(e);
        return NULL;
    }
    list_init(&e->findings);
    e->turn = turn;
    e->conf = conf;
    e->part = *part;
    e->part.inbox = xstrdup(part->inbox);
    e->vigil = (struct vigil){
        .engine = e, .wish = part->tidings, .arg = part->tidings_arg};
    if (!e->part.kind)
        e->part.kind = part->ip != 0 ? "gateway" : "worker";
    name_channels(e);
    uv_timer_init(turn_loop(turn), &e->timer);
    e->timer.data = e;
    e->commands = open_redis(e, false);
    if (part->hears_all)
        e->directory = new_directory(e);
    begin(e);
    return e;
}

static void release(struct engine *e)
{
    struct buf *out = scratch(e);
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(e, address);

    cells_put_release(out, &self);
    call(e, out, on_told);
    if (e->directory)
        directory_leave(e->directory);
    tell_news(e);
}

static void end_finding(struct finding *f)
{
    list_remove(&f->node);
    free(f);
}

void engine_close(struct engine *e)
{
    if (e->state == UP || e->state == SUBSCRIBING)
        release(e);
    if (e->pushes)
        redis_close(e->pushes);
    redis_close_flushed(e->commands);
    directory_free(e->directory);
    while (!list_empty(&e->findings))
        end_finding(LIST_ENTRY(e->findings.next, struct finding, node));
    server_fini(&e->server);
    for (size_t i = 0; i < CHANNELS; i++)
        free(e->channels[i]);
    free((char *)e->part.inbox);
    buf_fini(&e->commands_scratch);
    handle_close(&e->timer, e);
}

bool engine_is_up(const struct engine *e)
{
    return e->state == UP;
}

/* How many have heard it: an inbox that nobody has loses it. */
static void on_published(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;

    if (err < 0 || replies->type != REDIS_INTEGER || replies->integer == 0)
        e->counts.lost++;
    if (err < 0)
        lose(e, redis_error(e->commands));
}

/* What is for a name may be for nobody. */
static void on_published_to_name(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;

    if (err < 0 || replies->type != REDIS_INTEGER)
        e->counts.lost++;
    if (err < 0)
        lose(e, redis_error(e->commands));
}

/* The command stands in scratch, without the data. */
static int send_published(struct engine *e, struct buf *out, const void *data,
    size_t len, redis_reply_cb done)
{
    int err = -ENOTCONN;

    if (e->state == UP) {
        rediscommand_word(out, data, len);
        err = call(e, out, done);
    }
    if (err == 0)
        e->counts.published++;
    else
        e->counts.lost++;
    return err;
}

static struct buf *begin_publish(struct engine *e)
{
    struct buf *out = scratch(e);

    rediscommand_begin(out, 3);
    cells_put_word(out, "PUBLISH");
    return out;
}

int engine_publish(
    struct engine *e, const char *inbox, const void *data, size_t len)
{
    struct buf *out = begin_publish(e);

    if (inbox)
        cells_put_key(out, e->conf, inbox, "");
    else
        cells_put_word(out, e->channels[2]);
    return send_published(e, out, data, len, on_published);
}

int engine_publish_to_name(struct engine *e, enum engine_name kind,
    const void *name, size_t name_len, const void *data, size_t len)
{
    struct buf *out = begin_publish(e);

    directory_put_name(out, e->conf->name, kind, name, name_len);
    return send_published(e, out, data, len, on_published_to_name);
}

void engine_add_name(
    struct engine *e, enum engine_name kind, const void *name, size_t len)
{
    directory_add(e->directory, kind, name, len);
}

void engine_remove_name(
    struct engine *e, enum engine_name kind, const void *name, size_t len)
{
    directory_remove(e->directory, kind, name, len);
}

static void on_found(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct finding *f = arg;
    struct engine_place *places = NULL;
    size_t n = 0;

    if (err == 0 && replies->type != REDIS_ARRAY)
        err = -EPROTO;
    if (err == 0) {
        places = xcalloc(replies->len + 1, sizeof(*places));
        for (size_t i = 0; i < replies->len; i++)
            n += finding_read(&places[n], &replies->items[i]);
    }
    f->found(err, places, n, f->arg);
    free(places);
    end_finding(f);
}

int engine_find(struct engine *e, enum engine_name kind,
    const struct cmdjson_names *names, engine_found_cb found, void *arg)
{
    struct buf *out = scratch(e);
    struct redis_request request = {.commands = out,
        .count = 1,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_found};
    struct redis_call *unused;
    struct finding *f;
    int err;

    if (names->count > ENGINE_FIND_MAX)
        return -E2BIG;
    if (e->state != UP)
        return -ENOTCONN;
    finding_put(out, e->conf->name, kind, names);
    f = xcalloc(1, sizeof(*f));
    *f = (struct finding){.e = e, .found = found, .arg = arg};
    list_init(&f->node);
    list_push_back(&e->findings, &f->node);
    request.arg = f;
    err = redis_send(e->commands, &request, &unused);
    if (err < 0)
        end_finding(f);
    return err;
}

int engine_wait_for_name(struct engine *e, enum engine_name kind,
    const void *name, size_t len, struct engine_wait *w)
{
    return directory_wait(e->directory, kind, name, len, w);
}

void engine_count(const struct engine *e, struct engine_counts *out)
{
    *out = e->counts;
    if (e->was_up && e->state != UP)
        out->away_ms += now_ms(e) - e->away_since;
}
