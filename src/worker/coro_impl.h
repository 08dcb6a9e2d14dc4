/* coro_impl.h - what the worker's own files know of coroutines.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_CORO_IMPL_H
#define GW_WORKER_CORO_IMPL_H

#include "worker/coro.h"
#include "worker/vm_impl.h"

/* Cancel what waits: all, or only what serves clients. Their done
 * callbacks do not run. Not while code runs in the vm. Returns how many. */
size_t coro_cancel(struct vm *vm, bool clients_only);

/* After the state is closed. */
void coro_free_idle(struct vm *vm);

/* Does a handler or the like run in this thread, or did one? Nobody but
 * the loop may go on with it: the operation that it waits for knows it. */
bool coro_owns(lua_State *L, const lua_State *thread);

/* What was given to coro_start() as done_arg for the coroutine that
 * runs, if its done callback is this one; else NULL. */
void *coro_done_arg(lua_State *L, coro_done_cb done);

#endif /* GW_WORKER_CORO_IMPL_H */
