#include "testloop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../support/tempdir.h"
#include "net/clock.h"
#include "net/listener.h"

struct fixture {
    struct testloop t;
    struct listener *listener;
    union addr addr;
    union addr peer;
    size_t accepted;
    size_t close_after; /* accepts; listener_close() in the callback */
    bool refuse;        /* listener_refund() in the callback */
    int flags;          /* of the last descriptor */
    char dir[TEMPDIR_SIZE];
    char path[TEMPDIR_SIZE + 8];
};

static void on_accept(
    struct listener *l, int fd, const union addr *peer, void *arg)
{
    struct fixture *f = arg;

    f->accepted++;
    f->peer = *peer;
    f->flags = fcntl(fd, F_GETFL) & O_NONBLOCK;
    if (fcntl(fd, F_GETFD) & FD_CLOEXEC)
        f->flags |= FD_CLOEXEC;
    close(fd);
    if (f->refuse)
        listener_refund(l);
    if (f->accepted == f->close_after) {
        listener_close(l);
        f->listener = NULL;
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    testloop_open(&f->t);
    fd = testloop_bind(&f->addr);
    assert_int_equal(
        listener_open(&f->listener, &f->t.loop, fd, on_accept, f), 0);
    tempdir_make(f->dir);
    snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->listener)
        listener_close(f->listener);
    testloop_close(&f->t);
    free(f);
    return 0;
}

static void dial_and_hang_up(const union addr *addr, int count)
{
    for (int i = 0; i < count; i++)
        close(testloop_dial(addr));
}

static void accepts_every_connection(void **state)
{
    struct fixture *f = *state;
    union addr bound;

    dial_and_hang_up(&f->addr, 200); /* more than one batch */
    testloop_until(&f->t, f->accepted == 200);
    assert_int_equal(f->flags, O_NONBLOCK | FD_CLOEXEC);
    assert_int_equal(addr_ipv4(&f->peer), 0x7f000001);
    assert_int_equal(listener_addr(f->listener, &bound), 0);
    assert_int_equal(addr_port(&bound), addr_port(&f->addr));
}

static void accepts_no_faster_than_its_rate(void **state)
{
    struct fixture *f = *state;
    uint64_t began;

    listener_set_rate(f->listener, 200);
    began = uv_now(&f->t.loop);
    dial_and_hang_up(&f->addr, 40);
    testloop_until(&f->t, f->accepted == 40);
    /* Ten at once, then one every 5 ms. */
    assert_true(uv_now(&f->t.loop) - began >= 145);
    listener_set_rate(f->listener, 0);
    dial_and_hang_up(&f->addr, 200);
    testloop_until(&f->t, f->accepted == 240);
}

/* Ten may come at once, and time stands still. */
static void refused_connections_count_a_tenth(void **state)
{
    struct fixture *f = *state;
    struct clock clock = {.now = 1000};

    f->t.loop.data = &clock;
    f->refuse = true;
    listener_set_rate(f->listener, 200);
    dial_and_hang_up(&f->addr, 150);
    testloop_until(&f->t, f->accepted >= 90);
    testloop_turns(&f->t, 20);
    assert_in_range(f->accepted, 90, 92);
    f->t.loop.data = NULL;
}

static void may_be_closed_by_a_connection(void **state)
{
    struct fixture *f = *state;
    union addr again = f->addr;
    int fd;

    f->close_after = 3;
    dial_and_hang_up(&f->addr, 5);
    testloop_until(&f->t, !f->listener);
    testloop_turns(&f->t, 5);
    assert_int_equal(f->accepted, 3);
    fd = listener_bind(&again, false); /* the port is free at once */
    assert_true(fd >= 0);
    close(fd);
}

static void rests_when_there_are_no_descriptors(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    struct rlimit none;
    int fd = testloop_dial(&f->addr);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    testloop_turns(&f->t, 3);
    assert_int_equal(f->accepted, 0);
    /* Resting: only the rest's timer would wake the loop. */
    assert_true(uv_backend_timeout(&f->t.loop) > 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    testloop_until(&f->t, f->accepted == 1);
    close(fd);
}

static void shares_a_port_only_when_asked_to(void **state)
{
    struct fixture *f = *state;
    union addr addr;
    socklen_t len = sizeof(addr);
    int first;
    int second;

    assert_int_equal(listener_bind(&f->addr, false), -EADDRINUSE);
    assert_int_equal(listener_bind(&f->addr, true), -EADDRINUSE);
    assert_int_equal(addr_parse(&addr, "127.0.0.1:0"), 0);
    first = listener_bind(&addr, true);
    assert_true(first >= 0);
    assert_int_equal(getsockname(first, &addr.sa, &len), 0);
    second = listener_bind(&addr, true);
    assert_true(second >= 0);
    close(first);
    close(second);
}

static void serves_ipv4_on_the_ipv6_wildcard(void **state)
{
    struct fixture *f = *state;
    struct listener *both;
    union addr addr;
    int fd;

    assert_int_equal(addr_parse(&addr, "[::]:0"), 0);
    fd = listener_bind(&addr, false);
    if (fd == -EAFNOSUPPORT)
        skip(); /* a machine without IPv6 */
    assert_int_equal(listener_open(&both, &f->t.loop, fd, on_accept, f), 0);
    assert_int_equal(listener_addr(both, &addr), 0);
    f->addr.in.sin_port = addr.in6.sin6_port;
    dial_and_hang_up(&f->addr, 1);
    testloop_until(&f->t, f->accepted == 1);
    assert_int_equal(f->peer.sa.sa_family, AF_INET);
    listener_close(both);
}

static int dial_unix(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(sun.sun_path, path);
    assert_int_equal(
        connect(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

static void serves_a_unix_socket_of_its_owner_alone(void **state)
{
    struct fixture *f = *state;
    struct listener *l;
    struct stat st;
    int fd = listener_bind_unix(f->path);

    assert_true(fd >= 0);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(listener_open(&l, &f->t.loop, fd, on_accept, f), 0);
    close(dial_unix(f->path));
    testloop_until(&f->t, f->accepted == 1);
    assert_int_equal(f->peer.sa.sa_family, AF_UNIX);
    assert_int_equal(listener_bind_unix(f->path), -EADDRINUSE);
    listener_close(l);
    fd = listener_bind_unix(f->path); /* the file is stale now */
    assert_true(fd >= 0);
    close(fd);
}

static void does_not_replace_a_file_that_is_no_socket(void **state)
{
    struct fixture *f = *state;
    char longest[200];

    close(open(f->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(listener_bind_unix(f->path), -EADDRINUSE);
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(listener_bind_unix(longest), -ENAMETOOLONG);
    assert_int_equal(listener_bind_unix("/nowhere/at/all"), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(accepts_every_connection),
        TEST(accepts_no_faster_than_its_rate),
        TEST(refused_connections_count_a_tenth),
        TEST(may_be_closed_by_a_connection),
        TEST(rests_when_there_are_no_descriptors),
        TEST(shares_a_port_only_when_asked_to),
        TEST(serves_ipv4_on_the_ipv6_wildcard),
        TEST(serves_a_unix_socket_of_its_owner_alone),
        TEST(does_not_replace_a_file_that_is_no_socket),
    };

    return cmocka_run_group_tests_name("net.listener", tests, NULL, NULL);
}
