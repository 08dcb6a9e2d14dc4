/* clock: loop time, and a test's clock in its place. */
#include "testloop.h"

#include "net/clock.h"

static uv_loop_t loop;

static int open_loop(void **state)
{
    clock_loop_init(&loop);
    return 0;
}

static int close_loop(void **state)
{
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void is_the_loops_own_time(void **state)
{
    struct timeval tv;

    gettimeofday(&tv, NULL);
    assert_true(clock_now(&loop) == uv_now(&loop));
    assert_true(clock_wall(&loop) >= (double)tv.tv_sec);
    assert_true(clock_wall(&loop) < (double)tv.tv_sec + 60);
    assert_false(clock_stands_still(&loop));
    assert_true(clock_precise(&loop) > 0);
}

static void is_the_tests_time_when_it_has_one(void **state)
{
    struct clock clock = {.now = 7000, .wall = 1e9};

    loop.data = &clock;
    assert_int_equal(clock_now(&loop), 7000);
    assert_true(clock_wall(&loop) == 1e9 + 7);
    assert_true(clock_stands_still(&loop));
    assert_int_equal(clock_precise(&loop), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_the_loops_own_time),
        TEST(is_the_tests_time_when_it_has_one),
    };

    return cmocka_run_group_tests_name("net.clock", tests, NULL, NULL);
}
