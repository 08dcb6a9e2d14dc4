/* ltesting_impl.h - what the files of gwrun.testing.core share: the userdata,
 * and the methods that each adds.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_TESTING_LTESTING_IMPL_H
#define GW_TESTING_LTESTING_IMPL_H

#include <lauxlib.h>
#include <stdbool.h>
#include <stddef.h>

#include "testing/lscript.h"
#include "util/buf.h"
#include "util/log.h"

struct sim;

struct ltesting {
    struct sim *sim; /* owned; NULL once closed */
    struct lscript script;
    struct buf log;  /* owned; lines */
    char **texts;    /* owned, and what they point to; of each kind's script;
                        NULL: it is in a file */
    size_t nkinds;   /* of workers */
    char *next;      /* owned; of the script that is being prepared … */
    size_t kind;     /* … of workers of this kind */
    struct buf ends; /* owned; bool: is a client's end this descriptor? */
    int ready;       /* owned; epoll: of the ends, those that are read */
};

/* The userdata at index 1; raises when it is closed. Every function that may
 * run script code comes through here: what it asks for goes to the state that
 * calls. */
struct ltesting *ltesting_check(lua_State *L);

/* The number of a gateway or worker, from 1, as an index. */
size_t ltesting_check_number(lua_State *L, int arg, size_t count);

/* nil, message */
int ltesting_fail(lua_State *L, const char *message);

/* ltesting_roles.c: time, and who runs */
extern const luaL_Reg ltesting_roles[];

/* ltesting_clients.c: the clients' ends. Open: 0 or -errno; close closes all of
 * them. */
extern const luaL_Reg ltesting_clients[];
int ltesting_clients_open(struct ltesting *t);
void ltesting_clients_close(struct ltesting *t);

/* Is there an end with something to receive? */
bool ltesting_clients_arrived(const struct ltesting *t);

/* ltesting_scripts.c: what scripts ask, answer and log. on_log is a
 * log_sink_cb; its arg is the struct ltesting. */
extern const luaL_Reg ltesting_scripts[];
void ltesting_scripts_on_log(
    enum log_level level, const char *who, const char *text, void *arg);

#endif /* GW_TESTING_LTESTING_IMPL_H */
