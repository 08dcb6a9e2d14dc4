/* lwait.h - a coroutine that waits for a thing, with or without a limit.
 *
 * Embedded in the userdata that it waits for, and all zeros while nobody waits.
 * One coroutine at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LWAIT_H
#define GW_LUALIB_LWAIT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "worker/coro.h"

#define LWAIT_SECONDS_MAX 1e9 /* more is for the caller to refuse */

struct lwait {
    struct coro *co;   /* borrowed; who waits, outlives the wait; or NULL */
    uv_timer_t *timer; /* owned; of a wait that has a limit */
};

static inline bool lwait_is_on(const struct lwait *w)
{
    return w->co != NULL;
}

/* co, which runs L, waits for so many seconds at most; without a limit if they
 * are negative. coro_await() follows, with lwait_cancel() and w, or with
 * something that calls it. */
void lwait_begin(
    lua_State *L, struct lwait *w, struct coro *co, double seconds);

/* Who waits does so for so many seconds more at most. */
void lwait_limit(lua_State *L, struct lwait *w, double seconds);

/* Who waits, if anybody, goes on now, from a callback of the loop, as by
 * coro_wake(): w may be gone afterwards. It finds out for itself why. */
void lwait_wake(struct lwait *w);

/* A coro_cancel_cb: who waits, if anybody, does so no more. */
void lwait_cancel(void *wait);

#endif /* GW_LUALIB_LWAIT_H */
