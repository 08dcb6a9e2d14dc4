/* directory: against a fake Redis that says exactly what a test wants. */
#include "fakeredis.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/directory.h"
#include "net/turn.h"

static struct testloop t;
static struct turn *turn;
static struct directory *d;
static struct redis *commands, *pushes;
static struct fakeredis server;
static struct line command_line, push_line;

static struct {
    int wholes;
    char fault[128];
} seen;

static void on_whole(void *arg)
{
    seen.wholes++;
}

static void on_fault(const char *why, void *arg)
{
    snprintf(seen.fault, sizeof(seen.fault), "%s", why);
    directory_end(d);
}

static void on_push(struct redisvalue *v, void *arg)
{
    const struct redisvalue *channel = &v->items[1];

    directory_confirm(d, channel->text, channel->len,
        strcmp(v->items[0].text, "subscribe") == 0);
    redisvalue_free(v);
}

static struct redis *open_redis(bool hears)
{
    struct redis_conf conf = {.host = "127.0.0.1",
        .port = server.port,
        .on_push = hears ? on_push : NULL};

    return redis_open(turn, &conf);
}

static void on_done(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

/* Which of the two connections comes first is known then. */
static void connect_line(struct redis *redis, struct line *l)
{
    struct buf ping = {0};
    struct redis_request request = {
        .commands = &ping, .timeout_ms = 60000, .done = on_done};
    struct redis_call *unused;

    buf_append_str(&ping, "PING\r\n");
    redis_send(redis, &request, &unused);
    buf_fini(&ping);
    take(l);
    expect(l, "PING\r\n");
}

static int setup(void **state)
{
    struct directory_conf conf = {.cluster = "chat",
        .address = "10.0.0.1:2900",
        .on_whole = on_whole,
        .on_fault = on_fault};

    testloop_open(&t);
    turn = turn_new(&t.loop);
    fakeredis_open(&server, &t);
    line_init(&command_line, &server);
    line_init(&push_line, &server);
    memset(&seen, 0, sizeof(seen));
    conf.turn = turn;
    conf.commands = commands = open_redis(false);
    pushes = open_redis(true);
    d = directory_new(&conf);
    connect_line(commands, &command_line);
    connect_line(pushes, &push_line);
    return 0;
}

static int teardown(void **state)
{
    redis_close(commands);
    redis_close(pushes);
    directory_free(d);
    line_fini(&command_line);
    line_fini(&push_line);
    fakeredis_close(&server);
    turn_close(turn);
    testloop_close(&t);
    return 0;
}

static void confirm(const char *how, const char *channel)
{
    say_confirmed(&push_line, how, channel);
}

static void add(const char *name)
{
    directory_add(d, ENGINE_UID, name, strlen(name));
}

static void drop(const char *name)
{
    directory_remove(d, ENGINE_UID, name, strlen(name));
}

/* Begin with that one name in it. */
static void begin_with(const char *name)
{
    add(name);
    directory_begin(d, pushes);
    expect(&command_line, "chat:alive:10.0.0.1:2900");
    expect(&push_line, name);
}

static void is_whole_when_names_are_heard_and_written(void **state)
{
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    confirm("subscribe", "chat:u:ann");
    expect(&command_line, "HSET\r\n$10\r\nchat:u:ann\r\n$13\r\n10.0.0.1:2900");
    testloop_turns(&t, 3);
    assert_int_equal(seen.wholes, 0);
    say(&command_line, ":1\r\n:1\r\n");
    testloop_until(&t, seen.wholes == 1);
    add("bob");
    expect(&push_line, "SUBSCRIBE\r\n$10\r\nchat:u:bob\r\n");
    testloop_turns(&t, 3);
    assert_int_equal(seen.wholes, 1);
}

static void is_whole_without_names_when_it_is_known_to_live(void **state)
{
    directory_begin(d, pushes);
    expect(&command_line, "chat:alive:10.0.0.1:2900");
    assert_int_equal(seen.wholes, 0);
    say(&command_line, "+OK\r\n");
    testloop_until(&t, seen.wholes == 1);
}

static void waits_for_no_name_that_is_gone(void **state)
{
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    drop("ann");
    testloop_until(&t, seen.wholes == 1);
    confirm("subscribe", "chat:u:ann");
    expect(&push_line, "UNSUBSCRIBE\r\n$10\r\nchat:u:ann\r\n");
    confirm("unsubscribe", "chat:u:ann");
    testloop_until(&t, directory_count(d) == 0);
}

static void erases_what_it_wrote(void **state)
{
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    confirm("subscribe", "chat:u:ann");
    expect(&command_line, "HSET");
    say(&command_line, ":1\r\n:1\r\n");
    testloop_until(&t, seen.wholes == 1);
    drop("ann");
    expect(&command_line, "HDEL\r\n$10\r\nchat:u:ann\r\n$13\r\n10.0.0.1:2900");
    expect(&push_line, "UNSUBSCRIBE");
    say(&command_line, ":1\r\n");
    confirm("unsubscribe", "chat:u:ann");
    testloop_until(&t, directory_count(d) == 0);
}

/* In whichever way a name comes and goes, one command of each side is under
 * way. */
static void does_what_is_wanted_in_the_end(void **state)
{
    begin_with("ann");
    for (int i = 0; i < 10; i++) {
        drop("ann");
        add("ann");
    }
    drop("ann");
    testloop_turns(&t, 3);
    assert_false(hears(&push_line, "SUBSCRIBE"));
    confirm("subscribe", "chat:u:ann");
    expect(&push_line, "UNSUBSCRIBE\r\n$10\r\nchat:u:ann\r\n");
    add("ann");
    testloop_turns(&t, 3);
    assert_false(hears(&push_line, "SUBSCRIBE"));
    confirm("unsubscribe", "chat:u:ann");
    expect(&push_line, "*2\r\n$9\r\nSUBSCRIBE\r\n$10\r\nchat:u:ann\r\n");
    assert_int_equal(directory_count(d), 1);
}

static void begins_anew_whatever_was_under_way(void **state)
{
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    confirm("subscribe", "chat:u:ann");
    expect(&command_line, "HSET");
    directory_end(d);
    drop("ann");
    assert_int_equal(directory_count(d), 0);
    add("bob");
    directory_begin(d, pushes);
    expect(&command_line, "chat:alive:10.0.0.1:2900");
    expect(&push_line, "chat:u:bob");
    say(&command_line, ":1\r\n:1\r\n+OK\r\n"); /* the old ones, and the new */
    confirm("subscribe", "chat:u:bob");
    expect(&command_line, "chat:u:bob");
    assert_int_equal(seen.wholes, 0);
    say(&command_line, ":1\r\n:1\r\n");
    testloop_until(&t, seen.wholes == 1);
    assert_string_equal(seen.fault, "");
}

static size_t count(const struct line *l, const char *text)
{
    const char *p = (const char *)l->heard.data;
    size_t n = 0;

    while ((p = strstr(p, text))) {
        n++;
        p += strlen(text);
    }
    return n;
}

static void tells_no_more_than_its_window_at_once(void **state)
{
    char name[32], channel[64];

    for (int i = 0; i < DIRECTORY_WINDOW + 1; i++) {
        snprintf(name, sizeof(name), "n%06d", i);
        add(name);
    }
    directory_begin(d, pushes);
    snprintf(name, sizeof(name), "n%06d\r\n", DIRECTORY_WINDOW - 1);
    testloop_spin(&t, hears(&push_line, name));
    testloop_turns(&t, 3);
    hears(&push_line, "");
    assert_int_equal(count(&push_line, "chat:u:n"), DIRECTORY_WINDOW);
    assert_int_equal(
        count(&push_line, "SUBSCRIBE"), DIRECTORY_WINDOW / DIRECTORY_BATCH);
    buf_clear(&push_line.heard);
    /* a field takes the place of a channel that is confirmed */
    expect(&command_line, "chat:alive:10.0.0.1:2900");
    say(&command_line, "+OK\r\n");
    snprintf(channel, sizeof(channel), "chat:u:n%06d", 0);
    confirm("subscribe", channel);
    expect(&push_line, "chat:u:n");
}

static void says_what_redis_refuses(void **state)
{
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    confirm("subscribe", "chat:u:ann");
    expect(&command_line, "HSET");
    say(&command_line, "-NOPERM no\r\n:1\r\n");
    testloop_until(&t, *seen.fault);
    assert_string_equal(seen.fault, "NOPERM no");
    assert_int_equal(seen.wholes, 0);
}

static void finds_that_redis_has_forgotten_it(void **state)
{
    directory_begin(d, pushes);
    expect(&command_line, "chat:alive:10.0.0.1:2900");
    say(&command_line, "+OK\r\n");
    testloop_until(&t, seen.wholes == 1);
    directory_refresh(d);
    expect(&command_line, "EXPIRE\r\n$24\r\nchat:alive:10.0.0.1:2900\r\n");
    say(&command_line, ":1\r\n");
    testloop_turns(&t, 3);
    assert_string_equal(seen.fault, "");
    directory_refresh(d);
    expect(&command_line, "EXPIRE");
    say(&command_line, ":0\r\n");
    testloop_until(&t, *seen.fault);
    assert_non_null(strstr(seen.fault, "gone"));
}

static void writes_its_names_again_from_time_to_time(void **state)
{
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    confirm("subscribe", "chat:u:ann");
    expect(&command_line, "HSET");
    say(&command_line, ":1\r\n:1\r\n");
    testloop_until(&t, seen.wholes == 1);
    directory_refresh(d);
    expect(&command_line, "HSET\r\n$10\r\nchat:u:ann\r\n");
}

static struct {
    struct engine_wait wait;
    int held, dropped;
} waiter;

static void on_done_waiting(struct engine_wait *w, bool held)
{
    waiter.held += held;
    waiter.dropped += !held;
}

static int wait_for(const char *name)
{
    waiter.wait.done = on_done_waiting;
    return directory_wait(d, ENGINE_UID, name, strlen(name), &waiter.wait);
}

static void tells_when_a_name_is_held(void **state)
{
    memset(&waiter, 0, sizeof(waiter));
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    assert_int_equal(wait_for("bob"), -ENOENT);
    assert_int_equal(wait_for("ann"), 0);
    confirm("subscribe", "chat:u:ann");
    expect(&command_line, "HSET");
    assert_int_equal(waiter.held, 0);
    say(&command_line, ":1\r\n:1\r\n");
    testloop_until(&t, waiter.held == 1);
    assert_int_equal(wait_for("ann"), 1);
    directory_end(d); /* what held does so no more */
    assert_int_equal(wait_for("ann"), 0);
    drop("ann");
    assert_int_equal(waiter.dropped, 1);
    assert_int_equal(wait_for("ann"), -ENOENT);
}

static void erases_what_was_about_to_be_written_again(void **state)
{
    begin_with("ann");
    say(&command_line, "+OK\r\n");
    confirm("subscribe", "chat:u:ann");
    expect(&command_line, "HSET");
    say(&command_line, ":1\r\n:1\r\n");
    testloop_until(&t, seen.wholes == 1);
    directory_refresh(d);
    drop("ann"); /* in the same turn */
    expect(&command_line, "HDEL\r\n$10\r\nchat:u:ann\r\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(is_whole_when_names_are_heard_and_written),
        TEST(is_whole_without_names_when_it_is_known_to_live),
        TEST(waits_for_no_name_that_is_gone),
        TEST(erases_what_it_wrote),
        TEST(does_what_is_wanted_in_the_end),
        TEST(begins_anew_whatever_was_under_way),
        TEST(tells_no_more_than_its_window_at_once),
        TEST(says_what_redis_refuses),
        TEST(finds_that_redis_has_forgotten_it),
        TEST(tells_when_a_name_is_held),
        TEST(erases_what_was_about_to_be_written_again),
        TEST(writes_its_names_again_from_time_to_time),
    };

    return cmocka_run_group_tests_name("engine.directory", tests, NULL, NULL);
}
