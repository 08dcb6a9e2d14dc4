#include "testloop.h"

#include <fcntl.h>
#include <stdlib.h>

#include "net/dialer.h"

struct fixture {
    struct testloop t;
    struct dialer *dialer;
    union addr addr;
    int bound; /* refuses connections until listen() */
    size_t connects;
    size_t retry_until; /* connects; dialer_retry() in the callback */
    bool close_on_connect;
};

static void on_connect(struct dialer *d, int fd, void *arg)
{
    struct fixture *f = arg;

    f->connects++;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    if (f->close_on_connect) {
        dialer_close(d);
        f->dialer = NULL;
    } else if (f->connects < f->retry_until) {
        dialer_retry(d);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    testloop_open(&f->t);
    f->bound = testloop_bind(&f->addr);
    f->dialer = dialer_open(&f->t.loop, &f->addr, on_connect, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->dialer)
        dialer_close(f->dialer);
    close(f->bound);
    testloop_close(&f->t);
    free(f);
    return 0;
}

static void connects_and_rests(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(listen(f->bound, 8), 0);
    testloop_until(&f->t, f->connects == 1);
    testloop_turns(&f->t, 3);
    assert_int_equal(f->connects, 1);
}

static void on_tick(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void tries_again_until_somebody_listens(void **state)
{
    struct fixture *f = *state;
    bool over = false;
    uv_timer_t tick;

    uv_timer_init(&f->t.loop, &tick);
    tick.data = &over;
    uv_timer_start(&tick, on_tick, 150, 0); /* some tries are refused */
    testloop_until(&f->t, over);
    assert_int_equal(f->connects, 0);
    assert_int_equal(listen(f->bound, 8), 0);
    testloop_until(&f->t, f->connects == 1);
    uv_close((uv_handle_t *)&tick, NULL);
    testloop_turns(&f->t, 2);
}

static void dials_again_after_a_loss(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(listen(f->bound, 8), 0);
    f->retry_until = 3;
    testloop_until(&f->t, f->connects == 3);
}

static void asks_once_for_several_retries(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(listen(f->bound, 8), 0);
    testloop_until(&f->t, f->connects == 1);
    dialer_limit_wait(f->dialer, 1);
    dialer_retry(f->dialer);
    dialer_retry(f->dialer);
    testloop_until(&f->t, f->connects == 2);
    testloop_turns(&f->t, 3);
    assert_int_equal(f->connects, 2);
}

static void may_be_closed_when_it_connects(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(listen(f->bound, 8), 0);
    f->close_on_connect = true;
    testloop_until(&f->t, f->connects == 1);
}

static void may_be_closed_while_it_connects(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(listen(f->bound, 8), 0);
    uv_run(&f->t.loop, UV_RUN_NOWAIT); /* the try is under way, or done */
    dialer_close(f->dialer);
    f->dialer = NULL;
    testloop_turns(&f->t, 3);
    assert_true(f->connects <= 1);
}

static void may_be_closed_between_tries(void **state)
{
    struct fixture *f = *state;

    testloop_turns(&f->t, 10);
    assert_int_equal(f->connects, 0);
    dialer_close(f->dialer);
    f->dialer = NULL;
    testloop_turns(&f->t, 3);
    assert_int_equal(f->connects, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connects_and_rests),
        TEST(tries_again_until_somebody_listens),
        TEST(dials_again_after_a_loss),
        TEST(asks_once_for_several_retries),
        TEST(may_be_closed_when_it_connects),
        TEST(may_be_closed_while_it_connects),
        TEST(may_be_closed_between_tries),
    };

    return cmocka_run_group_tests_name("net.dialer", tests, NULL, NULL);
}
