/* redis: against a fake server that says exactly what a test wants. */
#include "../net/testloop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/clock.h"
#include "net/turn.h"
#include "upstream/redis.h"
#include "upstream/rediscommand.h"
#include "util/buf.h"

static struct testloop t;
static struct turn *turn;
static struct redis *redis;
static union addr addr;
static int listening;
static int peer;
static struct buf heard;

/* What became of a call, replies as text. */
struct outcome {
    int told;
    int err;
    bool unsent;
    char text[512];
    struct redis_call *call;
};

static void show(char *out, size_t size, const struct redisvalue *v)
{
    size_t len = strlen(out);

    switch (v->type) {
    case REDIS_NIL:
        snprintf(out + len, size - len, "nil ");
        break;
    case REDIS_INTEGER:
        snprintf(out + len, size - len, "%lld ", (long long)v->integer);
        break;
    case REDIS_ARRAY:
        snprintf(out + len, size - len, "[ ");
        for (size_t i = 0; i < v->len; i++)
            show(out, size, &v->items[i]);
        len = strlen(out);
        snprintf(out + len, size - len, "] ");
        break;
    default:
        snprintf(out + len, size - len, "%s%.40s ",
            v->type == REDIS_ERROR ? "!" : "", v->text);
    }
}

static void on_reply(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct outcome *o = arg;

    o->told++;
    o->err = err;
    o->unsent = o->call && !redis_was_sent(o->call);
    for (size_t i = 0; i < count; i++)
        show(o->text, sizeof(o->text), &replies[i]);
}

static struct outcome pushed;

static void on_push(struct redisvalue *v, void *arg)
{
    pushed.told++;
    show(pushed.text, sizeof(pushed.text), v);
    redisvalue_free(v);
}

static int downs;

static void on_down(int err, void *arg)
{
    downs++;
}

static int setup(void **state)
{
    testloop_open(&t);
    turn = turn_new(&t.loop);
    listening = testloop_bind(&addr);
    assert_int_equal(listen(listening, 8), 0);
    fcntl(listening, F_SETFL, O_NONBLOCK);
    peer = -1;
    redis = NULL;
    downs = 0;
    memset(&pushed, 0, sizeof(pushed));
    memset(&heard, 0, sizeof(heard));
    return 0;
}

static int teardown(void **state)
{
    if (redis)
        redis_close(redis);
    if (peer >= 0)
        close(peer);
    if (listening >= 0)
        close(listening);
    buf_fini(&heard);
    turn_close(turn);
    testloop_close(&t);
    return 0;
}

static void open_redis(struct redis_conf conf)
{
    conf.host = "127.0.0.1";
    conf.port = addr_port(&addr);
    conf.on_down = on_down;
    redis = redis_open(turn, &conf);
}

static int begin(struct outcome *o, const char *word, size_t count, uint64_t ms)
{
    struct buf commands = {0};
    struct redis_request request = {.commands = &commands,
        .count = count,
        .timeout_ms = ms,
        .done = on_reply,
        .arg = o};
    int err;

    memset(o, 0, sizeof(*o));
    for (size_t i = 0; i < (count ? count : 1); i++) {
        rediscommand_begin(&commands, 1);
        rediscommand_word(&commands, word, strlen(word));
    }
    err = redis_send(redis, &request, &o->call);
    buf_fini(&commands);
    assert_int_equal(o->told, 0); /* never inside the call */
    return err;
}

static void accept_peer(void)
{
    if (peer >= 0)
        close(peer);
    buf_clear(&heard);
    testloop_until(
        &t, (peer = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0);
}

static bool hears(const char *text)
{
    ssize_t n = read(peer, buf_reserve(&heard, 4096), 4096);

    if (n > 0)
        buf_commit(&heard, (size_t)n);
    buf_append_byte(&heard, 0);
    heard.len--;
    return strstr((const char *)heard.data, text) != NULL;
}

static void say(const char *text)
{
    assert_int_equal(write(peer, text, strlen(text)), strlen(text));
}

static void connect_with(struct outcome *o)
{
    assert_int_equal(begin(o, "FIRST", 1, 10000), 0);
    accept_peer();
    testloop_until(&t, hears("FIRST"));
}

static void parses_every_kind_of_reply_byte_by_byte(void **state)
{
    const char *text = "*7\r\n+OK\r\n:-12\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n"
                       "*2\r\n$0\r\n\r\n-ERR x\r\n*0\r\n";
    struct outcome o;

    open_redis((struct redis_conf){0});
    connect_with(&o);
    for (const char *p = text; *p; p++) {
        assert_int_equal(o.told, 0);
        assert_int_equal(write(peer, p, 1), 1);
        testloop_turns(&t, 3);
    }
    testloop_until(&t, o.told);
    assert_string_equal(o.text, "[ OK -12 a\r\n nil nil [  !ERR x ] [ ] ] ");
}

static void gives_each_call_its_own_replies(void **state)
{
    struct outcome a, b, c;

    open_redis((struct redis_conf){0});
    connect_with(&a);
    begin(&b, "SECOND", 3, 10000);
    begin(&c, "THIRD", 1, 10000);
    testloop_until(&t, hears("THIRD"));
    say("+a\r\n+b1\r\n-b2\r\n");
    testloop_until(&t, a.told);
    testloop_turns(&t, 3);
    assert_int_equal(b.told, 0);
    say("+b3\r\n:3\r\n");
    testloop_until(&t, c.told);
    assert_string_equal(a.text, "a ");
    assert_string_equal(b.text, "b1 !b2 b3 ");
    assert_string_equal(c.text, "3 ");
}

static void logs_in_and_selects_before_anything_else(void **state)
{
    struct outcome o;

    open_redis((struct redis_conf){.user = "u", .password = "p", .db = 4});
    begin(&o, "PING", 1, 10000);
    accept_peer();
    testloop_until(&t, hears("SELECT\r\n$1\r\n4\r\n"));
    assert_true(hears("*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n"));
    testloop_turns(&t, 3);
    assert_false(hears("PING"));
    say("+OK\r\n+OK\r\n");
    testloop_until(&t, hears("PING"));
    say("+PONG\r\n");
    testloop_until(&t, o.told);
    assert_string_equal(o.text, "PONG ");
}

static void fails_all_calls_when_the_login_is_refused(void **state)
{
    struct outcome a, b;

    open_redis((struct redis_conf){.password = "p"});
    begin(&a, "PING", 1, 10000);
    begin(&b, "PING", 1, 10000);
    accept_peer();
    testloop_until(&t, hears("AUTH"));
    say("-WRONGPASS no\r\n");
    testloop_until(&t, b.told);
    assert_int_equal(a.err, -EACCES);
    assert_true(a.unsent && b.unsent);
    assert_non_null(strstr(redis_error(redis), "WRONGPASS no"));
    assert_int_equal(downs, 1);
}

static void ends_a_call_at_its_deadline_and_drops_its_late_reply(void **state)
{
    static struct clock clock;
    struct outcome a, b;

    t.loop.data = &clock;
    open_redis((struct redis_conf){0});
    connect_with(&a);
    begin(&b, "SLOW", 1, 10);
    testloop_until(&t, hears("SLOW"));
    /* the server lives: it answers the first call after the slow one was sent
     */
    say("+one\r\n");
    testloop_until(&t, a.told);
    assert_int_equal(b.told, 0);
    clock.now += 10;
    testloop_until(&t, b.told);
    assert_int_equal(b.err, -ETIMEDOUT);
    begin(&a, "NEXT", 1, 10000);
    testloop_until(&t, hears("NEXT"));
    say("+late\r\n+next\r\n");
    testloop_until(&t, a.told);
    assert_string_equal(a.text, "next ");
    assert_int_equal(b.told, 1);
    assert_int_equal(downs, 0);
}

/* CPU time to tell so many calls that they are overdue. */
static clock_t time_expiry(size_t n, struct clock *standing)
{
    struct outcome o = {0}, first, last;
    struct buf command = {0};
    struct redis_request request = {.commands = &command,
        .count = 1,
        .timeout_ms = 10,
        .done = on_reply,
        .arg = &o};
    clock_t began;

    rediscommand_begin(&command, 1);
    rediscommand_word(&command, "SLOW", 4);
    open_redis((struct redis_conf){0});
    connect_with(&first);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(redis_send(redis, &request, &o.call), 0);
    begin(&last, "LAST", 1, 10000);
    testloop_until(&t, hears("LAST"));
    say("+one\r\n"); /* the server lives */
    testloop_until(&t, first.told);
    standing->now += 10;
    began = clock();
    testloop_spin(&t, (size_t)o.told == n);
    began = clock() - began;
    assert_int_equal(last.told, 0);
    redis_close(redis);
    redis = NULL;
    buf_fini(&command);
    return began;
}

static void tells_very_many_overdue_calls_in_linear_time(void **state)
{
    static struct clock standing;
    clock_t few, many;

    t.loop.data = &standing;
    few = time_expiry(2000, &standing);
    many = time_expiry(60000, &standing);
    if (many > CLOCKS_PER_SEC / 2) /* 30 times as many */
        assert_in_range(many / few, 0, 200);
}

static void connects_anew_when_the_server_is_silent(void **state)
{
    struct outcome a, b, c;

    open_redis((struct redis_conf){0});
    connect_with(&c);
    say("+up\r\n");
    testloop_until(&t, c.told);
    begin(&a, "A", 1, 20);
    begin(&b, "B", 1, 10000);
    testloop_until(&t, a.told && b.told);
    assert_int_equal(a.err, -ETIMEDOUT);
    assert_int_equal(b.err, -ECONNRESET);
    connect_with(&c);
    say("+again\r\n");
    testloop_until(&t, c.told);
    assert_string_equal(c.text, "again ");
}

static void finds_a_silent_server_by_a_cancelled_call(void **state)
{
    struct outcome a, b, c;

    open_redis((struct redis_conf){0});
    connect_with(&c);
    say("+up\r\n");
    testloop_until(&t, c.told);
    begin(&a, "A", 1, 20);
    begin(&b, "B", 1, 10000);
    redis_cancel(a.call);
    testloop_until(&t, b.told);
    assert_int_equal(b.err, -ECONNRESET);
    assert_int_equal(a.told, 0);
}

static void does_not_tell_a_cancelled_call(void **state)
{
    struct outcome a, b, waiting;

    open_redis((struct redis_conf){0});
    begin(&waiting, "NEVER", 1, 10000);
    redis_cancel(waiting.call);
    connect_with(&a);
    begin(&b, "B", 1, 10000);
    redis_cancel(a.call);
    testloop_until(&t, hears("B\r\n"));
    assert_false(hears("NEVER"));
    say("+a\r\n+b\r\n");
    testloop_until(&t, b.told);
    assert_string_equal(b.text, "b ");
    assert_int_equal(a.told + waiting.told, 0);
}

static void fails_calls_when_the_connection_is_lost(void **state)
{
    struct outcome a, b;

    open_redis((struct redis_conf){0});
    connect_with(&a);
    begin(&b, "B", 1, 10000);
    say("+par");
    close(peer);
    peer = -1;
    testloop_until(&t, b.told);
    assert_int_equal(a.err, -ECONNRESET);
    assert_int_equal(b.err, -ECONNRESET);
    assert_false(a.unsent || b.unsent);
    connect_with(&a);
    say("+a\r\n");
    testloop_until(&t, a.told);
    assert_string_equal(a.text, "a ");
}

static void leaves_a_server_that_became_a_replica(void **state)
{
    struct outcome a, b, c;

    open_redis((struct redis_conf){0});
    connect_with(&a);
    say("+a\r\n");
    testloop_until(&t, a.told);
    assert_int_equal(redis_losses(redis), 0);
    begin(&a, "WRITE", 1, 10000);
    begin(&b, "READ", 1, 10000);
    testloop_until(&t, hears("READ"));
    say("-READONLY You can't write against a read only replica.\r\n");
    testloop_until(&t, a.told);
    assert_int_equal(a.err, 0); /* the caller hears what the server said */
    begin(&c, "LATER", 1, 10000);
    say("+b\r\n"); /* what was sent before gets its reply */
    testloop_until(&t, b.told);
    assert_string_equal(b.text, "b ");
    accept_peer();
    testloop_until(&t, hears("LATER"));
    say("+c\r\n");
    testloop_until(&t, c.told);
    assert_string_equal(c.text, "c ");
    assert_int_equal(redis_losses(redis), 1);
    assert_int_equal(downs, 0);
}

static void fails_calls_when_nobody_listens(void **state)
{
    struct outcome a, b;

    open_redis((struct redis_conf){0});
    close(listening);
    listening = -1;
    begin(&a, "A", 1, 10000);
    testloop_until(&t, a.told);
    assert_int_equal(a.err, -ECONNREFUSED);
    begin(&b, "B", 1, 10000); /* too soon for another try */
    testloop_until(&t, b.told);
    assert_int_equal(b.err, -ECONNREFUSED);
    assert_true(a.unsent && b.unsent);
}

/* What is wrong, and the error it ends with. */
static void assert_refused(const char *text, int err)
{
    struct outcome o;

    open_redis((struct redis_conf){0});
    connect_with(&o);
    say(text);
    testloop_until(&t, o.told);
    assert_int_equal(o.err, err);
    redis_close(redis);
    redis = NULL;
}

static void refuses_what_is_not_the_protocol(void **state)
{
    assert_refused("HTTP/1.1 400 Bad Request\r\n", -EPROTO);
    assert_refused("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
                   "*1\r\n",
        -EPROTO);
    assert_refused("*2000000\r\n", -EMSGSIZE);
    assert_refused(
        "*1000000\r\n*1000000\r\n*1000000\r\n:1\r\n*2000000\r\n", -EMSGSIZE);
}

static void refuses_a_reply_nobody_asked_for(void **state)
{
    struct outcome o;

    open_redis((struct redis_conf){0});
    connect_with(&o);
    say("+one\r\n+two\r\n");
    testloop_until(&t, downs > 0);
    assert_string_equal(o.text, "one ");
}

static void limits_what_waits(void **state)
{
    static struct outcome many[3];
    struct buf commands = {0};
    struct redis_request request = {.commands = &commands,
        .count = 1,
        .timeout_ms = 1000,
        .done = on_reply,
        .arg = &many[0]};
    struct redis_call *call;

    open_redis((struct redis_conf){0});
    memset(buf_extend(&commands, REDIS_QUEUE_MAX / 2 + 1), 'x',
        REDIS_QUEUE_MAX / 2 + 1);
    assert_int_equal(redis_send(redis, &request, &call), 0);
    assert_int_equal(redis_send(redis, &request, &call), -ENOBUFS);
    buf_fini(&commands);
}

static void hands_over_what_a_subscription_brings(void **state)
{
    struct outcome o;

    open_redis((struct redis_conf){.on_push = on_push});
    begin(&o, "SUBSCRIBE", 0, 10000);
    accept_peer();
    testloop_until(&t, o.told && hears("SUBSCRIBE"));
    assert_int_equal(o.err, 0);
    say("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    testloop_until(&t, pushed.told);
    assert_string_equal(pushed.text, "[ message c hi ] ");
    close(peer);
    peer = -1;
    testloop_until(&t, downs == 1);
}

static void on_reply_close(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct outcome *o = arg;

    o->told++;
    if (redis)
        redis_close(redis);
    redis = NULL;
}

static void may_be_closed_in_its_own_callbacks(void **state)
{
    struct buf commands = {0};
    struct outcome a = {0}, b, c;
    struct redis_request request = {.commands = &commands,
        .count = 1,
        .timeout_ms = 10000,
        .done = on_reply_close,
        .arg = &a};

    open_redis((struct redis_conf){0});
    buf_append_str(&commands, "*1\r\n$1\r\nA\r\n");
    redis_send(redis, &request, &a.call);
    begin(&b, "B", 1, 10000);
    accept_peer();
    testloop_until(&t, hears("B\r\n"));
    say("+a\r\n+b\r\n");
    testloop_until(&t, a.told);
    testloop_turns(&t, 3);
    assert_int_equal(b.told, 0);

    open_redis((struct redis_conf){0});
    redis_send(redis, &request, &a.call);
    begin(&c, "C", 1, 10000);
    accept_peer();
    close(peer);
    peer = -1;
    testloop_until(&t, a.told == 2);
    testloop_turns(&t, 3);
    assert_int_equal(c.told, 0);
    buf_fini(&commands);
}

static void tells_calls_when_it_is_ended(void **state)
{
    struct outcome a, b;

    open_redis((struct redis_conf){0});
    connect_with(&a);
    begin(&b, "B", 1, 10000);
    redis_end(redis);
    redis = NULL;
    assert_int_equal(a.told + b.told + downs, 0);
    testloop_until(&t, downs);
    assert_int_equal(a.err, -ECANCELED);
    assert_int_equal(b.err, -ECANCELED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(parses_every_kind_of_reply_byte_by_byte),
        TEST(gives_each_call_its_own_replies),
        TEST(logs_in_and_selects_before_anything_else),
        TEST(fails_all_calls_when_the_login_is_refused),
        TEST(ends_a_call_at_its_deadline_and_drops_its_late_reply),
        TEST(tells_very_many_overdue_calls_in_linear_time),
        TEST(connects_anew_when_the_server_is_silent),
        TEST(finds_a_silent_server_by_a_cancelled_call),
        TEST(does_not_tell_a_cancelled_call),
        TEST(fails_calls_when_the_connection_is_lost),
        TEST(fails_calls_when_nobody_listens),
        TEST(refuses_what_is_not_the_protocol),
        TEST(refuses_a_reply_nobody_asked_for),
        TEST(limits_what_waits),
        TEST(leaves_a_server_that_became_a_replica),
        TEST(hands_over_what_a_subscription_brings),
        TEST(may_be_closed_in_its_own_callbacks),
        TEST(tells_calls_when_it_is_ended),
    };

    return cmocka_run_group_tests_name("upstream.redis", tests, NULL, NULL);
}
