#include "cli/simclock.h"

#include <stdbool.h>
#include <stddef.h>

#define FIRST_NOW (1000 * 1000) /* ms on a new clock; 0 means never to some */

static bool is_parked(const uv_handle_t *handle)
{
    return handle->type == UV_TIMER && uv_is_active(handle) &&
           ((const uv_timer_t *)handle)->timeout >= SIMCLOCK_PARKED;
}

void simclock_start(struct clock *c, uv_loop_t *loop, double wall)
{
    *c = (struct clock){.now = FIRST_NOW,
        .wall = wall - FIRST_NOW / 1000.0,
        .parked = SIMCLOCK_PARKED};
    loop->data = c;
}

static void unpark(uv_handle_t *handle, void *arg)
{
    uv_timer_t *timer = (uv_timer_t *)handle;

    if (is_parked(handle))
        uv_timer_start(
            timer, timer->timer_cb, clock_due_in(timer), timer->repeat);
}

void simclock_stop(uv_loop_t *loop)
{
    if (!loop->data)
        return;
    uv_walk(loop, unpark, NULL);
    loop->data = NULL;
}

static void park(uv_handle_t *handle, void *arg)
{
    uv_timer_t *timer = (uv_timer_t *)handle;

    if (handle->type != UV_TIMER || !uv_is_active(handle) || is_parked(handle))
        return;
    if (clock_due_in(timer) > 0)
        clock_park(timer, clock_due_in(timer));
}

void simclock_park(uv_loop_t *loop)
{
    uv_update_time(loop);
    uv_walk(loop, park, NULL);
}

static void find_next(uv_handle_t *handle, void *arg)
{
    uv_timer_t *timer = (uv_timer_t *)handle;
    uv_timer_t **next = arg;

    if (!is_parked(handle))
        return;
    if (!*next || timer->timeout < (*next)->timeout ||
        (timer->timeout == (*next)->timeout &&
            timer->start_id < (*next)->start_id))
        *next = timer;
}

/* The parked timer that is due first, or NULL. */
static uv_timer_t *next_timer(uv_loop_t *loop)
{
    uv_timer_t *next = NULL;

    uv_walk(loop, find_next, &next);
    return next;
}

uint64_t simclock_step(uv_loop_t *loop, uint64_t max_ms)
{
    struct clock *c = loop->data;
    uv_timer_t *next = next_timer(loop);
    uint64_t ms = max_ms;

    if (next && clock_due_in(next) < ms)
        ms = clock_due_in(next);
    c->now += ms;
    while (next && clock_due_in(next) == 0) {
        uv_timer_start(next, next->timer_cb, 0, next->repeat);
        next = next_timer(loop);
    }
    return ms;
}
