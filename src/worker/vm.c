/* What others may ask a Lua state for, and what it tells its owner: that no
 * client is served, that nothing is left to do, that the script fills its
 * memory. vm_open.c makes and ends it. */
#include "worker/vm.h"

#include <lauxlib.h>
#include <string.h>

#include "net/clock.h"
#include "worker/vm_impl.h"

#define GC_PAUSE 200           /* Lua's own: collect when doubled */
#define GC_SLACK (1024 * 1024) /* bytes of garbage not worth a round */

struct vm *vm_of(lua_State *L)
{
    return *(struct vm **)lua_getextraspace(L);
}

lua_State *vm_state(const struct vm *vm)
{
    return vm->L;
}

struct turn *vm_turn(const struct vm *vm)
{
    return vm->env.turn;
}

struct gateways *vm_gateways(const struct vm *vm)
{
    return vm->env.gateways;
}

unsigned vm_worker_index(const struct vm *vm)
{
    return vm->env.index;
}

const struct worker_conf *vm_conf(const struct vm *vm)
{
    return vm->env.conf;
}

const char *vm_lua_dir(const struct vm *vm)
{
    return vm->env.conf->lua_dir;
}

size_t vm_memory_max(const struct vm *vm)
{
    return vm->env.conf->memory_max;
}

struct shared *vm_shared(const struct vm *vm)
{
    return vm->env.conf->shared;
}

struct series *vm_series(const struct vm *vm)
{
    return vm->env.conf->series;
}

struct tally *vm_tally(const struct vm *vm, enum tallies_kind kind)
{
    struct tallies *all = vm->env.conf->tallies;

    return all ? &all->of[kind] : NULL;
}

size_t vm_shared_keys(const struct vm *vm)
{
    return vm->env.conf->shared_keys;
}

bool vm_is_program(const struct vm *vm)
{
    return vm->env.conf->words != NULL;
}

bool vm_has_system(const struct vm *vm)
{
    return discovery_is_possible(&vm->env.conf->discovery);
}

void vm_at_close(struct vm *vm, struct vm_hook *hook)
{
    list_push_back(&vm->hooks, &hook->node);
}

void vm_forget_hook(struct vm_hook *hook)
{
    list_remove(&hook->node);
}

void vm_count_timers(struct vm *vm, int delta)
{
    vm->timers = (size_t)((long)vm->timers + delta);
    vm_look_finished(vm);
}

bool vm_is_open(const struct vm *vm)
{
    return vm->open;
}

bool vm_is_serving(const struct vm *vm)
{
    return vm->open && vm->serving;
}

static void collect(struct vm *vm)
{
    lua_State *outer = deadline_enter(vm, vm->L);

    lua_gc(vm->L, LUA_GCCOLLECT);
    deadline_leave(vm, outer);
}

/* Collect garbage more seldom than Lua does while there is little else: every
 * round looks at all that lives, and a small script's libraries would be looked
 * at every thousand messages. A script that has set the pause itself is let
 * be. */
void vm_relax_gc(struct vm *vm)
{
    size_t slack = vm->heap.max / 16 < GC_SLACK ? vm->heap.max / 16 : GC_SLACK;
    int pause;

    collect(vm);
    pause = 100 + (int)(100 * slack / vm->heap.used);
    if (pause <= GC_PAUSE)
        return;
    vm->gc_relaxed_max = vm->heap.used + 2 * slack;
    pause = lua_gc(vm->L, LUA_GCSETPAUSE, pause < 1000 ? pause : 1000);
    if (pause != GC_PAUSE)
        lua_gc(vm->L, LUA_GCSETPAUSE, pause);
}

void vm_when_full(struct vm *vm, vm_event_cb full, void *arg)
{
    vm->full = full;
    vm->full_arg = arg;
}

static void tell_full(struct vm *vm)
{
    vm_event_cb full = vm->full;

    vm->full = NULL;
    vm->heap.max += vm->heap.max / 8;
    full(vm, vm->full_arg);
}

/* A quarter in use is enough to blame: a table with that many keys may need
 * three more of them to grow. With an eighth left at most, nothing in between
 * is a recovery. */
void vm_look_for_room(struct vm *vm)
{
    size_t max = vm->heap.max;
    bool in_a_row = vm->nstarted - vm->full_at < VM_FULL_ROW;

    vm->heap.refused = false;
    vm->starved = 0;
    if (!vm->full)
        return;
    collect(vm);
    vm->full_at = vm->nstarted;
    if (vm->heap.used < max / 4)
        vm->full_errors = 0;
    else if (in_a_row || vm->heap.used > max / 8 * 7)
        vm->full_errors++;
    else
        vm->full_errors = 1;
    if (vm->full_errors >= VM_FULL_ERRORS)
        tell_full(vm);
}

/* Live data leave so little that whoever wants more collects first, again and
 * again: no handler fails, but each takes ten or a hundred times as long. Where
 * there is much garbage, too, a collection is as good here as anywhere. */
static void look_for_scarcity(struct vm *vm)
{
    uint64_t now = clock_now(turn_loop(vm->env.turn));
    uint64_t ms = now - vm->scarce_since;

    if (ms < VM_SCARCE_MS)
        return;
    vm->scarce_looks =
        vm->scarce * 1000 > (double)ms / 2 ? vm->scarce_looks + 1 : 0;
    vm->scarce = 0;
    vm->scarce_since = now;
    if (vm->scarce_looks < VM_SCARCE_LOOKS || !vm->full)
        return;
    vm->scarce_looks = 0;
    collect(vm);
    if (vm->heap.used > vm->heap.max / 8 * 7)
        tell_full(vm);
}

void vm_tick(struct vm *vm)
{
    look_for_scarcity(vm);
    if (vm->gc_relaxed_max == 0 || vm->heap.used <= vm->gc_relaxed_max)
        return;
    vm->gc_relaxed_max = 0;
    lua_gc(vm->L, LUA_GCSETPAUSE, GC_PAUSE);
}

static void on_quiet(struct turn_task *task)
{
    struct vm *vm = LIST_ENTRY(task, struct vm, quiet_task);
    vm_event_cb quiet = vm->quiet;

    if (vm->nclients > 0 || vm->held || !quiet)
        return;
    vm->quiet = NULL;
    quiet(vm, vm->quiet_arg);
}

void vm_when_quiet(struct vm *vm, vm_event_cb quiet, void *arg)
{
    vm->quiet = quiet;
    vm->quiet_arg = arg;
    if (vm->nclients == 0)
        turn_schedule(vm->env.turn, &vm->quiet_task);
}

void vm_hold_quiet(struct vm *vm, bool hold)
{
    vm->held = hold;
    if (!hold && vm->nclients == 0 && vm->quiet)
        turn_schedule(vm->env.turn, &vm->quiet_task);
}

static void on_finished(struct turn_task *task)
{
    struct vm *vm = LIST_ENTRY(task, struct vm, finished_task);

    if (vm->nbusy == 0 && vm->timers == 0)
        vm->finished(vm, vm->finished_arg);
}

/* Behind all that this turn has begun: it may be a function that was spawned
 * just now. */
void vm_look_finished(struct vm *vm)
{
    if (!vm->finished)
        return;
    turn_cancel(&vm->finished_task);
    turn_schedule(vm->env.turn, &vm->finished_task);
}

void vm_when_finished(struct vm *vm, vm_event_cb finished, void *arg)
{
    vm->finished = finished;
    vm->finished_arg = arg;
    vm_look_finished(vm);
}

void vm_init(struct vm *vm, const struct vm_env *env)
{
    vm->env = *env;
    vm->heap.max = env->conf->memory_max;
    vm->open = true;
    vm->serving = true;
    vm->events_ref = LUA_NOREF;
    vm->quiet_task.run = on_quiet;
    vm->finished_task.run = on_finished;
    list_init(&vm->hooks);
    list_init(&vm->quiet_task.node);
    list_init(&vm->finished_task.node);
    list_init(&vm->idle);
    list_init(&vm->busy);
}

static int on_panic(lua_State *L)
{
    const char *message = lua_tostring(L, -1);

    log_error("lua error outside of a protected call: %s",
        message ? message : "(not a string)");
    return 0; /* Lua aborts */
}

static void on_warning(void *ud, const char *text, int to_be_continued)
{
    char quoted[LOG_QUOTE_SIZE];

    log_warn("lua warning: %s", log_quote(quoted, text, strlen(text)));
}

bool vm_make_state(struct vm *vm)
{
    vm->L = lua_newstate(heap_alloc, &vm->heap);
    if (!vm->L)
        return false;
    *(struct vm **)lua_getextraspace(vm->L) = vm;
    lua_atpanic(vm->L, on_panic);
    lua_setwarnf(vm->L, on_warning, vm);
    return true;
}

void vm_run_hooks(struct vm *vm)
{
    turn_cancel(&vm->quiet_task);
    vm->finished = NULL;
    turn_cancel(&vm->finished_task);
    while (!list_empty(&vm->hooks)) {
        struct vm_hook *hook = LIST_ENTRY(vm->hooks.next, struct vm_hook, node);

        list_remove(&hook->node);
        hook->run(hook);
    }
}
