/* vm_open.h - makes a Lua state with a script in it, and ends it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_VM_OPEN_H
#define GW_WORKER_VM_OPEN_H

#include "worker/coro.h"
#include "worker/vm_impl.h"

/* Make a state, load the script in it and run its onWorkerStart. loaded() tells
 * the result at the end of a turn, never inside this call. Never NULL; end it
 * with vm_close(), also after a failure. */
struct vm *vm_open(
    const struct vm_env *env, vm_loaded_cb loaded, void *loaded_arg);

/* Cancel what waits, run the hooks, close the state. No callback of the vm runs
 * any more. Not while code runs in it. */
void vm_close(struct vm *vm);

/* Run the script's onWorkerStop in a coroutine; done as in coro_start(). */
void vm_stop_script(struct vm *vm, coro_done_cb done, void *arg);

#endif /* GW_WORKER_VM_OPEN_H */
