/* engine: against a fake Redis that says exactly what a test wants. */
#include "fakeredis.h"

#include <errno.h>

#include "engine/engine.h"
#include "net/turn.h"

#define RUN   "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

static struct testloop t;
static struct turn *turn;
static struct engine *engine;
static struct engine_conf conf;
static char url[64];
static struct fakeredis server;
static struct line commands, pushes; /* the two connections that it makes */

static struct {
    int ups;
    char message[64];
    bool for_all;
    int messages;
    size_t members;
    struct engine_member member;
} seen;

static void on_message(const uint8_t *data, size_t len, bool for_all, void *arg)
{
    seen.messages++;
    seen.for_all = for_all;
    snprintf(seen.message, sizeof(seen.message), "%.*s", (int)len,
        (const char *)data);
}

static void on_members(
    const struct engine_member *list, size_t count, void *arg)
{
    seen.members = count;
    if (count > 0)
        seen.member = list[0];
}

static void on_up(void *arg)
{
    seen.ups++;
}

static int setup(void **state)
{
    testloop_open(&t);
    turn = turn_new(&t.loop);
    fakeredis_open(&server, &t);
    line_init(&commands, &server);
    line_init(&pushes, &server);
    memset(&seen, 0, sizeof(seen));
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", server.port);
    conf = (struct engine_conf){
        .url = url, .name = "chat", .cell = "a", .run = RUN};
    engine = NULL;
    return 0;
}

static int teardown(void **state)
{
    if (engine)
        engine_close(engine);
    line_fini(&commands);
    line_fini(&pushes);
    fakeredis_close(&server);
    turn_close(turn);
    testloop_close(&t);
    return 0;
}

static void open_engine(struct engine_part part)
{
    char err[ENGINE_ERROR_SIZE];

    part.inbox = "me";
    part.on_message = on_message;
    part.on_members = on_members;
    part.on_up = on_up;
    engine = engine_open(turn, &conf, &part, err);
    assert_non_null(engine);
}

static void confirm(const char *channel)
{
    say_confirmed(&pushes, "subscribe", channel);
}

static void open_gateway(void)
{
    open_engine((struct engine_part){
        .ip = 0x0a000001, .port = 2900, .hears_all = true});
}

/* Its way up, until its names are told. */
static void bring_up_to_names(void)
{
    take(&commands);
    introduce(&commands);
    expect(&commands, "$1\r\n6\r\n$13\r\nchat:gateways\r\n$10\r\nchat:cells\r\n"
                      "$11\r\nchat:cell:a\r\n$13\r\nchat:holder:a\r\n"
                      "$44\r\nchat:former:" RUN "\r\n"
                      "$26\r\nchat:gateway:10.0.0.1:2900\r\n");
    say(&commands, "$2\r\nOK\r\n");
    take(&pushes);
    expect(&pushes, "SUBSCRIBE\r\n$7\r\nchat:me\r\n$9\r\nchat:news\r\n"
                    "$8\r\nchat:all\r\n");
    confirm("chat:me");
    confirm("chat:news");
    testloop_turns(&t, 3);
    assert_false(engine_is_up(engine));
    confirm("chat:all");
    expect(&commands, "chat:alive:10.0.0.1:2900");
    assert_false(engine_is_up(engine));
    say(&commands, "+OK\r\n");
}

static void bring_up(void)
{
    open_gateway();
    bring_up_to_names();
    testloop_until(&t, engine_is_up(engine));
    assert_int_equal(seen.ups, 1);
    expect(&commands, "$7\r\nPUBLISH\r\n$9\r\nchat:news\r\n");
    say(&commands, ":1\r\n");
}

static void is_there_when_claims_hold_and_channels_are_confirmed(void **state)
{
    struct engine_counts counts;

    bring_up();
    say(&pushes, "*3\r\n$7\r\nmessage\r\n$8\r\nchat:all\r\n$5\r\nhello\r\n");
    testloop_until(&t, seen.messages == 1);
    assert_string_equal(seen.message, "hello");
    assert_true(seen.for_all);
    say(&pushes, "*3\r\n$7\r\nmessage\r\n$7\r\nchat:me\r\n$3\r\nyou\r\n");
    testloop_until(&t, seen.messages == 2);
    assert_false(seen.for_all);
    engine_count(engine, &counts);
    assert_true(counts.up);
    assert_int_equal(counts.gaps, 0);
}

static void publishes_and_counts_what_nobody_heard(void **state)
{
    struct engine_counts counts;

    bring_up();
    assert_int_equal(engine_publish(engine, NULL, "x", 1), 0);
    assert_int_equal(engine_publish(engine, "you", "yy", 2), 0);
    expect(&commands, "chat:all\r\n$1\r\nx\r\n*3\r\n$7\r\nPUBLISH\r\n"
                      "$8\r\nchat:you\r\n$2\r\nyy\r\n");
    say(&commands, ":2\r\n:0\r\n");
    testloop_until(&t, (engine_count(engine, &counts), counts.lost == 1));
    assert_int_equal(counts.published, 2);
}

static struct {
    int calls, err;
    char text[64];
} taken;

static void on_taken(int err, const void *data, size_t len, void *arg)
{
    taken.calls++;
    taken.err = err;
    snprintf(taken.text, sizeof(taken.text), "%.*s", (int)len,
        len > 0 ? (const char *)data : "");
}

static void stores_what_is_large_and_takes_it_once(void **state)
{
    memset(&taken, 0, sizeof(taken));
    open_engine((struct engine_part){.watches = true});
    assert_int_equal(engine_store(engine, "w", "large", 5), -ENOTCONN);
    assert_int_equal(engine_take(engine, "w", on_taken, NULL), -ENOTCONN);
    engine_close(engine);
    bring_up();
    assert_int_equal(engine_store(engine, "w", "large", 5), 0);
    expect(&commands, "$3\r\nSET\r\n$13\r\nchat:stored:w\r\n$5\r\nlarge\r\n"
                      "$2\r\nEX\r\n$2\r\n10\r\n");
    say(&commands, "+OK\r\n");
    for (int i = 0; i < 3; i++)
        assert_int_equal(engine_take(engine, "w", on_taken, NULL), 0);
    expect(&commands, "redis.call('DEL', KEYS[1])");
    assert_int_equal(taken.calls, 0);
    say(&commands, "$5\r\nlarge\r\n");
    testloop_until(&t, taken.calls == 1);
    assert_string_equal(taken.text, "large");
    assert_int_equal(taken.err, 0);
    say(&commands, "$-1\r\n-NOPERM no\r\n");
    testloop_until(&t, taken.calls == 3);
    assert_int_equal(taken.err, -EPROTO);
    /* one that is under way when the engine closes tells nobody */
    assert_int_equal(engine_take(engine, "w", on_taken, NULL), 0);
}

static void is_away_until_it_comes_back_when_a_connection_is_lost(void **state)
{
    struct engine_counts counts;

    bring_up();
    hang_up(&pushes);
    testloop_until(&t, !engine_is_up(engine));
    assert_int_equal(engine_publish(engine, NULL, "x", 1), -ENOTCONN);
    introduce(&commands);
    expect(&commands, "chat:cell:a");
    say(&commands, "$2\r\nOK\r\n");
    take(&pushes);
    expect(&pushes, "chat:all");
    confirm("chat:me");
    confirm("chat:news");
    confirm("chat:all");
    expect(&commands, "chat:alive:10.0.0.1:2900");
    say(&commands, "+OK\r\n");
    testloop_until(&t, engine_is_up(engine));
    assert_int_equal(seen.ups, 2);
    engine_count(engine, &counts);
    assert_int_equal(counts.gaps, 1);
    assert_int_equal(counts.lost, 1);
}

/* Names that take longer than ENGINE_EXPIRY to tell must not cost the claims:
 * another system could take the cell's name. */
static void holds_its_claims_while_its_names_are_told(void **state)
{
    open_gateway();
    engine_add_name(engine, ENGINE_UID, "ann", 3);
    engine_add_name(engine, ENGINE_UID, "bob", 3);
    bring_up_to_names();
    expect(&pushes, "chat:u:bob");
    confirm("chat:u:ann");
    expect(&commands, "HSET");
    say(&commands, ":1\r\n:1\r\n");
    while (!hears(&commands, "chat:holder:a")) /* ENGINE_REFRESH later */
        fakeredis_turn(&server, commands.fd);
    assert_true(hears(&commands, "EXPIRE\r\n$24\r\nchat:alive:10.0.0.1:2900"));
    buf_clear(&commands.heard);
    assert_false(engine_is_up(engine));
    say(&commands, ":1\r\n$2\r\nOK\r\n:1\r\n:1\r\n"); /* ann, once more */
    confirm("chat:u:bob");
    expect(&commands, "HSET\r\n$10\r\nchat:u:bob\r\n");
    say(&commands, ":1\r\n:1\r\n");
    testloop_until(&t, engine_is_up(engine));
}

static void tells_at_once_that_its_cell_is_leaving(void **state)
{
    bring_up();
    engine_tell_leaving(engine);
    expect(&commands, "gateway 10.0.0.1:2900 0 leaving\r\n");
    say(&commands, "$2\r\nOK\r\n");
    assert_true(engine_is_up(engine));
}

static void does_not_join_where_somebody_else_has_its_claim(void **state)
{
    open_engine((struct engine_part){
        .ip = 0x0a000001, .port = 2900, .hears_all = true});
    take(&commands);
    introduce(&commands);
    expect(&commands, "chat:gateway:10.0.0.1:2900");
    say_text(&commands, OTHER " b\n1024 65536");
    introduce(&commands); /* tries again */
    expect(&commands, "chat:gateway:10.0.0.1:2900");
    assert_false(engine_is_up(engine));
    say(&commands, "-NOPERM no\r\n");
    introduce(&commands);
    expect(&commands, "chat:gateway:10.0.0.1:2900");
    assert_int_equal(seen.ups, 0);
}

static void tells_with_its_claim_what_a_gateway_allows(void **state)
{
    open_engine((struct engine_part){.ip = 0x0a000001,
        .port = 2900,
        .limits = {1024, 65536},
        .hears_all = true});
    take(&commands);
    introduce(&commands);
    expect(&commands, "chat:gone:" RUN "\r\n$10\r\n1024 65536\r\n");
}

static void leaves_for_good_when_its_name_is_taken(void **state)
{
    struct engine_counts counts;

    bring_up();
    hang_up(&pushes);
    introduce(&commands);
    expect(&commands, "chat:former:" RUN);
    say_text(&commands, "FORMER");
    testloop_until(&t, (engine_count(engine, &counts), counts.left));
    assert_false(engine_is_up(engine));
}

static void joins_no_server_that_is_too_old_or_a_replica(void **state)
{
    open_engine((struct engine_part){.watches = true});
    take(&commands);
    expect(&commands, "INFO");
    say_text(&commands, "redis_version:5.0.7\r\nrole:master\r\n");
    expect(&commands, "INFO"); /* no claim before */
    say_text(&commands, "redis_version:7.0.15\r\nrole:slave\r\n");
    expect(&commands, "INFO");
    say(&commands, "-NOPERM this user may not\r\n"); /* then it is tried */
    expect(&commands, "chat:cell:a");
}

static void tells_members_at_first_and_at_news(void **state)
{
    open_engine((struct engine_part){.watches = true});
    take(&commands);
    introduce(&commands);
    expect(&commands, "chat:cell:a");
    say(&commands, "$2\r\nOK\r\n");
    expect(&commands, "$13\r\nchat:gateways\r\n$13\r\nchat:gateway:\r\n");
    say(&commands, "*4\r\n$13\r\n10.0.0.1:2900\r\n$34\r\n" OTHER
                   " b\r\n$3\r\nbad\r\n$1\r\nx\r\n");
    testloop_until(&t, seen.members == 1);
    assert_int_equal(seen.member.ip, 0x0a000001);
    assert_int_equal(seen.member.port, 2900);
    assert_int_equal(seen.member.limits.groups, 0);
    assert_string_equal(seen.member.cell, "b");
    assert_string_equal(seen.member.run, OTHER);
    take(&pushes);
    expect(&pushes, "SUBSCRIBE\r\n$7\r\nchat:me\r\n$9\r\nchat:news\r\n");
    confirm("chat:me");
    confirm("chat:news");
    testloop_until(&t, engine_is_up(engine));
    say(&pushes, "*3\r\n$7\r\nmessage\r\n$9\r\nchat:news\r\n$1\r\n?\r\n");
    expect(&commands, "chat:gateway:");
    say(&commands,
        "*2\r\n$13\r\n10.0.0.1:2900\r\n$45\r\n" OTHER " b\n1024 65536\r\n");
    testloop_until(&t, seen.member.limits.groups == 1024);
    assert_int_equal(seen.member.limits.session, 65536);
    assert_string_equal(seen.member.cell, "b");
    say(&pushes, "*3\r\n$7\r\nmessage\r\n$9\r\nchat:news\r\n$1\r\n?\r\n");
    expect(&commands, "chat:gateway:");
    say(&commands, "*0\r\n");
    testloop_until(&t, seen.members == 0);
}

static void gives_up_its_claims_at_the_end(void **state)
{
    bring_up();
    engine_close(engine);
    engine = NULL;
    expect(&commands, "redis.call('DEL', gateway)");
}

static void says_what_is_no_address(void **state)
{
    char err[ENGINE_ERROR_SIZE];

    assert_null(engine_check("rediss://u:p@h:1/2", err));
    assert_non_null(strstr(engine_check("nats://h", err), "redis://"));
    assert_non_null(strstr(
        engine_check("redis+cluster://a:7000,b", err), "cannot join cells"));
    conf.url = "rediss://h";
    conf.ca_file = "/no/such.pem";
    assert_null(
        engine_open(turn, &conf, &(struct engine_part){.inbox = "me"}, err));
    assert_non_null(strstr(err, "ca_file"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(is_there_when_claims_hold_and_channels_are_confirmed),
        TEST(publishes_and_counts_what_nobody_heard),
        TEST(stores_what_is_large_and_takes_it_once),
        TEST(is_away_until_it_comes_back_when_a_connection_is_lost),
        TEST(holds_its_claims_while_its_names_are_told),
        TEST(tells_at_once_that_its_cell_is_leaving),
        TEST(does_not_join_where_somebody_else_has_its_claim),
        TEST(tells_with_its_claim_what_a_gateway_allows),
        TEST(leaves_for_good_when_its_name_is_taken),
        TEST(joins_no_server_that_is_too_old_or_a_replica),
        TEST(tells_members_at_first_and_at_news),
        TEST(gives_up_its_claims_at_the_end),
        TEST(says_what_is_no_address),
    };

    return cmocka_run_group_tests_name("engine.engine", tests, NULL, NULL);
}
