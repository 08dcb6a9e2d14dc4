/* program.h - runs one Lua program to its end, with all that scripts have: for
 * gwrun exec, and for programs that the master keeps running.
 *
 * It has no callbacks and no events; its main chunk runs in a coroutine and may
 * wait. It joins the system as a GatewayClient does: commands and queries to
 * every gateway, unseen by clients and workers.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_PROGRAM_H
#define GW_WORKER_PROGRAM_H

#include <lua.h>
#include <uv.h>

#include "net/reach.h"
#include "worker/worker_conf.h"

#define PROGRAM_JOIN_MS 3000 /* then it begins without the system */

struct program;

/* It has returned, and no function that it spawned and no timer is left: error
 * NULL, status 0; or it called program_exit(). Or its main chunk failed: error
 * is message and traceback, borrowed. */
typedef void (*program_ended_cb)(int status, const char *error, void *arg);

/* Join the registers (if there are any), then run conf->script with
 * conf->words; what conf says about events is not used. conf is borrowed and
 * outlives it. The end is told once, on a later turn. */
struct program *program_new(uv_loop_t *loop, const struct worker_conf *conf,
    program_ended_cb ended, void *arg);

/* What it sent is still delivered. Not inside a callback. Handles close on
 * later turns. */
void program_free(struct program *p);

struct program_status {
    size_t gateways; /* connected, of those known */
    size_t gateways_known;
    size_t gateways_silent;
    size_t registers_missing; /* not connected */
    size_t coroutines;        /* running or waiting */
    size_t timers;
    size_t memory;         /* bytes of the Lua state */
    uint64_t sends;        /* commands sent */
    uint64_t sends_failed; /* not taken: no such gateway, link full */
};

void program_status(const struct program *p, struct program_status *out);

/* Each link to a gateway that is not as it should be. */
void program_report(const struct program *p, reach_link_cb each, void *arg);

/* End the program that L belongs to at the end of this turn: return
 * program_exit(L, status) from a lua_CFunction. Raises where nothing can wait.
 */
int program_exit(lua_State *L, int status);

/* NULL, or why a Lua file does not compile: file:line and a message, which the
 * caller frees. */
char *program_try_compile(const char *path);

#endif /* GW_WORKER_PROGRAM_H */
