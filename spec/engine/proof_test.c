/* proof: until when an engine was there, with and without a sentinel that has
 * another master. */
#include "fakeredis.h"

#include "engine/proof.h"
#include "net/turn.h"
#include "upstream/redis.h"

#define HERE "127.0.0.1"
#define PORT 6379

static struct testloop t;
static struct turn *turn;
static struct fakeredis sentinel;
static struct line asked;
static struct server server;
static struct proof proof;
static struct redis *commands;
static char other[ENGINE_ERROR_SIZE];

static void on_other(const char *why, void *arg)
{
    snprintf(other, sizeof(other), "%s", why);
}

static void set_up(bool with_sentinel)
{
    struct redis_conf redis = {.host = HERE, .port = PORT};
    struct proof_conf conf = {.server = &server, .on_other = on_other};
    struct engine_conf cluster = {0};
    char url[64], err[ENGINE_ERROR_SIZE];

    testloop_open(&t);
    turn = turn_new(&t.loop);
    fakeredis_open(&sentinel, &t);
    line_init(&asked, &sentinel);
    snprintf(url, sizeof(url),
        with_sentinel ? "redis+sentinel://127.0.0.1:%u/m"
                      : "redis://127.0.0.1:%u",
        sentinel.port);
    cluster.url = url;
    assert_true(server_init(&server, &cluster, err));
    conf.turn = turn;
    proof_init(&proof, &conf);
    commands = redis_open(turn, &redis);
    *other = '\0';
}

static void tear_down(void)
{
    proof_end(&proof);
    proof_fini(&proof);
    redis_close(commands);
    server_fini(&server);
    line_fini(&asked);
    fakeredis_close(&sentinel);
    turn_close(turn);
    testloop_close(&t);
}

static void come_back(uint64_t published_at)
{
    char probe[PROOF_SIZE];

    proof_probe(probe, published_at);
    assert_true(proof_take(&proof, probe, strlen(probe)));
}

/* What the sentinel says to the question of that time. */
static void answer(uint64_t at, const char *says)
{
    uint64_t before = proof.agreed_at;

    proof_ask(&proof, commands, at);
    take(&asked);
    expect(&asked, "get-master-addr-by-name\r\n$1\r\nm\r\n");
    say(&asked, says);
    testloop_until(&t, !proof.server);
    assert_true(*other || proof.agreed_at == at || before == at);
}

static void is_until_the_last_probe_that_came_back_was_published(void **state)
{
    set_up(false);
    proof_begin(&proof, 10000);
    assert_int_equal(proof_until(&proof, commands), 10000);
    come_back(15000);
    assert_int_equal(proof_until(&proof, NULL), 15000);
    assert_int_equal(proof_until(&proof, commands), 15000);
    assert_false(proof_is_old(&proof, 29999, 15000));
    assert_true(proof_is_old(&proof, 30000, 15000));
    /* one from before it was there proves nothing */
    proof_begin(&proof, 40000);
    come_back(20000);
    assert_int_equal(proof_until(&proof, commands), 40000);
    tear_down();
}

static void takes_nothing_else_for_a_probe(void **state)
{
    set_up(false);
    assert_false(proof_take(&proof, "?", 1));
    assert_false(proof_take(&proof, "", 0));
    assert_false(proof_take(&proof, "\x01hello", 6));
    assert_false(proof_take(&proof, "?123456789012345678901234567890", 31));
    tear_down();
}

static void tells_of_another_master(void **state)
{
    set_up(true);
    proof_begin(&proof, 10000);
    answer(15000, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n");
    assert_string_equal(other, "");
    answer(20000, "*2\r\n$8\r\n10.0.0.9\r\n$4\r\n6379\r\n");
    assert_string_equal(
        other, "the sentinels have another master, 10.0.0.9:6379");
    tear_down();
}

static void is_until_sentinels_agreed_where_the_master_was_replaced(
    void **state)
{
    struct redis_conf there = {.host = "10.0.0.9", .port = PORT};
    struct redis *moved;

    set_up(true);
    moved = redis_open(turn, &there);
    proof_begin(&proof, 10000);
    come_back(16000);
    answer(16000, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n");
    /* back at the same server: nobody took its place */
    assert_int_equal(proof_until(&proof, commands), 16000);
    answer(21000, "*2\r\n$8\r\n10.0.0.9\r\n$4\r\n6379\r\n");
    come_back(21000);
    assert_int_equal(proof_until(&proof, moved), 16000 - PROOF_LAG_MS);
    redis_close(moved);
    tear_down();
}

static void stays_where_no_sentinel_answers(void **state)
{
    set_up(true);
    proof_begin(&proof, 10000);
    answer(15000, "-ERR busy\r\n");
    assert_string_equal(other, "");
    tear_down();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_until_the_last_probe_that_came_back_was_published),
        cmocka_unit_test(takes_nothing_else_for_a_probe),
        cmocka_unit_test(tells_of_another_master),
        cmocka_unit_test(
            is_until_sentinels_agreed_where_the_master_was_replaced),
        cmocka_unit_test(stays_where_no_sentinel_answers),
    };

    return cmocka_run_group_tests_name("engine.proof", tests, NULL, NULL);
}
