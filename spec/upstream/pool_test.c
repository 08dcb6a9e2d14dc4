#include "../net/testloop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/pool.h"

#define CONNS_MAX 16

/* What the pool opened; they say what became of them when a test tells them. */
static struct pool_conn conns[CONNS_MAX];
static size_t nopened;
static size_t nclosed;
static struct testloop t;
static struct pool *pool;
static struct tally tally;

struct waiter {
    struct pool_wait wait;
    struct pool_conn *conn;
    int err;
    int told; /* how often done() ran */
};

static void on_done(struct pool_wait *wait, struct pool_conn *conn, int err)
{
    struct waiter *w = LIST_ENTRY(wait, struct waiter, wait);

    w->conn = conn;
    w->err = err;
    w->told++;
}

static struct pool_conn *open_conn(void *arg)
{
    assert_true(nopened < CONNS_MAX);
    return &conns[nopened++];
}

static void close_conn(struct pool_conn *conn)
{
    nclosed++;
}

static const struct pool_ops ops = {open_conn, close_conn};

static void open_pool(size_t size, size_t queue_max, uint64_t idle_ms)
{
    struct pool_conf conf = {.size = size,
        .queue_max = queue_max,
        .idle_ms = idle_ms,
        .tally = &tally};

    nopened = nclosed = 0;
    tally = (struct tally){0};
    pool = pool_new(&t.loop, &conf, &ops, NULL);
}

/* Take a connection, or begin to wait: then NULL. */
static struct pool_conn *take(struct waiter *w, uint64_t ms, int expected)
{
    struct pool_conn *conn;

    memset(w, 0, sizeof(*w));
    w->wait.done = on_done;
    uv_update_time(&t.loop);
    assert_int_equal(expected, pool_take(pool, &conn, &w->wait, ms));
    return conn;
}

static int open_loop(void **state)
{
    testloop_open(&t);
    return 0;
}

static void assert_shown(uint64_t open, uint64_t idle, uint64_t waiting)
{
    assert_int_equal(open, tally.open);
    assert_int_equal(idle, tally.idle);
    assert_int_equal(waiting, tally.waiting);
}

static int close_loop(void **state)
{
    pool_close(pool);
    assert_shown(0, 0, 0);
    testloop_close(&t);
    return 0;
}

static void opens_one_for_each_waiter_up_to_its_size(void **state)
{
    struct waiter w[3];

    open_pool(2, 0, 0);
    for (int i = 0; i < 3; i++)
        assert_null(take(&w[i], 1000, 0));
    assert_int_equal(2, nopened);
    assert_int_equal(3, pool_counts(pool).waiting);
    pool_ready(&conns[0]);
    assert_ptr_equal(&conns[0], w[0].conn);
    assert_int_equal(0, w[1].told);
    pool_ready(&conns[0]);
    pool_ready(&conns[1]);
    assert_ptr_equal(&conns[0], w[1].conn);
    assert_ptr_equal(&conns[1], w[2].conn);
    pool_ready(&conns[0]);
    pool_ready(&conns[1]);
    assert_int_equal(2, pool_counts(pool).idle);
    /* The one used last is warm. */
    assert_ptr_equal(&conns[1], take(&w[0], 1000, 0));
    pool_ready(&conns[1]);
    assert_int_equal(0, w[0].told); /* no wait, no call */
}

static void shows_what_it_has_at_each_moment(void **state)
{
    struct waiter w[3];

    open_pool(2, 0, 0);
    for (int i = 0; i < 3; i++)
        assert_null(take(&w[i], 1000, 0));
    assert_shown(2, 0, 3);
    pool_ready(&conns[0]);
    assert_shown(2, 0, 2);
    pool_cancel(&w[1].wait);
    assert_shown(2, 0, 1);
    pool_ready(&conns[1]);
    pool_ready(&conns[0]);
    assert_shown(2, 1, 0);
    pool_lost(&conns[0], -ECONNRESET);
    assert_shown(1, 0, 0);
    assert_int_equal(3, tally.waits);
    assert_int_equal(0, tally.timeouts);
    pool_note_timeout(pool);
    assert_int_equal(1, tally.timeouts);
}

static void refuses_a_waiter_too_many(void **state)
{
    struct waiter w[2];

    open_pool(1, 1, 0);
    take(&w[0], 1000, 0);
    take(&w[1], 1000, -ENOBUFS);
    pool_cancel(&w[1].wait);
    pool_cancel(&w[0].wait);
    pool_cancel(&w[0].wait);
    pool_ready(&conns[0]);
    assert_int_equal(0, w[0].told);
    assert_int_equal(1, pool_counts(pool).idle);
}

static void tells_waiters_at_their_deadline(void **state)
{
    struct waiter w[2];

    open_pool(1, 0, 0);
    take(&w[0], 20, 0);
    take(&w[1], 60000, 0);
    testloop_until(&t, w[0].told);
    assert_int_equal(-ETIMEDOUT, w[0].err);
    assert_int_equal(0, w[1].told);
    pool_ready(&conns[0]);
    assert_int_equal(1, w[0].told);
    assert_ptr_equal(&conns[0], w[1].conn);
    pool_ready(&conns[0]);
}

static void fails_all_waiters_when_nothing_can_be_opened(void **state)
{
    struct waiter w[3];

    open_pool(2, 0, 0);
    for (int i = 0; i < 3; i++)
        take(&w[i], 1000, 0);
    pool_lost(&conns[0], -ECONNREFUSED);
    assert_int_equal(0, w[0].told); /* another is on its way */
    pool_lost(&conns[1], -ECONNREFUSED);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(1, w[i].told);
        assert_int_equal(-ECONNREFUSED, w[i].err);
    }
    assert_int_equal(0, pool_counts(pool).open);
    take(&w[0], 1000, 0);
    assert_int_equal(3, nopened); /* tried again at once */
    pool_cancel(&w[0].wait);
}

static void replaces_a_lost_connection_for_those_who_wait(void **state)
{
    struct waiter w[2];

    open_pool(1, 0, 0);
    take(&w[0], 1000, 0);
    pool_ready(&conns[0]);
    take(&w[1], 1000, 0);
    assert_int_equal(1, nopened);
    pool_lost(&conns[0], -ECONNRESET);
    assert_int_equal(2, nopened);
    assert_int_equal(0, w[1].told);
    pool_ready(&conns[1]);
    assert_ptr_equal(&conns[1], w[1].conn);
    pool_ready(&conns[1]);
}

static void closes_what_is_idle_for_long(void **state)
{
    struct waiter w;

    open_pool(1, 0, 20);
    take(&w, 1000, 0);
    pool_ready(&conns[0]);
    pool_ready(&conns[0]);
    testloop_until(&t, nclosed > 0);
    assert_int_equal(0, pool_counts(pool).open);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        TEST(opens_one_for_each_waiter_up_to_its_size),
        TEST(shows_what_it_has_at_each_moment),
        TEST(refuses_a_waiter_too_many),
        TEST(tells_waiters_at_their_deadline),
        TEST(fails_all_waiters_when_nothing_can_be_opened),
        TEST(replaces_a_lost_connection_for_those_who_wait),
        TEST(closes_what_is_idle_for_long),
    };

    return cmocka_run_group_tests_name("upstream.pool", tests, NULL, NULL);
}
