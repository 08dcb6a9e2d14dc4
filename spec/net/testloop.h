/* testloop.h - a loop with a deadline for units that wait for sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_NET_TESTLOOP_H
#define GW_SPEC_NET_TESTLOOP_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "net/clock.h"
#include "net/listener.h"
#include "util/log.h"

#define TESTLOOP_DEADLINE_MS 20000

struct testloop {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool expired;
};

static inline void testloop_on_deadline(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static inline void testloop_open(struct testloop *t)
{
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_ERROR);
    t->expired = false;
    clock_loop_init(&t->loop);
    uv_timer_init(&t->loop, &t->deadline);
    t->deadline.data = &t->expired;
    uv_timer_start(&t->deadline, testloop_on_deadline, TESTLOOP_DEADLINE_MS, 0);
}

/* Turn the loop until condition holds; past the deadline the test fails. */
#define testloop_until(t, condition)     \
    while (!(condition)) {               \
        assert_false((t)->expired);      \
        uv_run(&(t)->loop, UV_RUN_ONCE); \
    }

/* The same for what a timer brings about: a turn of the other runs the timer
 * and then waits for something else to happen. */
#define testloop_spin(t, condition)        \
    while (!(condition)) {                 \
        assert_false((t)->expired);        \
        uv_run(&(t)->loop, UV_RUN_NOWAIT); \
    }

/* A few turns without waiting, for what is under way on this machine. */
static inline void testloop_turns(struct testloop *t, int count)
{
    for (int i = 0; i < count; i++)
        uv_run(&t->loop, UV_RUN_NOWAIT);
}

/* Everything must be closed, or closing: nothing may keep the loop alive. */
static inline void testloop_close(struct testloop *t)
{
    uv_unref((uv_handle_t *)&t->deadline);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_false(t->expired);
    uv_close((uv_handle_t *)&t->deadline, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
}

/* A bound loopback socket on a port that the kernel chose. */
static inline int testloop_bind(union addr *addr)
{
    socklen_t len = sizeof(*addr);
    int fd;

    assert_int_equal(addr_parse(addr, "127.0.0.1:0"), 0);
    fd = listener_bind(addr, false);
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, &addr->sa, &len), 0);
    return fd;
}

/* A blocking socket connected to addr; the loop need not turn for that. */
static inline int testloop_dial(const union addr *addr)
{
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, &addr->sa, addr_len(addr)), 0);
    return fd;
}

#endif /* GW_SPEC_NET_TESTLOOP_H */
