/* clock.h - the time of a loop.
 *
 * Roles and libraries ask here instead of uv_now(), so that a test can put a
 * clock of its own behind a loop: gwrun test does, and its time stands still
 * until the test moves it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_CLOCK_H
#define GW_NET_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>
#include <uv.h>

/* A test's clock, at loop->data, which is NULL in all other processes. */
struct clock {
    uint64_t now; /* ms; instead of uv_now() */
    double wall;  /* seconds since 1970 when now was 0 */
};

/* uv_loop_init(), which leaves loop->data as it is: it must be NULL here. */
static inline int clock_loop_init(uv_loop_t *loop)
{
    loop->data = NULL;
    return uv_loop_init(loop);
}

/* Milliseconds since some time in the past, as of the begin of the turn. */
static inline uint64_t clock_now(const uv_loop_t *loop)
{
    const struct clock *c = loop->data;

    return c ? c->now : uv_now(loop);
}

/* On a test's clock nothing takes time, handlers neither. */
static inline bool clock_stands_still(const uv_loop_t *loop)
{
    return loop->data != NULL;
}

/* Nanoseconds, to measure how long something takes. */
static inline uint64_t clock_precise(const uv_loop_t *loop)
{
    return clock_stands_still(loop) ? 0 : uv_hrtime();
}

/* Seconds since 1970. */
static inline double clock_wall(const uv_loop_t *loop)
{
    const struct clock *c = loop->data;
    struct timeval tv;

    if (c)
        return c->wall + (double)c->now / 1000;
    gettimeofday(&tv, NULL);
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

#endif /* GW_NET_CLOCK_H */
