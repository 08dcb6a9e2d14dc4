/* vm.h - one Lua state with the script in it, from load to close.
 *
 * A worker has one serving vm and, around a reload, a new or an old one beside
 * it. Libraries find theirs with vm_of().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_VM_H
#define GW_WORKER_VM_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "net/turn.h"
#include "util/list.h"
#include "util/tallies.h"

struct gateways;
struct series;
struct shared;
struct vm;
struct worker_conf;

/* The vm of a state or of any coroutine in it. */
struct vm *vm_of(lua_State *L);

lua_State *vm_state(const struct vm *vm);
struct turn *vm_turn(const struct vm *vm);
struct gateways *vm_gateways(const struct vm *vm);
unsigned vm_worker_index(const struct vm *vm);
const char *vm_lua_dir(const struct vm *vm);   /* as in worker_conf */
size_t vm_memory_max(const struct vm *vm);     /* likewise */
struct shared *vm_shared(const struct vm *vm); /* likewise … */
struct series *vm_series(const struct vm *vm); /* … NULL: of its own */
struct tally *vm_tally(
    const struct vm *vm, enum tallies_kind kind); /* or NULL */
size_t vm_shared_keys(const struct vm *vm);       /* of a table of its own */
const struct worker_conf *vm_conf(const struct vm *vm);
bool vm_is_program(const struct vm *vm); /* worker/program.h */
bool vm_has_system(const struct vm *vm); /* it knows registers to join */

/* What must end before the state is closed (timers, pools): run(hook) is called
 * once, no Lua may run in it. The owner embeds it and may take it back. */
struct vm_hook {
    struct list node;
    void (*run)(struct vm_hook *hook);
};
void vm_at_close(struct vm *vm, struct vm_hook *hook);
void vm_forget_hook(struct vm_hook *hook);

/* Timers alive, for status: libraries count theirs up and down. */
void vm_count_timers(struct vm *vm, int delta);

/* False once the vm is closing: start no new work for it. */
bool vm_is_open(const struct vm *vm);

/* False once a newer script took over (its timers should not fire any more) or
 * the worker stops; what was begun goes on until the vm closes. */
bool vm_is_serving(const struct vm *vm);

/* Something that is no client's event has failed (what: static): tell the
 * script's onError, if it has one. */
void vm_complain(struct vm *vm, const char *what, const char *error);

#endif /* GW_WORKER_VM_H */
