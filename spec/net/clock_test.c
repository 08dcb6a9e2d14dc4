/* clock: loop time, and a test's clock in its place. */
#include "testloop.h"

#include "net/clock.h"

static uv_loop_t loop;
static uv_timer_t timer;

static int open_loop(void **state)
{
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    return 0;
}

static int close_loop(void **state)
{
    loop.data = NULL;
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void on_timer(uv_timer_t *t)
{
    uv_stop(t->loop);
}

static void is_the_loops_own_time(void **state)
{
    struct timeval tv;

    gettimeofday(&tv, NULL);
    assert_true(clock_now(&loop) == uv_now(&loop));
    assert_true(clock_wall(&loop) >= (double)tv.tv_sec);
    assert_true(clock_wall(&loop) < (double)tv.tv_sec + 60);
    clock_start(&timer, on_timer, 50);
    assert_int_equal(clock_due_in(&timer), 50);
    assert_int_equal(uv_timer_get_repeat(&timer), 0);
    clock_wrote(&loop, 5); /* nobody counts */
}

static void is_the_tests_time_when_it_has_one(void **state)
{
    struct clock clock = {.now = 7000, .wall = 1e9, .parked = 1ULL << 48};

    loop.data = &clock;
    assert_int_equal(clock_now(&loop), 7000);
    assert_true(clock_wall(&loop) == 1e9 + 7);
    clock_wrote(&loop, 5);
    clock_wrote(&loop, -2);
    assert_int_equal(clock.unread, 3);
}

static void parks_timers_on_a_tests_clock_to_the_millisecond(void **state)
{
    struct clock clock = {.now = 7000, .parked = 1ULL << 48};

    loop.data = &clock;
    clock_start(&timer, on_timer, 50);
    assert_true(
        uv_now(&loop) + uv_timer_get_due_in(&timer) == clock.parked + 7050);
    assert_int_equal(clock_due_in(&timer), 50);
    clock.now += 20;
    assert_int_equal(clock_due_in(&timer), 30);
    clock.now += 40;
    assert_int_equal(clock_due_in(&timer), 0);
    clock.now = 7000;
    uv_timer_start(&timer, on_timer, 30, 20);
    assert_int_equal(clock_due_in(&timer), 30);
    clock_park(&timer, 30);
    assert_true(
        uv_now(&loop) + uv_timer_get_due_in(&timer) == clock.parked + 7030);
    assert_int_equal(uv_timer_get_repeat(&timer), 20);
    clock_start(&timer, on_timer, 0); /* as soon as it can */
    assert_int_equal(uv_timer_get_due_in(&timer), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_the_loops_own_time),
        TEST(is_the_tests_time_when_it_has_one),
        TEST(parks_timers_on_a_tests_clock_to_the_millisecond),
    };

    return cmocka_run_group_tests_name("net.clock", tests, NULL, NULL);
}
