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

#include <stdint.h>
#include <sys/time.h>
#include <uv.h>

/* A test's clock, at loop->data, which is NULL in all other processes. */
struct clock {
    uint64_t now;    /* ms; instead of uv_now() */
    double wall;     /* seconds since 1970 when now was 0 */
    uint64_t parked; /* added to now: the loop's time that a timer waits for */
    int64_t unread;  /* bytes that conns wrote here and none has read */
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

/* Milliseconds until an active timer runs out. */
static inline uint64_t clock_due_in(const uv_timer_t *timer)
{
    const struct clock *c = timer->loop->data;
    uint64_t ms = uv_timer_get_due_in(timer);

    if (!c || uv_now(timer->loop) + ms < c->parked)
        return ms;
    ms += uv_now(timer->loop) - c->parked;
    return ms > c->now ? ms - c->now : 0;
}

/* On a test's clock: let the timer run out ms after now. */
static inline void clock_park(uv_timer_t *timer, uint64_t ms)
{
    const struct clock *c = timer->loop->data;

    uv_timer_start(timer, timer->timer_cb,
        c->now + c->parked + ms - uv_now(timer->loop),
        uv_timer_get_repeat(timer));
}

/* uv_timer_start() without a repeat, to the millisecond also on a test's clock
 * (which is late by what a turn has taken for timers that libuv starts). */
static inline void clock_start(
    uv_timer_t *timer, uv_timer_cb callback, uint64_t ms)
{
    uv_timer_start(timer, callback, ms, 0);
    if (timer->loop->data && ms > 0)
        clock_park(timer, ms);
}

/* conn.c tells what it has written, and (less than 0) what it has read. */
static inline void clock_wrote(const uv_loop_t *loop, int64_t bytes)
{
    struct clock *c = loop->data;

    if (c)
        c->unread += bytes;
}

#endif /* GW_NET_CLOCK_H */
