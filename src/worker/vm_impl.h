/* vm_impl.h - what the worker's own files know of a Lua state.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_VM_IMPL_H
#define GW_WORKER_VM_IMPL_H

#include <stdint.h>
#include <time.h>

#include "util/log.h"
#include "worker/coro.h"
#include "worker/heap.h"
#include "worker/session.h"
#include "worker/sources.h"
#include "worker/vm.h"
#include "worker/worker.h"

#define VM_ERROR_MAX 16384 /* bytes kept of a message with traceback */

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
    bool decides;          /* its script has onHandshake */
    int events_ref; /* registry: the table of callbacks, or the program */
    size_t timers;
    struct list hooks;
    struct session_hooks session;

    /* loading */
    struct turn_task loaded_task;
    vm_loaded_cb loaded;
    void *loaded_arg;
    char *error; /* owned; why loading failed */
    struct sources sources;

    /* coro.c */
    struct coro *running; /* NULL while no coroutine runs */
    struct list idle;     /* coroutines to use again */
    struct list busy;     /* running or waiting */
    size_t nidle;
    size_t nbusy;
    lua_Integer nstarted; /* so far */
    struct log_share slow;
    size_t nclients; /* of the busy ones, those that serve a client */
    struct turn_task quiet_task;
    vm_event_cb quiet; /* nclients fell to 0, told at the end of the turn */
    void *quiet_arg;
    struct turn_task finished_task;
    vm_event_cb finished; /* no coroutine and no timer was left */
    void *finished_arg;

    /* deadline.c; a signal handler looks at these */
    unsigned depth;        /* nested entries into Lua from C */
    lua_State *innermost;  /* the thread that runs while depth > 0 */
    uint64_t slice;        /* counts outermost entries */
    struct timespec began; /* the outermost one, to some milliseconds */
    uint64_t slice_seen;   /* the one that ran at the last tick … */
    unsigned ticks;        /* … and at so many before it */
    volatile bool overdue; /* the running slice passed its deadline */
    bool has_timer;
    timer_t timer;
};

/* Make a state, load the script in it and run its onWorkerStart. loaded() tells
 * the result at the end of a turn, never inside this call. Never NULL; end it
 * with vm_close(), also after a failure. */
struct vm *vm_open(
    const struct vm_env *env, vm_loaded_cb loaded, void *loaded_arg);

/* Cancel what waits, run the hooks, close the state. No callback of the vm runs
 * any more. Not while code runs in it. */
void vm_close(struct vm *vm);

/* About once a second. */
void vm_tick(struct vm *vm);

/* Run the script's onWorkerStop in a coroutine; done as in coro_start(). */
void vm_stop_script(struct vm *vm, coro_done_cb done, void *arg);

/* Tell once, at the end of a turn, when no coroutine serves a client. */
void vm_when_quiet(struct vm *vm, vm_event_cb quiet, void *arg);

/* Tell at the end of a turn when no coroutine and no timer is left. */
void vm_when_finished(struct vm *vm, vm_event_cb finished, void *arg);

/* A coroutine or a timer has ended: perhaps that was all. */
void vm_look_finished(struct vm *vm);

/* coro.c: cancel what waits: all, or only what serves clients. Their done
 * callbacks do not run. Not while code runs in the vm. Returns how many. */
size_t coro_cancel(struct vm *vm, bool clients_only);

/* coro.c: after the state is closed. */
void coro_free_idle(struct vm *vm);

/* coro.c: does a handler or the like run in this thread, or did one? Nobody but
 * the loop may go on with it: the operation that it waits for knows it. */
bool coro_owns(lua_State *L, const lua_State *thread);

/* coro.c: what was given to coro_start() as done_arg for the coroutine that
 * runs, if its done callback is this one; else NULL. */
void *coro_done_arg(lua_State *L, coro_done_cb done);

/* session.c: the continuation of every call into the script's callbacks: flush
 * the session of the client served. Returns no results. */
int session_end(lua_State *L, int status, lua_KContext ctx);

/* deadline.c: around each entry into Lua from C, which runs L. What enter
 * returns is handed to leave. Leave returns the seconds that were spent since
 * nothing ran, 0 within other entries. */
lua_State *deadline_enter(struct vm *vm, lua_State *L);
double deadline_leave(struct vm *vm, lua_State *outer);

/* Watch over what the calling thread runs in the vm, until close. */
void deadline_open(struct vm *vm);
void deadline_close(struct vm *vm);

/* Replace what would swallow the error or run code in other coroutines: pcall,
 * xpcall, load, coroutine.resume, close and wrap. Raises. */
void deadline_guard(lua_State *L);

/* callbacks.c: push the script's callback; false (and nothing pushed) when it
 * has none. */
bool callbacks_push(lua_State *L, const char *name);

/* callbacks.c: check the table of callbacks and remember it. Raises. */
void callbacks_check(lua_State *L);

#endif /* GW_WORKER_VM_IMPL_H */
