/* departures: questions to other cells, against a fake Redis. */
#include "../engine/fakeredis.h"

#include <errno.h>
#include <stdlib.h>

#include "net/turn.h"
#include "worker/departures.h"

#define RUN   "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define MANY  4096 /* gateways of the other cell */

static struct testloop t;
static struct turn *turn;
static struct fakeredis server;
static struct line commands, pushes;
static struct engine_conf conf;
static char url[64];
static struct departures *d;
static struct queries queries;

/* Gateways are 240.0.X.Y:2900. */
static struct gateways_address address(uint32_t i)
{
    return (struct gateways_address){0xf0000000u + i, 2900};
}

static void say_members(uint32_t first, uint32_t count)
{
    struct buf out = {0};
    char text[32];

    buf_printf(&out, "*%u\r\n", count * 2);
    for (uint32_t i = first; i < first + count; i++) {
        snprintf(text, sizeof(text), "240.0.%u.%u:2900", i / 256, i % 256);
        buf_printf(
            &out, "$%zu\r\n%s\r\n$34\r\n" OTHER " b\r\n", strlen(text), text);
    }
    while (out.len > 0) {
        ssize_t n = write(commands.fd, out.data, out.len);

        if (n > 0)
            buf_consume(&out, (size_t)n);
        fakeredis_turn(&server, commands.fd);
    }
    buf_fini(&out);
}

static int setup(void **state)
{
    testloop_open(&t);
    turn = turn_new(&t.loop);
    fakeredis_open(&server, &t);
    line_init(&commands, &server);
    line_init(&pushes, &server);
    queries_init(&queries, turn);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", server.port);
    conf = (struct engine_conf){
        .url = url, .name = "chat", .cell = "a", .run = RUN};
    d = departures_open(turn, &conf, "me", NULL, NULL);
    take(&commands);
    introduce(&commands);
    expect(&commands, "chat:cell:a");
    say(&commands, "$2\r\nOK\r\n");
    expect(&commands, "chat:gateway:");
    say_members(0, MANY);
    take(&pushes);
    expect(&pushes, "SUBSCRIBE");
    say_confirmed(&pushes, "subscribe", "chat:by:me");
    say_confirmed(&pushes, "subscribe", "chat:news");
    while (departures_state(d) != DEPARTURES_UP)
        fakeredis_turn(&server, pushes.fd);
    assert_int_equal(departures_count(d), MANY);
    return 0;
}

static int teardown(void **state)
{
    queries_free_all(&queries);
    departures_close(d);
    line_fini(&commands);
    line_fini(&pushes);
    fakeredis_close(&server);
    turn_close(turn);
    testloop_close(&t);
    return 0;
}

/* What became of a question. */
struct asked {
    int ends;
    int err; /* of its first answer */
};

static void on_end(
    const struct queries_answer *answers, size_t count, void *arg)
{
    struct asked *asked = arg;

    asked->ends++;
    asked->err = answers[0].err;
}

static const struct frame question = {.cmd = FRAME_IS_ONLINE};

static struct query *ask_all(struct asked *asked)
{
    struct query *q = queries_new(&queries, MANY, 0, on_end, asked);

    departures_ask_all(d, &question, q, 0);
    queries_wait(q);
    return q;
}

static int ask_one(struct gateways_address at, queries_cb cb, void *arg)
{
    struct query *q = queries_new(&queries, 1, 0, cb, arg);
    int err = departures_ask(d, at, &question, q, 0);

    if (err < 0)
        queries_cancel(q);
    return err;
}

static void refuses_what_it_has_no_room_to_await(void **state)
{
    struct asked asked[DEPARTURES_QUESTIONS_MAX / MANY] = {{0}}, more = {0};

    for (size_t i = 0; i < DEPARTURES_QUESTIONS_MAX / MANY; i++)
        ask_all(&asked[i]);
    assert_int_equal(ask_one(address(7), on_end, &more), -ENOBUFS);
    ask_all(&more);
    assert_int_equal(more.ends, 0); /* not inside the call that asks */
    testloop_until(&t, more.ends == 1);
    assert_int_equal(more.err, -ENOBUFS);
    assert_int_equal(asked[0].ends, 0);
}

static void makes_room_where_nobody_waits_any_more(void **state)
{
    struct asked asked[DEPARTURES_QUESTIONS_MAX / MANY] = {{0}}, more = {0};
    struct query *last = NULL;

    for (size_t i = 0; i < DEPARTURES_QUESTIONS_MAX / MANY; i++)
        last = ask_all(&asked[i]);
    queries_cancel(last);
    assert_int_equal(ask_one(address(7), on_end, &more), 0);
    for (size_t i = 0; i < DEPARTURES_QUESTIONS_MAX / MANY; i++)
        assert_int_equal(asked[i].ends, 0);
}

static struct {
    int ends, err, asked, refused;
    struct asked more;
} retrying;

/* A script that asks anew, and more than there is room for. */
static void on_end_retry(
    const struct queries_answer *answers, size_t count, void *arg)
{
    retrying.ends++;
    retrying.err = answers[0].err;
    for (int i = 0; i < 2; i++) {
        int err = ask_one(address(MANY), on_end, &retrying.more);

        retrying.asked += err == 0;
        retrying.refused += err == -ENOBUFS;
    }
}

static void may_be_asked_anew_while_it_drops_what_cannot_be_answered(
    void **state)
{
    struct asked asked[DEPARTURES_QUESTIONS_MAX / MANY - 1] = {{0}};
    struct asked rest = {0};
    struct query *q = queries_new(&queries, MANY, 0, on_end, &rest);

    memset(&retrying, 0, sizeof(retrying));
    assert_int_equal(ask_one(address(0), on_end_retry, NULL), 0);
    for (size_t i = 0; i < DEPARTURES_QUESTIONS_MAX / MANY - 1; i++)
        ask_all(&asked[i]);
    for (size_t i = 0; i < MANY - 1; i++) /* of our own cell, perhaps */
        departures_expect(d, departures_number(d), address(0), q, i);
    assert_int_equal(ask_one(address(1), on_end, &retrying.more), -ENOBUFS);
    say(&pushes, "*3\r\n$7\r\nmessage\r\n$9\r\nchat:news\r\n$1\r\n?\r\n");
    expect(&commands, "chat:gateway:");
    hears(&commands, "");
    for (int i = 0; i < DEPARTURES_QUESTIONS_MAX / MANY; i++)
        say(&commands, ":1\r\n"); /* what was published before */
    say_members(MANY, 1);
    while (departures_count(d) != 1)
        fakeredis_turn(&server, commands.fd);
    assert_int_equal(retrying.ends, 1);
    assert_int_equal(retrying.err, -ECONNRESET);
    assert_int_equal(retrying.asked, 1);
    assert_int_equal(retrying.refused, 1);
    for (size_t i = 0; i < DEPARTURES_QUESTIONS_MAX / MANY - 1; i++)
        assert_int_equal(asked[i].ends, 1);
    assert_int_equal(rest.ends, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(refuses_what_it_has_no_room_to_await),
        TEST(makes_room_where_nobody_waits_any_more),
        TEST(may_be_asked_anew_while_it_drops_what_cannot_be_answered),
    };

    return cmocka_run_group_tests_name("worker.departures", tests, NULL, NULL);
}
