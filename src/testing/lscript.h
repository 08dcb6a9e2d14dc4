/* lscript.h - the script's side of a test: what a worker's Lua state has more
 * in gwrun test than elsewhere.
 *
 * lua/gwrun/testing_script.lua makes os.time() and the fakes of mysql, redis
 * and http of it. What scripts ask for collects in the test's Lua state.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_TESTING_LSCRIPT_H
#define GW_TESTING_LSCRIPT_H

#include <lua.h>
#include <stdbool.h>

#include "util/list.h"

struct worker_conf;

/* What all states of a test share; sim_arg() of their loop. */
struct lscript {
    lua_State *test;    /* borrowed; the test's state, while it may be used */
    int inbox;          /* reference in its registry: the list of questions */
    struct list states; /* of the scripts */
    struct list asks;   /* that wait for an answer */
    lua_Integer last;   /* id of a question */
    struct coverage *coverage; /* borrowed; NULL: nobody asks */
};

/* worker_conf.open_libs of a test. */
void lscript_open_libs(lua_State *L);

/* Answer question id with the values from index first to the top of the test's
 * state: a boolean, then what ask() returns, or raises when it is false. The
 * script goes on inside this call. False: nobody waits for it any more. */
bool lscript_answer(struct lscript *ls, lua_Integer id, int first);

/* Begin to run the function that testing_script.lua returned, in a coroutine of
 * the worker of conf with that index, with the values from index first to the
 * top of the test's state. False: no such worker. */
bool lscript_run(struct lscript *ls, const struct worker_conf *conf,
    unsigned index, int first);

#endif /* GW_TESTING_LSCRIPT_H */
