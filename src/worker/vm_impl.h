/* vm_impl.h - what the worker's own files know of a Lua state.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_VM_IMPL_H
#define GW_WORKER_VM_IMPL_H

#include <stdint.h>
#include <time.h>

#include "util/log.h"
#include "worker/heap.h"
#include "worker/vm.h"
#include "worker/worker_conf.h"

struct buf;
struct coro;
struct handshakes_rules;
struct requests_hooks;
struct session_hooks;
struct sources;

#define VM_ERROR_MAX 16384 /* bytes kept of a message with traceback */

/* A script whose live data leave no room is of no use any more: so many errors
 * for want of memory in a row say so. */
#define VM_FULL_ERRORS 3
#define VM_FULL_ROW    100 /* handlers between two of them: not in a row */
/* So do so many looks of vm_tick() in a row that find more than half of the
 * time spent in handlers that had to collect before they went on. */
#define VM_SCARCE_LOOKS 10
#define VM_SCARCE_MS    1000 /* between two of them, at least */

struct vm_env {
    struct turn *turn;         /* borrowed, like all of these; */
    struct gateways *gateways; /* they outlive the vm */
    const struct worker_conf *conf;
    unsigned index;
    bool replay; /* run what conf->sources_fd keeps */
};

/* error NULL: the script is loaded and its onWorkerStart (or the program) has
 * returned. Else file, line, message and traceback, borrowed. May close the vm.
 */
typedef void (*vm_loaded_cb)(struct vm *vm, const char *error, void *arg);
typedef void (*vm_event_cb)(struct vm *vm, void *arg);

struct vm {
    lua_State *L; /* owned; the main thread: only protected calls run in it */
    struct vm_env env;
    bool open;
    bool serving;          /* the owner's word: false once it was replaced */
    struct heap heap;      /* of L */
    size_t gc_relaxed_max; /* bytes in use that end relax_gc(); 0: ended */
    unsigned starved;      /* errors for want of memory since the last look */
    unsigned full_errors;  /* … in a row, with the memory full of live data */
    lua_Integer full_at;   /* nstarted at the last one */
    double scarce;         /* seconds in handlers that had to collect, … */
    uint64_t scarce_since; /* … since this clock_now() */
    unsigned scarce_looks; /* … in a row */
    vm_event_cb full;      /* NULL: nobody wants to know, or it was told */
    void *full_arg;
    unsigned callbacks; /* of enum gateways_callback, that its script has */
    bool complains;     /* it has onError */
    bool wants_gone, wants_gap;    /* … onCellGone, onClusterGap */
    struct complaints *complaints; /* borrowed; NULL: errors are logged only */
    int events_ref; /* registry: the table of callbacks, or the program */
    size_t timers;
    struct list hooks;
    const struct session_hooks *session;   /* borrowed */
    const struct requests_hooks *requests; /* borrowed; NULL: none */
    /* handshakes_read_fn; NULL: none */
    const char *(*read_answer)(lua_State *L, int index,
        const struct handshakes_rules *rules, struct buf *out);

    /* loading */
    struct turn_task loaded_task;
    vm_loaded_cb loaded;
    void *loaded_arg;
    char *error;             /* owned; why loading failed */
    struct sources *sources; /* owned */

    /* coro.c */
    struct coro *running; /* NULL while no coroutine runs */
    struct list idle;     /* coroutines to use again */
    struct list busy;     /* running or waiting */
    size_t nidle;
    size_t nbusy;
    lua_Integer nstarted; /* so far */
    struct log_share slow;
    double spent;      /* seconds computed, to some milliseconds, … */
    uint64_t spent_in; /* … in the turn of this clock_now() */
    size_t nclients;   /* of the busy ones, those that serve a client */
    struct turn_task quiet_task;
    bool held;         /* dispatch.c has more for clients, for the next turn */
    vm_event_cb quiet; /* nclients fell to 0, told at the end of the turn */
    void *quiet_arg;
    struct turn_task finished_task;
    vm_event_cb finished; /* no coroutine and no timer was left */
    void *finished_arg;

    /* deadline.c; a signal handler looks at these */
    unsigned depth;         /* nested entries into Lua from C */
    lua_State *innermost;   /* the thread that runs while depth > 0; or NULL */
    uint64_t slice;         /* counts outermost entries */
    struct timespec began;  /* the outermost one, to some milliseconds */
    uint64_t slice_seen;    /* the one that ran at the last tick … */
    unsigned ticks;         /* … and at so many before it */
    volatile bool overdue;  /* the running slice passed its deadline */
    char *overdue_error;    /* owned; what people shall read of it */
    uint64_t overdue_slice; /* the slice that it tells of */
    bool has_timer;
    timer_t timer;
};

/* For vm_open.c: the vm has no Lua state yet; … */
void vm_init(struct vm *vm, const struct vm_env *env);

/* … is to have one; false: there is no memory for it; … */
bool vm_make_state(struct vm *vm);

/* … is loaded: collect garbage as seldom as a small script allows; … */
void vm_relax_gc(struct vm *vm);

/* … and is about to be closed: what was to be told before that. */
void vm_run_hooks(struct vm *vm);

/* About once a second. */
void vm_tick(struct vm *vm);

/* Tell once that live data fill the script's memory; inside the call that
 * started or woke the coroutine that failed for it, or inside vm_tick(). full
 * may not close the vm. From then on there is an eighth more of it, so that
 * what waits can end. */
void vm_when_full(struct vm *vm, vm_event_cb full, void *arg);

/* Handlers failed for want of memory (vm->starved): find out whether a
 * collection makes room. Not while code runs in the vm. */
void vm_look_for_room(struct vm *vm);

/* Tell once, at the end of a turn, when no coroutine serves a client. */
void vm_when_quiet(struct vm *vm, vm_event_cb quiet, void *arg);

/* Whether it is to wait for more that comes on a later turn. */
void vm_hold_quiet(struct vm *vm, bool hold);

/* Tell at the end of a turn when no coroutine and no timer is left. */
void vm_when_finished(struct vm *vm, vm_event_cb finished, void *arg);

/* A coroutine or a timer has ended: perhaps that was all. */
void vm_look_finished(struct vm *vm);

/* session.c: the continuation of every call into the script's callbacks: flush
 * the session of the client served. Returns no results. */
int session_end(lua_State *L, int status, lua_KContext ctx);
/* The same before a wait, as a lua_CFunction. */
int session_flush(lua_State *L);

/* deadline.c: around each entry into Lua from C, which runs L. What enter
 * returns is handed to leave. Leave returns the seconds that were spent since
 * nothing ran, 0 within other entries. */
lua_State *deadline_enter(struct vm *vm, lua_State *L);
double deadline_leave(struct vm *vm, lua_State *outer);

/* What the last slice exceeded and where, with traceback; NULL when it did not.
 * Lua calls that error LUA_ERRMEM. Borrowed until the next slice. */
const char *deadline_error(const struct vm *vm);

/* Watch over what the calling thread runs in the vm, until close. */
void deadline_open(struct vm *vm);
void deadline_close(struct vm *vm);

/* Replace what would swallow the error, or run code in other coroutines or
 * where no hook is called: pcall, xpcall, load, coroutine.resume, close and
 * wrap, setmetatable. Raises. */
void deadline_guard(lua_State *L);

/* callbacks.c: push the script's callback; false (and nothing pushed) when it
 * has none. */
bool callbacks_push(lua_State *L, const char *name);

/* callbacks.c: raise what is wrong with what that callback has returned: text
 * that goes on behind its name. It has ended, so its first line is the one that
 * can be named. */
int callbacks_raise(lua_State *L, const char *name, const char *what);

/* callbacks.c: check the table of callbacks and remember it. Raises. */
void callbacks_check(lua_State *L);

#endif /* GW_WORKER_VM_IMPL_H */
