/* worker.h - the role that runs the script: one Lua state, all gateways.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_WORKER_H
#define GW_WORKER_WORKER_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define WORKER_MEMORY_MAX      (256 * 1024 * 1024) /* bytes of a Lua state */
#define WORKER_HANDLER_TIMEOUT 10.0 /* CPU seconds without a wait */
#define WORKER_SLOW_HANDLER    0.1  /* seconds without a wait */
#define WORKER_QUEUE_MAX       (64 * 1024 * 1024) /* bytes in mailboxes */
#define WORKER_GATEWAY_HIGH_WATER                       \
    (10 * 1024 * 1024)         /* bytes queued per link \
                                */
#define WORKER_DRAIN_TIME 30.0 /* seconds an old script may finish in */

struct shared;

/* The worker group of the configuration. Borrowed; outlives the workers. */
struct worker_conf {
    const char *name;
    const char *script;        /* path of events.lua */
    const char *script_text;   /* instead of what is in that file, for tests;
                                  NULL: the file */
    const char *event_handler; /* global table with the callbacks: "Events" */
    const char *const *register_addresses; /* NULL-terminated */
    const char *secret_key;                /* "" for none */
    size_t memory_max;
    double handler_timeout;
    double slow_handler; /* longer is a line in the log; 0: never */
    size_t queue_max;
    double drain_time;
    size_t gateway_high_water; /* bytes queued per gateway link */
    /* NULL, or the words that a program gets as its arguments:
     * worker/program.h; NULL-terminated */
    const char *const *words;
    const char *lua_dir; /* folder of the Lua files shipped with gwrun */
    int sources_fd;      /* memory that keeps the script (sources.h); 0: none */
    struct shared *shared; /* proc/shared.h; NULL: each state has its own */
    /* Open gwrun's libraries in a new state (lualib/linit.h); runs protected,
     * with vm_of(L) set. */
    void (*open_libs)(lua_State *L);
};

struct worker_events {
    /* The script is loaded and its onWorkerStart has returned. */
    void (*on_ready)(void *arg);
    /* The first script could not be loaded: file, line, message, traceback. The
     * worker is of no use and should be freed on a later turn. */
    void (*on_failed)(const char *message, void *arg);
    /* After worker_stop(). */
    void (*on_stopped)(void *arg);
};

struct worker_status {
    const char *name;
    unsigned index;
    size_t gateways; /* connected, of those known */
    size_t gateways_known;
    size_t registers_missing; /* not connected */
    size_t clients;           /* with a mailbox at present */
    size_t queued;            /* events in mailboxes */
    size_t coroutines;        /* running or waiting */
    size_t timers;
    size_t memory;         /* bytes of the Lua state(s) */
    uint64_t events;       /* events run so far */
    uint64_t forgotten;    /* queued ones whose gateway was lost */
    uint64_t cut_off;      /* whose handlers a reload did not wait for */
    uint64_t errors;       /* events that raised an error */
    uint64_t sends;        /* commands sent */
    uint64_t sends_failed; /* not taken: no such gateway, link full */
    unsigned generation;   /* of the script, 1 + reloads */
};

struct vm;
struct worker;

/* Begin: load the script, run onWorkerStart, then join the system. The result
 * comes by events. index is 0 … count-1 in its group. */
struct worker *worker_new(uv_loop_t *loop, const struct worker_conf *conf,
    unsigned index, const struct worker_events *events, void *arg);

/* Reload, phase one: load the script into a fresh state and run its
 * onWorkerStart beside the serving one. cb runs once, on a later turn; message
 * is NULL when it succeeded, else file, line, message and traceback (and the
 * new state is closed already). -EALREADY while one is being prepared or
 * waits for its verdict. */
typedef void (*worker_prepared_cb)(const char *message, void *arg);
int worker_prepare(struct worker *w, worker_prepared_cb cb, void *arg);

/* Phase two: new events go to the new state; the old one finishes its
 * coroutines (drain_time), then its onWorkerStop runs and it is closed.
 * Harmless when worker_stop() came first. */
void worker_commit(struct worker *w);

/* Or: close the new state. Also while it is still being prepared: then the
 * callback of worker_prepare() does not run any more. */
void worker_abort(struct worker *w);

/* Take no new events, finish those that are there (at most drain_time
 * seconds), run onWorkerStop, leave the gateways, then on_stopped(). */
void worker_stop(struct worker *w, double drain_time);

/* At once, no script code runs. Not inside a callback. Handles close on later
 * turns. */
void worker_free(struct worker *w);

/* The script that serves, or NULL: not yet, or no more. Gone at the next
 * reload. */
struct vm *worker_vm(const struct worker *w);

void worker_status(const struct worker *w, struct worker_status *out);

#endif /* GW_WORKER_WORKER_H */
