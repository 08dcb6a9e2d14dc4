#include "testloop.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/localhost.h"
#include "../support/tempdir.h"
#include "net/addr.h"
#include "net/dialer.h"
#include "net/listener.h"

struct fixture {
    struct testloop t;
    struct dialer *dialer;
    union addr addr;
    char address[ADDR_TEXT_SIZE];
    int bound; /* refuses connections until listen() */
    size_t connects;
    size_t retry_until; /* connects; dialer_retry() in the callback */
    bool close_on_connect;
    int domain; /* of the last connection */
};

static void on_connect(struct dialer *d, int fd, void *arg)
{
    struct fixture *f = arg;

    socklen_t len = sizeof(f->domain);

    f->connects++;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &f->domain, &len);
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
    addr_format(f->address, &f->addr);
    f->dialer = dialer_open(&f->t.loop, f->address, on_connect, f);
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

/* Dial the fixture's port by that name instead. */
static void dial_name(struct fixture *f, const char *name)
{
    char address[ADDR_NAME_SIZE + 8];

    dialer_close(f->dialer);
    snprintf(address, sizeof(address), "%s:%u", name, addr_port(&f->addr));
    f->dialer = dialer_open(&f->t.loop, address, on_connect, f);
    assert_non_null(f->dialer);
    memset(address, 'x', sizeof(address)); /* it has a copy */
}

static void looks_a_name_up_at_each_try(void **state)
{
    struct fixture *f = *state;

    if (!localhost_is_known())
        skip();
    dial_name(f, "localhost");
    testloop_until(&f->t, dialer_has_failed(f->dialer));
    assert_int_equal(listen(f->bound, 8), 0);
    f->retry_until = 3;
    testloop_until(&f->t, f->connects == 3);
}

static void tries_on_when_a_name_is_not_known(void **state)
{
    struct fixture *f = *state;
    char log[TEMPDIR_SIZE + 8], dir[TEMPDIR_SIZE], line[512] = "";
    FILE *file;

    tempdir_make(dir);
    snprintf(log, sizeof(log), "%s/log", dir);
    assert_int_equal(log_open(log), 0);
    log_set_level(LOG_WARN);
    dial_name(f, "name.of.nobody.invalid");
    testloop_until(&f->t, dialer_has_failed(f->dialer));
    dialer_retry(f->dialer); /* it waits for the next try already */
    file = fopen(log, "r");
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    assert_non_null(strstr(
        line, "cannot connect, trying on address=name.of.nobody.invalid:"));
    assert_non_null(strstr(line, " err="));
}

static void leaves_others_time_to_start(void **state)
{
    struct fixture *f = *state;
    char log[TEMPDIR_SIZE + 8], dir[TEMPDIR_SIZE], line[512] = "";
    FILE *file;

    tempdir_make(dir);
    snprintf(log, sizeof(log), "%s/log", dir);
    assert_int_equal(log_open(log), 0);
    log_set_level(LOG_WARN);
    dialer_start_together(3600000);
    dial_name(f, "127.0.0.1");
    testloop_until(&f->t, dialer_has_failed(f->dialer)); /* nobody listens */
    file = fopen(log, "r");
    assert_null(fgets(line, sizeof(line), file));
    dialer_start_together(0);
    dial_name(f, "127.0.0.1");
    testloop_until(&f->t, dialer_has_failed(f->dialer));
    clearerr(file);
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    assert_non_null(strstr(line, "cannot connect, trying on address="));
}

static void may_be_closed_while_a_name_is_looked_up(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(listen(f->bound, 8), 0);
    dial_name(f, "localhost");
    uv_run(&f->t.loop, UV_RUN_NOWAIT);
    dialer_close(f->dialer);
    f->dialer = NULL;
    testloop_turns(&f->t, 3);
    assert_int_equal(f->connects, 0);
}

static void takes_the_unix_socket_first_and_the_address_without(void **state)
{
    struct fixture *f = *state;
    char folder[TEMPDIR_SIZE];
    char path[TEMPDIR_SIZE + 8];
    int fd;

    tempdir_make(folder);
    snprintf(path, sizeof(path), "%s/sock", folder);
    fd = listener_bind_unix(path);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(listen(f->bound, 8), 0);
    dialer_prefer(f->dialer, path);
    testloop_until(&f->t, f->connects == 1);
    assert_int_equal(f->domain, AF_UNIX);
    close(fd); /* nobody listens there any more */
    dialer_retry(f->dialer);
    testloop_until(&f->t, f->connects == 2);
    assert_int_equal(f->domain, AF_INET);
    unlink(path);
    fd = listener_bind_unix(path);
    assert_int_equal(listen(fd, 8), 0);
    dialer_retry(f->dialer);
    testloop_until(&f->t, f->connects == 3);
    assert_int_equal(f->domain, AF_UNIX);
    close(fd);
}

static void refuses_what_is_no_address(void **state)
{
    struct fixture *f = *state;

    assert_null(dialer_open(&f->t.loop, "localhost", on_connect, f));
    assert_null(dialer_open(&f->t.loop, "1.2.3:80", on_connect, f));
    assert_null(dialer_open(&f->t.loop, "a b:80", on_connect, f));
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
        TEST(looks_a_name_up_at_each_try),
        TEST(tries_on_when_a_name_is_not_known),
        TEST(leaves_others_time_to_start),
        TEST(may_be_closed_while_a_name_is_looked_up),
        TEST(takes_the_unix_socket_first_and_the_address_without),
        TEST(refuses_what_is_no_address),
    };

    setenv("RES_OPTIONS", "timeout:1 attempts:1", 1); /* there may be no DNS */
    return cmocka_run_group_tests_name("net.dialer", tests, NULL, NULL);
}
