/* numbers: which blocks there are, and that none comes twice. */
#include "fakeredis.h"

#include "engine/engine.h"
#include "engine/numbers.h"
#include "net/turn.h"

static struct testloop t;
static struct turn *turn;
static struct fakeredis server;
static struct line commands, pushes;
static struct engine *engine;
static struct engine_conf conf;
static struct numbers numbers;
static struct {
    unsigned times;
    uint32_t first, count;
} block;

static void on_block(uint32_t first, uint32_t count, void *arg)
{
    block.times++;
    block.first = first;
    block.count = count;
}

static void on_up(void *arg)
{
}

static int setup(void **state)
{
    struct engine_part part = {
        .ip = 0x0a000001, .port = 2900, .inbox = "me", .on_up = on_up};
    static char url[64];
    char err[ENGINE_ERROR_SIZE];

    testloop_open(&t);
    turn = turn_new(&t.loop);
    fakeredis_open(&server, &t);
    line_init(&commands, &server);
    line_init(&pushes, &server);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", server.port);
    conf = (struct engine_conf){.url = url,
        .name = "chat",
        .cell = "a",
        .run = "0123456789abcdef0123456789abcdef"};
    engine = engine_open(turn, &conf, &part, err);
    assert_non_null(engine);
    take(&commands);
    expect(&commands, "INFO");
    say_text(&commands, "redis_version:7.0.15\r\nrole:master\r\n");
    expect(&commands, "chat:gateway:10.0.0.1:2900");
    say(&commands, "$2\r\nOK\r\n");
    take(&pushes);
    expect(&pushes, "SUBSCRIBE");
    say_confirmed(&pushes, "subscribe", "chat:me");
    say_confirmed(&pushes, "subscribe", "chat:news");
    testloop_until(&t, engine_is_up(engine));
    expect(&commands, "chat:news");
    say(&commands, ":1\r\n");
    numbers = (struct numbers){.done = on_block};
    memset(&block, 0, sizeof(block));
    return 0;
}

static int teardown(void **state)
{
    engine_close(engine);
    line_fini(&commands);
    line_fini(&pushes);
    fakeredis_close(&server);
    turn_close(turn);
    testloop_close(&t);
    return 0;
}

/* What it asks for, and the reply. */
static void ask(const char *known, const char *reply)
{
    char text[128];
    unsigned times = block.times;

    numbers_ask(&numbers, engine);
    snprintf(text, sizeof(text),
        "chat:ids:10.0.0.1:2900\r\n$%zu\r\n%s\r\n$5\r\n65536\r\n"
        "$5\r\n32768\r\n",
        strlen(known), known);
    expect(&commands, text);
    say(&commands, reply);
    testloop_until(&t, block.times > times);
}

static void asks_for_what_is_behind_the_last_block(void **state)
{
    ask("0", ":65536\r\n");
    assert_int_equal(block.first, 1); /* there is no id 0 */
    assert_int_equal(block.count, NUMBERS_BLOCK - 1);
    ask("65536", ":131072\r\n");
    assert_int_equal(block.first, NUMBERS_BLOCK);
    assert_int_equal(block.count, NUMBERS_BLOCK);
    /* a gateway before this one had more */
    ask("131072", ":655360\r\n");
    assert_int_equal(block.first, 9 * NUMBERS_BLOCK);
    ask("655360", "-READONLY\r\n");
    assert_int_equal(block.first, 0);
    ask("655360", ":720896\r\n");
    assert_int_equal(block.first, 10 * NUMBERS_BLOCK);
}

static void goes_round_below_those_that_are_the_gateways_own(void **state)
{
    ask("0", ":2147483648\r\n");
    assert_int_equal(block.first, NUMBERS_END - NUMBERS_BLOCK);
    ask("2147483648", ":2147549184\r\n");
    assert_int_equal(block.first, 1);
}

static void asks_once_at_a_time(void **state)
{
    numbers_ask(&numbers, engine);
    ask("0", ":65536\r\n");
    testloop_turns(&t, 3);
    assert_int_equal(block.times, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(asks_for_what_is_behind_the_last_block),
        TEST(goes_round_below_those_that_are_the_gateways_own),
        TEST(asks_once_at_a_time),
    };

    return cmocka_run_group_tests_name("engine.numbers", tests, NULL, NULL);
}
