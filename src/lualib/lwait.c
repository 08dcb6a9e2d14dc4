/* The end of a wait, whatever ended it, takes its timer along: a coroutine is
 * resumed once for each wait. */
#include "lualib/lwait.h"

#include "net/handle.h"
#include "util/alloc.h"
#include "worker/vm.h"

void lwait_cancel(void *wait)
{
    struct lwait *w = wait;

    w->co = NULL;
    if (w->timer)
        handle_close(w->timer, w->timer);
    w->timer = NULL;
}

void lwait_wake(struct lwait *w)
{
    struct coro *co = w->co;

    lwait_cancel(w);
    if (co)
        coro_wake(co);
}

static void on_too_late(uv_timer_t *timer)
{
    lwait_wake(timer->data);
}

void lwait_limit(lua_State *L, struct lwait *w, double seconds)
{
    uv_loop_t *loop = turn_loop(vm_turn(vm_of(L)));

    if (!w->timer) {
        w->timer = xcalloc(1, sizeof(*w->timer));
        uv_timer_init(loop, w->timer);
        w->timer->data = w;
    }
    uv_update_time(loop); /* a handler may have computed for long */
    uv_timer_start(w->timer, on_too_late, (uint64_t)(seconds * 1000 + 0.5), 0);
}

void lwait_begin(lua_State *L, struct lwait *w, struct coro *co, double seconds)
{
    w->co = co;
    if (seconds >= 0)
        lwait_limit(L, w, seconds);
}
