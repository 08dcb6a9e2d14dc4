/* Whom a socket reaches, and how long TCP waits. */
#include "net/reach.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "testloop.h"

#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

/* The two ends of a connection by loopback. */
static void connect_pair(int ends[2], union addr *peer)
{
    socklen_t len = sizeof(*peer);
    union addr addr;
    int bound = testloop_bind(&addr);

    assert_int_equal(listen(bound, 1), 0);
    ends[0] = testloop_dial(&addr);
    ends[1] = accept(bound, &peer->sa, &len);
    assert_true(ends[1] >= 0);
    close(bound);
}

static int option(int fd, int level, int name)
{
    socklen_t len = sizeof(int);
    int value = -1;

    getsockopt(fd, level, name, &value, &len);
    return value;
}

static void takes_its_own_addresses_for_its_machine(void **state)
{
    union addr peer = {0};
    int ends[2];

    connect_pair(ends, &peer);
    assert_true(reach_is_local(ends[1], &peer));
    assert_false(reach_is_lost(ends[1]));
    peer.in.sin_addr.s_addr = htonl(0xc0000201);
    assert_false(reach_is_local(ends[1], &peer));
    close(ends[0]);
    close(ends[1]);
}

static void bounds_the_pauses_of_tcp_where_linux_can(void **state)
{
    union addr peer;
    int ends[2];

    connect_pair(ends, &peer);
    if (reach_resend_soon(ends[0]))
        assert_int_equal(
            option(ends[0], IPPROTO_TCP, TCP_RTO_MAX_MS), REACH_RESEND);
    else
        assert_int_equal(option(ends[0], IPPROTO_TCP, TCP_RTO_MAX_MS), -1);
    close(ends[0]);
    close(ends[1]);
}

static ssize_t measure(const uint8_t *data, size_t len, size_t max)
{
    return (ssize_t)len;
}

static void on_close(struct conn *c, int err, void *arg)
{
    *(struct conn **)arg = NULL;
}

/* On an overloaded machine its probes would stay without an answer. */
static void lets_no_link_of_this_machine_be_probed(void **state)
{
    static const struct conn_ops ops = {
        .measure = measure, .on_close = on_close};
    static const struct conn_limits limits = {1, 1};
    struct testloop t;
    struct turn *turn;
    struct conn *c;
    union addr peer;
    int ends[2];

    testloop_open(&t);
    turn = turn_new(&t.loop);
    connect_pair(ends, &peer);
    c = conn_open(turn, ends[1], &ops, &limits, &c);
    assert_non_null(c);
    assert_int_equal(option(ends[1], SOL_SOCKET, SO_KEEPALIVE), 0);
    conn_close(c);
    close(ends[0]);
    turn_close(turn);
    testloop_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_its_own_addresses_for_its_machine),
        cmocka_unit_test(bounds_the_pauses_of_tcp_where_linux_can),
        cmocka_unit_test(lets_no_link_of_this_machine_be_probed),
    };

    return cmocka_run_group_tests_name("net.reach", tests, NULL, NULL);
}
