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
 * engine_lose() leads from everywhere else to AWAY. What stands in Redis, and
 * what of it is ours, is cells.c's. */
#include "engine/engine_redis_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cells.h"
#include "engine/finding.h"
#include "engine/words.h"
#include "net/addr.h"
#include "net/clock.h"
#include "net/handle.h"
#include "upstream/redis.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"

#define RETRY_MIN_MS 100

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
        .limits = e->part.limits,
        .leaving = e->leaving,
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

void engine_lose(struct engine *e, const char *why)
{
    if (e->state == AWAY || e->state == LEFT)
        return;
    if (!e->told_away)
        log_warn("the cluster is away, this cell goes on by itself: %s", why);
    e->told_away = true;
    if (e->state == UP)
        e->away_since = proof_until(&e->proof, NULL);
    proof_end(&e->proof);
    e->state = AWAY;
    if (e->directory)
        directory_end(e->directory);
    subscription_stop(&e->subscription);
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

struct buf *engine_scratch(struct engine *e)
{
    buf_clear(&e->commands_scratch);
    buf_shrink(&e->commands_scratch, 65536);
    return &e->commands_scratch;
}

static void on_told(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

static void publish_probe(struct engine *e, enum subscription_channel channel)
{
    struct buf *out = engine_scratch(e);
    char text[PROOF_SIZE];

    proof_probe(text, now_ms(e));

    rediscommand_begin(out, 3);
    words_text(out, "PUBLISH");
    words_text(out, e->subscription.channels[channel]);
    words_text(out, text);
    engine_call(e, out, on_told, e);
}

/* Others look at the members at once. */
static void tell_news(struct engine *e)
{
    publish_probe(e, SUBSCRIPTION_NEWS);
}

/* Prove that what is published comes back: that the subscription is no deaf
 * one, and that both connections lead to the same server. */
static void probe(struct engine *e)
{
    publish_probe(e, SUBSCRIPTION_INBOX);
    proof_ask(&e->proof, e->commands, now_ms(e));
}

/* It was away for so long (ms). */
static uint64_t end_gap(struct engine *e, uint64_t now)
{
    uint64_t away;

    if (!e->was_up)
        return 0;
    e->away_since = proof_until(&e->proof, e->commands);
    away = now - e->away_since;
    e->counts.gaps++;
    e->counts.away_ms += away;
    return away;
}

static void settle(struct engine *e)
{
    uint64_t now = now_ms(e), away = end_gap(e, now);

    e->state = UP;
    e->tries = 0;
    e->counts.up = true;
    log_notice("the cluster is there cluster=%s cell=%s away_ms=%" PRIu64,
        e->conf->name, e->conf->cell, away);
    vigil_begin(&e->vigil, now, away);
    proof_begin(&e->proof, now);
    proof_ask(&e->proof, e->commands, now);
    e->was_up = true;
    e->told_away = false;
    uv_timer_start(&e->timer, on_timer, ENGINE_REFRESH * 1000, 0);
    e->part.on_up(e->part.arg);
    if (e->part.ip != 0)
        tell_news(e);
}

static void on_message(enum subscription_channel channel, const uint8_t *data,
    size_t len, void *arg)
{
    struct engine *e = arg;

    if (channel == SUBSCRIPTION_NEWS) {
        if (e->state == UP && !e->asking)
            engine_ask_members(e);
    } else if (channel == SUBSCRIPTION_INBOX &&
               proof_take(&e->proof, data, len)) {
        /* that was all it was for */
    } else if (e->state == UP) {
        e->part.on_message(data, len, channel == SUBSCRIPTION_ALL, e->part.arg);
    }
}

/* Our own channels come first; then the names. */
static void on_ready(void *arg)
{
    struct engine *e = arg;

    if (e->directory)
        directory_begin(e->directory, e->subscription.redis);
    else
        settle(e);
}

static void on_name(const char *channel, size_t len, bool on, void *arg)
{
    struct engine *e = arg;

    if (e->directory)
        directory_confirm(e->directory, channel, len, on);
}

static void on_fault(const char *why, void *arg)
{
    engine_lose(arg, why);
}

/* The commands would go to the server that is none of ours any more. */
static void on_other(const char *why, void *arg)
{
    struct engine *e = arg;

    engine_lose(e, why);
    redis_drop(e->commands, why);
}

void engine_subscribe(struct engine *e)
{
    e->state = SUBSCRIBING;
    subscription_start(&e->subscription);
    /* a confirmation that does not come is found by the timer */
    uv_timer_start(&e->timer, on_timer, ENGINE_CALL_MS, 0);
}

void engine_leave(struct engine *e, const char *why)
{
    log_error(
        "left the cluster for good, this cell goes on by itself: %s", why);
    e->counts.left = true;
    e->told_away = true;
    engine_lose(e, why);
    e->state = LEFT;
    uv_timer_stop(&e->timer);
}

static void begin(struct engine *e)
{
    e->state = CLAIMING;
    engine_ask_server(e);
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
        engine_claim(e);
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
        engine_lose(e, "a subscription was not confirmed in time");
    } else if (proof_is_old(&e->proof, now_ms(e), ENGINE_EXPIRY * 1000)) {
        engine_lose(e, "what is published does not come back");
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
    bool good = server_read_url(&parsed, url, err);

    redisurl_fini(&parsed);
    return good ? NULL : err;
}

static void on_whole(void *arg)
{
    settle(arg);
}

static struct directory *new_directory(struct engine *e)
{
    char address[ADDR_TEXT_SIZE];
    struct directory_conf conf = {.turn = e->turn,
        .cluster = e->conf->name,
        .address = address,
        .commands = e->commands,
        .on_whole = on_whole,
        .on_fault = on_fault,
        .arg = e};

    address_of(e, address);
    return directory_new(&conf);
}

struct engine *engine_open(struct turn *turn, const struct engine_conf *conf,
    const struct engine_part *part, char err[ENGINE_ERROR_SIZE])
{
    struct engine *e = xcalloc(1, sizeof(*e));
    struct redis_conf commands = {.arg = e};
    struct subscription_conf hears = {.server = &e->server,
        .turn = turn,
        .hears_all = part->hears_all,
        .on_ready = on_ready,
        .on_name = on_name,
        .on_message = on_message,
        .on_fault = on_fault,
        .arg = e};
    struct proof_conf proof = {
        .server = &e->server, .turn = turn, .on_other = on_other, .arg = e};

    if (!server_init(&e->server, conf, err)) {
        free(e);
        return NULL;
    }
    list_init(&e->findings);
    list_init(&e->takings);
    e->turn = turn;
    e->conf = conf;
    e->part = *part;
    e->part.inbox = xstrdup(part->inbox);
    e->vigil = (struct vigil){
        .engine = e, .wish = part->tidings, .arg = part->tidings_arg};
    if (!e->part.kind)
        e->part.kind = part->ip != 0 ? "gateway" : "worker";
    proof_init(&e->proof, &proof);
    subscription_init(&e->subscription, &hears, conf->name, part->inbox);
    uv_timer_init(turn_loop(turn), &e->timer);
    e->timer.data = e;
    e->commands = server_open(&e->server, turn, &commands);
    if (part->hears_all)
        e->directory = new_directory(e);
    begin(e);
    return e;
}

static void release(struct engine *e)
{
    struct buf *out = engine_scratch(e);
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(e, address);

    cells_put_release(out, &self);
    engine_call(e, out, on_told, e);
    if (e->directory)
        directory_leave(e->directory);
    tell_news(e);
}

void engine_close(struct engine *e)
{
    if (e->state == UP || e->state == SUBSCRIBING)
        release(e);
    subscription_stop(&e->subscription);
    redis_close_flushed(e->commands);
    directory_free(e->directory);
    finding_end_all(&e->findings);
    engine_end_takings(e);
    subscription_fini(&e->subscription);
    proof_fini(&e->proof);
    server_fini(&e->server);
    free((char *)e->part.inbox);
    buf_fini(&e->commands_scratch);
    handle_close(&e->timer, e);
}

bool engine_is_up(const struct engine *e)
{
    return e->state == UP;
}

void engine_tell_leaving(struct engine *e)
{
    e->leaving = true;
    if (e->state == UP && !e->asking)
        engine_claim(e); /* else with the next claim */
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
