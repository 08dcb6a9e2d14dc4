/* The engine on Redis: two connections, one for commands, which the library
 * makes anew by itself, and one for the subscription, which belongs to one time
 * of being there and is closed before the next begins.
 *
 *   AWAY         nothing is under way but the timer
 *   CLAIMING     the claim, then the members, were asked for
 *   SUBSCRIBING  SUBSCRIBE was sent
 *   UP           all channels are confirmed
 *
 * lose() leads from everywhere to AWAY. */
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "net/clock.h"
#include "net/handle.h"
#include "net/trust.h"
#include "upstream/redis.h"
#include "upstream/rediscommand.h"
#include "upstream/redisurl.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"

#define RETRY_MIN_MS 100
#define PROBE        "?" /* no envelope begins so */
#define CHANNELS     3   /* inbox, news, all */

enum state { AWAY, CLAIMING, SUBSCRIBING, UP };

struct engine {
    struct turn *turn;              /* borrowed */
    const struct engine_conf *conf; /* borrowed */
    struct engine_part part;        /* its inbox is owned */
    struct redisurl url;
    struct ssl_ctx_st *tls; /* owned; NULL without */
    struct redis *commands; /* owned */
    struct redis *pushes;   /* owned; NULL unless SUBSCRIBING or UP */
    uv_timer_t timer;       /* the next try, or the next refresh */
    enum state state;
    char *channels[CHANNELS]; /* owned: inbox, news, all */
    unsigned confirmed;       /* of them */
    bool asking;              /* the claim or the members are under way */
    bool was_up, told_away;
    unsigned tries;      /* since it was there last */
    uint64_t away_since; /* ms */
    uint64_t heard_at;   /* ms; the last probe that came back */
    struct buf commands_scratch;
    struct engine_counts counts;
};

/* If nobody else has one of the keys: they are ours. ARGV: our run, seconds,
 * the member for the list of all or "", then the values. */
static const char claim_script[] =
    "for i, key in ipairs(KEYS) do\n"
    "  local v = i > 1 and redis.call('GET', key)\n"
    "  if v and v:sub(1, #ARGV[1]) ~= ARGV[1] then return v end\n"
    "end\n"
    "for i = 2, #KEYS do\n"
    "  redis.call('SET', KEYS[i], ARGV[4], 'EX', ARGV[2])\n"
    "end\n"
    "if ARGV[3] ~= '' then redis.call('SADD', KEYS[1], ARGV[3]) end\n"
    "return 'OK'\n";

static const char release_script[] =
    "for i, key in ipairs(KEYS) do\n"
    "  local v = i > 1 and redis.call('GET', key)\n"
    "  if v and v:sub(1, #ARGV[1]) == ARGV[1] then redis.call('DEL', key) end\n"
    "end\n"
    "if ARGV[2] ~= '' then redis.call('SREM', KEYS[1], ARGV[2]) end\n";

/* address, value, address, value … */
static const char members_script[] =
    "local out = {}\n"
    "for _, a in ipairs(redis.call('SMEMBERS', KEYS[1])) do\n"
    "  local v = redis.call('GET', ARGV[1] .. a)\n"
    "  if v then out[#out + 1] = a out[#out + 1] = v\n"
    "  else redis.call('SREM', KEYS[1], a) end\n"
    "end\n"
    "return out\n";

static void begin(struct engine *e);
static void ask_members(struct engine *e);

static uint64_t now_ms(const struct engine *e)
{
    return clock_now(e->timer.loop);
}

/* ---- keys and channels ---- */

static void address_of(const struct engine *e, char out[ADDR_TEXT_SIZE])
{
    union addr a = {.in = {.sin_family = AF_INET,
                        .sin_port = htons(e->part.port),
                        .sin_addr.s_addr = htonl(e->part.ip)}};

    *out = '\0';
    if (e->part.ip != 0)
        addr_format(out, &a);
}

static void put_word(struct buf *out, const char *word)
{
    rediscommand_word(out, word, strlen(word));
}

static void put_number(struct buf *out, unsigned n)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", n);
    put_word(out, text);
}

static void put_key(
    struct buf *out, const struct engine *e, const char *kind, const char *name)
{
    char *key = xasprintf("%s:%s%s", e->conf->name, kind, name);

    put_word(out, key);
    free(key);
}

/* The list of all gateways, the cell and, of a gateway, its address. */
static void put_keys(struct buf *out, const struct engine *e)
{
    char address[ADDR_TEXT_SIZE];

    address_of(e, address);
    put_number(out, *address ? 3 : 2);
    put_key(out, e, "gateways", "");
    put_key(out, e, "cell:", e->conf->cell);
    if (*address)
        put_key(out, e, "gateway:", address);
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
    if (e->state == AWAY)
        return;
    if (!e->told_away)
        log_warn("the cluster is away, this cell goes on by itself: %s", why);
    e->told_away = true;
    if (e->state == UP)
        e->away_since = now_ms(e);
    e->state = AWAY;
    if (e->pushes)
        redis_close(e->pushes);
    e->pushes = NULL;
    e->counts.up = false;
    try_later(e);
}

/* ---- the way up ---- */

/* Commands are counted for what they are: a server that takes none is away. */
static int call(
    struct engine *e, const struct buf *commands, redis_reply_cb done)
{
    struct redis_request request = {.commands = commands,
        .count = 1,
        .timeout_ms = ENGINE_CALL_MS,
        .done = done,
        .arg = e};
    struct redis_call *unused;

    return redis_send(e->commands, &request, &unused);
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
    put_word(out, "PUBLISH");
    put_word(out, e->channels[1]);
    put_word(out, PROBE);
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

    if (is_text(channel, e->channels[1])) {
        if (e->state == UP && !e->asking)
            ask_members(e);
    } else if (own && is_text(payload, PROBE)) {
        e->heard_at = now_ms(e);
    } else if (e->state == UP) {
        e->part.on_message(
            (const uint8_t *)payload->text, payload->len, !own, e->part.arg);
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
        else if (is_text(&v->items[0], "subscribe") &&
                 ++e->confirmed == (e->part.hears_all ? 3u : 2u))
            settle(e);
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
    struct sentinel_conf sentinels = {
        .hosts = (const char *const *)e->url.hosts,
        .ports = e->url.ports,
        .count = e->url.count,
        .master = e->url.master,
        .tls = e->tls};
    struct redis_conf conf = {.host = e->url.hosts[0],
        .port = e->url.ports[0],
        .sentinels = e->url.master ? &sentinels : NULL,
        .tls = e->tls,
        .user = e->url.user,
        .password = e->url.password,
        .db = e->url.db,
        .on_push = pushes ? on_push : NULL,
        .on_down = pushes ? on_pushes_down : NULL,
        .arg = e};

    return redis_open(e->turn, &conf);
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
    put_word(out, "SUBSCRIBE");
    for (size_t i = 0; i < count; i++)
        put_word(out, e->channels[i]);
    request.commands = out;
    redis_send(e->pushes, &request, &unused);
    /* a confirmation that does not come is found by the timer */
    uv_timer_start(&e->timer, on_timer, ENGINE_CALL_MS, 0);
}

/* "run cell", as claims have it. */
static bool read_member(struct engine_member *m, const struct redisvalue *where,
    const struct redisvalue *what)
{
    const size_t run = ENGINE_RUN_SIZE - 1;
    union addr a;

    if (where->type != REDIS_STRING || what->type != REDIS_STRING ||
        addr_parse(&a, where->text) < 0 || a.sa.sa_family != AF_INET ||
        what->len <= run + 1 || what->text[run] != ' ')
        return false;
    m->ip = addr_ipv4(&a);
    m->port = addr_port(&a);
    snprintf(m->run, sizeof(m->run), "%s", what->text);
    snprintf(m->cell, sizeof(m->cell), "%s", what->text + run + 1);
    return true;
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
        n += read_member(&list[n], &all->items[i], &all->items[i + 1]);
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
    rediscommand_begin(out, 5);
    put_word(out, "EVAL");
    put_word(out, members_script);
    put_word(out, "1");
    put_key(out, e, "gateways", "");
    put_key(out, e, "gateway:", "");
    e->asking = true;
    if (call(e, out, on_members) < 0) {
        e->asking = false;
        lose(e, "too many commands are waiting");
    }
}

/* Somebody else has the cell's name, or the address. */
static void tell_refused(struct engine *e, const struct redisvalue *v)
{
    char address[ADDR_TEXT_SIZE], why[ENGINE_ERROR_SIZE];
    const char *cell = v->type == REDIS_STRING ? strchr(v->text, ' ') : NULL;

    address_of(e, address);
    if (v->type != REDIS_STRING)
        snprintf(why, sizeof(why), "it answers nonsense");
    else if (cell && strcmp(cell + 1, e->conf->cell) == 0)
        snprintf(why, sizeof(why),
            "another system runs as cell %s; give each a name of its own "
            "(cluster.cell); one that was killed is forgotten after %d seconds",
            e->conf->cell, ENGINE_EXPIRY);
    else
        snprintf(why, sizeof(why),
            "%s is a gateway of cell %.64s already, and this is cell %s; give "
            "each a lan_ip, or start_port, of its own",
            address, cell ? cell + 1 : "?", e->conf->cell);
    lose(e, why);
}

static void on_claimed(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct engine *e = arg;

    e->asking = false;
    if (err < 0)
        lose(e, redis_error(e->commands));
    else if (replies->type == REDIS_ERROR)
        lose(e, replies->text);
    else if (!is_text(replies, "OK"))
        tell_refused(e, replies);
    else if (e->part.watches)
        ask_members(e);
    else if (e->state == CLAIMING)
        subscribe(e);
}

static void claim(struct engine *e)
{
    struct buf *out = scratch(e);
    char address[ADDR_TEXT_SIZE];
    char *value = xasprintf("%s %s", e->conf->run, e->conf->cell);

    address_of(e, address);
    rediscommand_begin(out, *address ? 10 : 9);
    put_word(out, "EVAL");
    put_word(out, claim_script);
    put_keys(out, e);
    put_word(out, e->conf->run);
    put_number(out, ENGINE_EXPIRY);
    put_word(out, address);
    put_word(out, value);
    free(value);
    e->asking = true;
    if (call(e, out, on_claimed) < 0) {
        e->asking = false;
        lose(e, "too many commands are waiting");
    }
}

static void begin(struct engine *e)
{
    e->state = CLAIMING;
    claim(e);
}

/* Prove that what is published comes back: that the subscription is no deaf
 * one, and that both connections lead to the same server. */
static void probe(struct engine *e)
{
    struct buf *out = scratch(e);

    rediscommand_begin(out, 3);
    put_word(out, "PUBLISH");
    put_word(out, e->channels[0]);
    put_word(out, PROBE);
    call(e, out, on_told);
}

static void on_timer(uv_timer_t *timer)
{
    struct engine *e = timer->data;

    if (e->state == AWAY && !e->asking) {
        begin(e);
    } else if (e->state == AWAY) {
        try_later(e); /* a call of the last try has not ended yet */
    } else if (e->state == SUBSCRIBING) {
        lose(e, "a subscription was not confirmed in time");
    } else if (now_ms(e) - e->heard_at >= ENGINE_EXPIRY * 1000) {
        lose(e, "what is published does not come back");
        e->away_since = e->heard_at;
    } else {
        uv_timer_start(&e->timer, on_timer, ENGINE_REFRESH * 1000, 0);
        probe(e);
        if (!e->asking)
            claim(e);
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

struct engine *engine_open(struct turn *turn, const struct engine_conf *conf,
    const struct engine_part *part, char err[ENGINE_ERROR_SIZE])
{
    struct engine *e = xcalloc(1, sizeof(*e));
    struct trust_conf trust = {.ca_file = conf->ca_file};
    char why[REDISURL_ERROR_SIZE];

    if (redisurl_parse(&e->url, conf->url, why) < 0)
        snprintf(err, ENGINE_ERROR_SIZE, "%s", why);
    else if (e->url.tls)
        e->tls = trust_new(&trust, err);
    if (e->url.count == 0 || (e->url.tls && !e->tls)) {
        redisurl_fini(&e->url);
        free(e);
        return NULL;
    }
    e->turn = turn;
    e->conf = conf;
    e->part = *part;
    e->part.inbox = xstrdup(part->inbox);
    name_channels(e);
    uv_timer_init(turn_loop(turn), &e->timer);
    e->timer.data = e;
    e->commands = open_redis(e, false);
    begin(e);
    return e;
}

static void release(struct engine *e)
{
    struct buf *out = scratch(e);
    char address[ADDR_TEXT_SIZE];

    address_of(e, address);
    rediscommand_begin(out, *address ? 8 : 7);
    put_word(out, "EVAL");
    put_word(out, release_script);
    put_keys(out, e);
    put_word(out, e->conf->run);
    put_word(out, address);
    call(e, out, on_told);
    tell_news(e);
    redis_flush(e->commands);
}

void engine_close(struct engine *e)
{
    if (e->state == UP)
        release(e);
    if (e->pushes)
        redis_close(e->pushes);
    redis_close(e->commands);
    redisurl_fini(&e->url);
    trust_free(e->tls);
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

int engine_publish(
    struct engine *e, const char *inbox, const void *data, size_t len)
{
    struct buf *out = scratch(e);
    int err = -ENOTCONN;

    if (e->state == UP) {
        rediscommand_begin(out, 3);
        put_word(out, "PUBLISH");
        if (inbox)
            put_key(out, e, inbox, "");
        else
            put_word(out, e->channels[2]);
        rediscommand_word(out, data, len);
        err = call(e, out, on_published);
    }
    if (err == 0)
        e->counts.published++;
    else
        e->counts.lost++;
    return err;
}

void engine_count(const struct engine *e, struct engine_counts *out)
{
    *out = e->counts;
    if (e->was_up && e->state != UP)
        out->away_ms += now_ms(e) - e->away_since;
}
