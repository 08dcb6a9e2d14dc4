/* One connect: where it goes, how it fails, and that nothing happens inside the
 * call. */
#include "testloop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/tempdir.h"
#include "net/addr.h"
#include "net/connect.h"

#define LONG_MS 15000

struct fixture {
    struct testloop t;
    struct connect *connect;
    union addr addr;
    int bound; /* refuses connections until listen() */
    size_t calls;
    int err, fd;
};

static void on_done(int err, int fd, void *arg)
{
    struct fixture *f = arg;

    f->calls++;
    f->connect = NULL;
    f->err = err;
    f->fd = fd;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    testloop_open(&f->t);
    f->bound = testloop_bind(&f->addr);
    f->fd = -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->connect)
        connect_cancel(f->connect);
    if (f->fd >= 0)
        close(f->fd);
    close(f->bound);
    testloop_close(&f->t);
    free(f);
    return 0;
}

static void start(struct fixture *f, const char *host, uint64_t ms, bool each)
{
    const struct connect_limit limit = {ms, each};

    f->connect =
        connect_start(&f->t.loop, host, addr_port(&f->addr), limit, on_done, f);
    assert_int_equal(f->calls, 0);
}

static void run(struct fixture *f, const char *host)
{
    start(f, host, LONG_MS, false);
    testloop_until(&f->t, f->calls > 0);
}

static void connects_to_an_address(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(listen(f->bound, 8), 0);
    run(f, "127.0.0.1");
    assert_int_equal(f->err, 0);
    assert_true(fcntl(f->fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(f->fd, F_GETFD) & FD_CLOEXEC);
}

static void connects_to_a_unix_socket(void **state)
{
    struct fixture *f = *state;
    char dir[TEMPDIR_SIZE], path[TEMPDIR_SIZE + 8];
    int fd;

    tempdir_make(dir);
    snprintf(path, sizeof(path), "%s/socket", dir);
    run(f, path);
    assert_int_equal(f->err, -ENOENT);
    fd = listener_bind_unix(path);
    assert_int_equal(listen(fd, 1), 0);
    f->calls = 0;
    run(f, path);
    assert_int_equal(f->err, 0);
    close(fd);
    unlink(path);
}

static void fails_on_a_later_turn(void **state)
{
    struct fixture *f = *state;
    char path[300] = "/";

    run(f, "127.0.0.1");
    assert_int_equal(f->err, -ECONNREFUSED);
    memset(path + 1, 'x', sizeof(path) - 2);
    f->calls = 0;
    run(f, path);
    assert_int_equal(f->err, -ENAMETOOLONG);
    assert_int_equal(f->fd, -1);
}

/* Until the kernel answers nobody any more. */
static void fill_backlog(const struct fixture *f, int fds[3])
{
    assert_int_equal(listen(f->bound, 0), 0);
    for (int i = 0; i < 3; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fds[i], &f->addr.sa, addr_len(&f->addr));
    }
}

static void gives_up_when_nobody_answers(void **state)
{
    struct fixture *f = *state;
    int fds[3];

    fill_backlog(f, fds);
    for (int each = 0; each < 2; each++) {
        f->calls = 0;
        start(f, "127.0.0.1", 1, each);
        testloop_until(&f->t, f->calls > 0);
        assert_int_equal(f->err, -ETIMEDOUT);
    }
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

static void is_silent_once_cancelled(void **state)
{
    struct fixture *f = *state;
    static const char *const hosts[] = {"127.0.0.1", "localhost", "/not/there"};

    assert_int_equal(listen(f->bound, 8), 0);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        start(f, hosts[i], LONG_MS, false);
        connect_cancel(f->connect);
        f->connect = NULL;
    }
    testloop_turns(&f->t, 5);
    assert_int_equal(f->calls, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connects_to_an_address),
        TEST(connects_to_a_unix_socket),
        TEST(fails_on_a_later_turn),
        TEST(gives_up_when_nobody_answers),
        TEST(is_silent_once_cancelled),
    };

    return cmocka_run_group_tests_name("net.connect", tests, NULL, NULL);
}
