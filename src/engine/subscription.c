/* Everything on the connection is a push: confirmations come in the order of
 * the channels, so our own are counted before any name's can come. */
#include "engine/subscription.h"

#include <stdlib.h>

#include "engine/words.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"

static size_t count_own(const struct subscription *s)
{
    return s->conf.hears_all ? SUBSCRIPTION_OWN : SUBSCRIPTION_OWN - 1;
}

static enum subscription_channel channel_of(
    const struct subscription *s, const struct redisvalue *channel)
{
    size_t i = 0;

    while (i < SUBSCRIPTION_OWN && !words_are(channel, s->channels[i]))
        i++;
    return (enum subscription_channel)i;
}

static void take_confirmation(
    struct subscription *s, const struct redisvalue *channel, bool on)
{
    if (s->confirmed < count_own(s)) {
        if (++s->confirmed == count_own(s))
            s->conf.on_ready(s->conf.arg);
    } else if (channel->type == REDIS_STRING) {
        s->conf.on_name(channel->text, channel->len, on, s->conf.arg);
    }
}

static void take_message(struct subscription *s,
    const struct redisvalue *channel, const struct redisvalue *payload)
{
    if (payload->type == REDIS_STRING)
        s->conf.on_message(channel_of(s, channel),
            (const uint8_t *)payload->text, payload->len, s->conf.arg);
}

static void on_push(struct redisvalue *v, void *arg)
{
    struct subscription *s = arg;

    if (v->type == REDIS_ERROR) {
        s->conf.on_fault(v->text, s->conf.arg);
    } else if (v->type == REDIS_ARRAY && v->len == 3) {
        if (words_are(&v->items[0], "message"))
            take_message(s, &v->items[1], &v->items[2]);
        else if (words_are(&v->items[0], "subscribe"))
            take_confirmation(s, &v->items[1], true);
        else if (words_are(&v->items[0], "unsubscribe"))
            take_confirmation(s, &v->items[1], false);
    }
    redisvalue_free(v);
}

static void on_down(int err, void *arg)
{
    struct subscription *s = arg;

    s->conf.on_fault(redis_error(s->redis), s->conf.arg);
}

static void on_sent(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

void subscription_init(struct subscription *s,
    const struct subscription_conf *conf, const char *cluster,
    const char *inbox)
{
    s->conf = *conf;
    s->channels[SUBSCRIPTION_INBOX] = xasprintf("%s:%s", cluster, inbox);
    s->channels[SUBSCRIPTION_NEWS] = xasprintf("%s:news", cluster);
    s->channels[SUBSCRIPTION_ALL] = xasprintf("%s:all", cluster);
}

void subscription_fini(struct subscription *s)
{
    subscription_stop(s);
    for (size_t i = 0; i < SUBSCRIPTION_OWN; i++)
        free(s->channels[i]);
}

void subscription_start(struct subscription *s)
{
    struct redis_conf conf = {.on_push = on_push, .on_down = on_down, .arg = s};
    struct buf out = {0};
    struct redis_request request = {.commands = &out,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_sent,
        .arg = s};
    struct redis_call *unused;

    s->confirmed = 0;
    s->redis = server_open(s->conf.server, s->conf.turn, &conf);
    rediscommand_begin(&out, 1 + count_own(s));
    words_text(&out, "SUBSCRIBE");
    for (size_t i = 0; i < count_own(s); i++)
        words_text(&out, s->channels[i]);
    redis_send(s->redis, &request, &unused);
    buf_fini(&out);
}

void subscription_stop(struct subscription *s)
{
    if (s->redis)
        redis_close(s->redis);
    s->redis = NULL;
}
