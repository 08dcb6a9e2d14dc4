/* worker.h - the role that runs the script: one Lua state, all gateways.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_WORKER_H
#define GW_WORKER_WORKER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "engine/engine.h"
#include "net/reach.h"
#include "util/histogram.h"
#include "worker/worker_conf.h"

struct worker_events {
    /* The script is loaded and its onWorkerStart has returned. */
    void (*on_ready)(void *arg);
    /* The first script could not be loaded: file, line, message, traceback. The
     * worker is of no use and should be freed on a later turn. */
    void (*on_failed)(const char *message, void *arg);
    /* After worker_stop(). */
    void (*on_stopped)(void *arg);
    /* The script's live data fill its memory, handler after handler fails;
     * message says so for people. The worker begins no event any more: stop it
     * and start another one. NULL: it goes on and fails. */
    void (*on_full)(const char *message, void *arg);
};

struct worker_status {
    const char *name;
    unsigned index;
    size_t gateways; /* connected, of those known */
    size_t gateways_known;
    size_t gateways_silent;   /* of those connected */
    size_t registers_missing; /* not connected */
    size_t clients;           /* with a mailbox at present */
    size_t queued;            /* events in mailboxes */
    size_t coroutines;        /* running or waiting */
    size_t timers;
    size_t memory;         /* bytes of the Lua state(s) */
    uint64_t events;       /* events run so far */
    uint64_t forgotten;    /* queued ones whose gateway was lost */
    uint64_t skipped;      /* onConnect and onClose that had begun elsewhere */
    uint64_t cut_off;      /* whose handlers a reload did not wait for */
    uint64_t errors;       /* events that raised an error */
    uint64_t sends;        /* commands sent */
    uint64_t sends_failed; /* not taken: no such gateway, link full */
    uint64_t sends_lost;  /* taken, and not known to be run at the link's end */
    unsigned generation;  /* of the script, 1 + reloads */
    size_t shared_keys;   /* in the table of conf->shared; 0 without one */
    uint64_t shared_full; /* calls that it had no room for */
    struct histogram event_times;    /* if conf->measures */
    struct histogram memory_sampled; /* filled by whoever looks once a second */
    struct engine_counts engine;     /* to other cells */
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

/* The process is about to be killed because w does not come back to its loop:
 * what hangs it shall not hang another one. For a signal handler. */
void worker_tell_hanging(const struct worker *w);

/* The script that serves, or NULL: not yet, or no more. Gone at the next
 * reload. */
struct vm *worker_vm(const struct worker *w);

void worker_status(const struct worker *w, struct worker_status *out);

/* Each link to a gateway that is not as it should be. */
void worker_report(const struct worker *w, reach_link_cb each, void *arg);

#endif /* GW_WORKER_WORKER_H */
