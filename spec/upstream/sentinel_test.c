/* sentinel: against fakes that say exactly what a test wants, and a connection
 * to the master that they name. */
#include "../net/testloop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "net/clock.h"
#include "net/turn.h"
#include "upstream/redis.h"
#include "upstream/rediscommand.h"
#include "upstream/sentinel.h"

#define FAKES 3 /* two sentinels and a server */

static struct testloop t;
static struct turn *turn;
static struct sentinel *sentinel;
static struct redis *redis;

static struct fake {
    int listening;
    int peer;
    uint16_t port;
    struct buf heard;
} fakes[FAKES];

static struct {
    int told;
    int err;
    char where[64];
    char why[256];
} found;

static void on_found(
    int err, const char *host, uint16_t port, const char *why, void *arg)
{
    found.told++;
    found.err = err;
    if (err == 0)
        snprintf(found.where, sizeof(found.where), "%s:%u", host, port);
    else
        snprintf(found.why, sizeof(found.why), "%s", why);
}

static int setup(void **state)
{
    testloop_open(&t);
    turn = turn_new(&t.loop);
    sentinel = NULL;
    redis = NULL;
    memset(&found, 0, sizeof(found));
    memset(fakes, 0, sizeof(fakes));
    for (int i = 0; i < FAKES; i++) {
        union addr addr;

        fakes[i].listening = testloop_bind(&addr);
        fakes[i].port = addr_port(&addr);
        fakes[i].peer = -1;
        assert_int_equal(listen(fakes[i].listening, 8), 0);
        fcntl(fakes[i].listening, F_SETFL, O_NONBLOCK);
    }
    return 0;
}

static void hang_up(struct fake *f)
{
    if (f->peer >= 0)
        close(f->peer);
    f->peer = -1;
    buf_clear(&f->heard);
}

static int teardown(void **state)
{
    if (redis)
        redis_close(redis);
    sentinel_close(sentinel);
    for (int i = 0; i < FAKES; i++) {
        hang_up(&fakes[i]);
        if (fakes[i].listening >= 0)
            close(fakes[i].listening);
        buf_fini(&fakes[i].heard);
    }
    turn_close(turn);
    testloop_close(&t);
    return 0;
}

static struct sentinel_conf conf_of_two(void)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.1"};
    static uint16_t ports[2];

    ports[0] = fakes[0].port;
    ports[1] = fakes[1].port;
    return (struct sentinel_conf){.hosts = hosts,
        .ports = ports,
        .count = 2,
        .master = "mymaster",
        .try_ms = 60000};
}

static void ask(void)
{
    if (!sentinel) {
        struct sentinel_conf conf = conf_of_two();

        sentinel = sentinel_open(turn, &conf);
    }
    memset(&found, 0, sizeof(found));
    sentinel_ask(sentinel, on_found, NULL);
    assert_int_equal(found.told, 0);
}

static bool hears(struct fake *f, const char *text)
{
    ssize_t n = read(f->peer, buf_reserve(&f->heard, 4096), 4096);

    if (n > 0)
        buf_commit(&f->heard, (size_t)n);
    buf_append_byte(&f->heard, 0);
    f->heard.len--;
    return strstr((const char *)f->heard.data, text) != NULL;
}

static void expect(struct fake *f, const char *text)
{
    hang_up(f);
    testloop_until(
        &t, (f->peer = accept4(f->listening, NULL, NULL, SOCK_NONBLOCK)) >= 0);
    testloop_until(&t, hears(f, text));
}

static void say(struct fake *f, const char *text)
{
    assert_int_equal(write(f->peer, text, strlen(text)), strlen(text));
}

static void stop_listening(struct fake *f)
{
    close(f->listening);
    f->listening = -1;
}

static void asks_for_the_master_by_its_name(void **state)
{
    ask();
    expect(&fakes[0],
        "*3\r\n$8\r\nSENTINEL\r\n$23\r\nget-master-addr-by-name\r\n"
        "$8\r\nmymaster\r\n");
    say(&fakes[0], "*2\r\n$8\r\n10.0.0.9\r\n$4\r\n6");
    testloop_turns(&t, 3);
    say(&fakes[0], "379\r\n");
    testloop_until(&t, found.told);
    assert_int_equal(found.err, 0);
    assert_string_equal(found.where, "10.0.0.9:6379");
}

static void logs_in_where_a_password_is_given(void **state)
{
    struct sentinel_conf conf = conf_of_two();

    conf.password = "p";
    sentinel = sentinel_open(turn, &conf);
    ask();
    expect(&fakes[0], "*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n*3\r\n$8\r\nSENTINEL");
    say(&fakes[0], "+OK\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    testloop_until(&t, found.told);
    assert_string_equal(found.where, "a:1");

    ask();
    expect(&fakes[0], "AUTH");
    say(&fakes[0], "-WRONGPASS no\r\n");
    expect(&fakes[1], "AUTH");
    say(&fakes[1], "-WRONGPASS neither\r\n");
    testloop_until(&t, found.told);
    assert_int_equal(found.err, -EACCES);
    assert_non_null(strstr(found.why, "WRONGPASS neither"));
}

static void passes_over_those_of_no_use_and_begins_with_the_last(void **state)
{
    ask();
    expect(&fakes[0], "mymaster");
    say(&fakes[0], "*-1\r\n"); /* it knows no such master */
    expect(&fakes[1], "mymaster");
    say(&fakes[1], "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    testloop_until(&t, found.told);
    assert_int_equal(found.err, 0);

    ask();
    expect(&fakes[1], "mymaster");
    hang_up(&fakes[1]);
    stop_listening(&fakes[1]);
    expect(&fakes[0], "mymaster");
    say(&fakes[0], "*2\r\n$1\r\nb\r\n$1\r\n2\r\n");
    testloop_until(&t, found.told);
    assert_string_equal(found.where, "b:2");
}

static void tells_that_silent_ones_did_not_answer_in_time(void **state)
{
    struct sentinel_conf conf = conf_of_two();

    conf.try_ms = 20;
    sentinel = sentinel_open(turn, &conf);
    ask();
    testloop_until(&t, found.told);
    assert_int_equal(found.err, -ETIMEDOUT);
    assert_non_null(strstr(found.why, "no answer in time"));
}

static void says_why_when_none_is_of_use(void **state)
{
    static const struct {
        const char *answer, *why;
        int err;
    } answers[] = {
        {"*-1\r\n", "it knows no master 'mymaster'", -ENOENT},
        {"-ERR unknown command\r\n", "ERR unknown command", -EACCES},
        {"*2\r\n$1\r\na\r\n$1\r\n0\r\n", "its answer has no address", -EPROTO},
        {"*2\r\n$1\r\na\r\n$5\r\n65536\r\n", "no address", -EPROTO},
        {"*1\r\n$1\r\na\r\n", "no address", -EPROTO},
        {"+OK\r\n", "no address", -EPROTO},
        {"HTTP/1.1 400\r\n", "it is no Redis sentinel", -EPROTO},
    };

    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        ask();
        expect(&fakes[0], "mymaster");
        say(&fakes[0], answers[i].answer);
        expect(&fakes[1], "mymaster");
        say(&fakes[1], answers[i].answer);
        testloop_until(&t, found.told);
        assert_int_equal(found.err, answers[i].err);
        assert_non_null(strstr(found.why, answers[i].why));
    }
}

static void tells_nobody_when_the_question_was_given_up(void **state)
{
    ask();
    expect(&fakes[0], "mymaster");
    sentinel_cancel(sentinel);
    testloop_turns(&t, 3);
    assert_int_equal(found.told, 0);

    ask(); /* another one gets its answer */
    expect(&fakes[0], "mymaster");
    say(&fakes[0], "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    testloop_until(&t, found.told);
    assert_string_equal(found.where, "a:1");
}

/* ---- a connection to the master ---- */

static int replies, reply_err;

static void on_reply(
    int err, const struct redisvalue *v, size_t count, void *arg)
{
    replies++;
    reply_err = err;
}

static void call(void)
{
    struct buf commands = {0};
    struct redis_request request = {.commands = &commands,
        .count = 1,
        .timeout_ms = 15000,
        .done = on_reply};
    struct redis_call *unused;

    if (!redis) {
        struct sentinel_conf sentinels = conf_of_two();
        struct redis_conf conf = {.sentinels = &sentinels};

        redis = redis_open(turn, &conf);
    }
    replies = 0;
    rediscommand_begin(&commands, 1);
    rediscommand_word(&commands, "INCR", 4);
    assert_int_equal(redis_send(redis, &request, &unused), 0);
    buf_fini(&commands);
}

static void name_server(struct fake *sentinel_fake)
{
    char port[16], answer[64];

    snprintf(port, sizeof(port), "%u", fakes[2].port);
    snprintf(answer, sizeof(answer), "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n",
        strlen(port), port);
    expect(sentinel_fake, "mymaster");
    say(sentinel_fake, answer);
}

static void connects_to_the_master_and_asks_anew_when_it_is_none(void **state)
{
    static struct clock clock;

    t.loop.data = &clock;
    call();
    name_server(&fakes[0]);
    expect(&fakes[2], "ROLE");
    assert_false(hears(&fakes[2], "INCR"));
    say(&fakes[2], "*1\r\n$5\r\nslave\r\n"); /* the sentinel knew it late */
    testloop_until(&t, replies);
    assert_int_equal(reply_err, -EROFS);
    assert_non_null(strstr(redis_error(redis), "it is not the master"));

    clock.now += REDIS_RETRY_MS;
    call();
    name_server(&fakes[0]);
    expect(&fakes[2], "ROLE");
    say(&fakes[2], "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    testloop_until(&t, hears(&fakes[2], "INCR"));
    say(&fakes[2],
        "-READONLY You can't write against a read only replica.\r\n");
    testloop_until(&t, replies);

    call();
    name_server(&fakes[0]); /* it is asked again */
    expect(&fakes[2], "ROLE");
    say(&fakes[2], "*1\r\n$6\r\nmaster\r\n");
    testloop_until(&t, hears(&fakes[2], "INCR"));
    say(&fakes[2], ":1\r\n");
    testloop_until(&t, replies);
    assert_int_equal(reply_err, 0);
}

static void fails_calls_when_no_sentinel_is_there(void **state)
{
    stop_listening(&fakes[0]);
    stop_listening(&fakes[1]);
    call();
    testloop_until(&t, replies);
    assert_int_equal(reply_err, -ECONNREFUSED);
    assert_non_null(
        strstr(redis_error(redis), "redis mymaster: sentinel 127."));
}

static void may_be_closed_while_sentinels_are_asked(void **state)
{
    call();
    expect(&fakes[0], "mymaster");
    redis_close(redis);
    redis = NULL;
    testloop_turns(&t, 3);
    assert_int_equal(replies, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(asks_for_the_master_by_its_name),
        TEST(logs_in_where_a_password_is_given),
        TEST(passes_over_those_of_no_use_and_begins_with_the_last),
        TEST(tells_that_silent_ones_did_not_answer_in_time),
        TEST(says_why_when_none_is_of_use),
        TEST(tells_nobody_when_the_question_was_given_up),
        TEST(connects_to_the_master_and_asks_anew_when_it_is_none),
        TEST(fails_calls_when_no_sentinel_is_there),
        TEST(may_be_closed_while_sentinels_are_asked),
    };

    return cmocka_run_group_tests_name("upstream.sentinel", tests, NULL, NULL);
}
