/* coro.h - pooled Lua coroutines that can wait for the loop.
 *
 * Every piece of script code runs in one: an event's handler, a timer's
 * callback. It has the Lua state to itself until it ends or awaits.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_CORO_H
#define GW_WORKER_CORO_H

#include <lua.h>
#include <stdbool.h>

#include "util/list.h"
#include "wire/client_id.h"
#include "wire/frame.h"
#include "worker/vm.h"

struct coro;

/* The client event that a coroutine serves. */
struct coro_client {
    struct client_id id;
    uint32_t client_ip;                 /* host order; 0 for IPv6 */
    uint8_t client_ip6[FRAME_IPV6_LEN]; /* all 0 for IPv4 or not known */
    uint16_t client_port;
    uint16_t gateway_port; /* the port that the client connected to */
    /* Served for a connection that is no client yet: the script does not see
     * it as one, but a script that ends lets it finish. */
    bool nobody;
    bool streams;     /* it has an event stream */
    bool has_session; /* lualib's mark: false when the event begins */
};

/* Ended: error NULL, or its message with traceback; borrowed. */
typedef void (*coro_done_cb)(const char *error, void *arg);

/* Run body(L) in a pooled coroutine, now, until it ends or waits. body finds
 * arg as light userdata at index 1, pushes what it needs and calls the script
 * with lua_callk(); what it raises is caught. done runs when it ended, perhaps
 * inside this call. client is copied; NULL when it serves none. what is for the
 * log, static: the callback's name in Events, or words. */
void coro_start(struct vm *vm, const char *what, lua_CFunction body, void *arg,
    const struct coro_client *client, coro_done_cb done, void *done_arg);

/* The running coroutine. Raises "… cannot wait here: …" when L cannot yield: in
 * a metamethod, a sort comparison, the script's own coroutine, at load time. */
struct coro *coro_check(lua_State *L);

/* A protected call of a library's own, that does not raise again what it
 * caught, failed with this status: the error on top becomes what people shall
 * read. */
void coro_explain_failure(lua_State *L, int status);

/* A number that only what runs now has, though its thread ran something else
 * before; 0 at load time. Also from the script's own coroutines. */
lua_Integer coro_number(lua_State *L);

/* The client that the running code serves; NULL in timers and at load time.
 * Also from the script's own coroutines. Borrowed; gone with the event. */
struct coro_client *coro_client(lua_State *L);

/* What the running code is, as coro_start() was told; NULL at load time. */
const char *coro_what(lua_State *L);

/* Wait: return coro_await(…) from a lua_CFunction. Yields; after coro_wake()
 * done(L, LUA_YIELD, 0) continues inside the coroutine and may push results
 * or raise. op is on top of the stack as light or full userdata if done wants
 * it. cancel(op) is called instead when the coroutine will never go on (its
 * vm is closing): the operation must not call coro_wake() afterwards. */
typedef void (*coro_cancel_cb)(void *op);
int coro_await(lua_State *L, struct coro *co, coro_cancel_cb cancel, void *op,
    lua_KFunction done);

/* Go on now, from a callback of the loop (never from inside Lua code). co may
 * be gone after the call. */
void coro_wake(struct coro *co);

/* What must end with the coroutine (a transaction that it left open): run(hook)
 * is called once when it has ended or never goes on, no Lua may run in it. The
 * owner embeds it and may take it back with list_remove(&hook->node). */
struct coro_hook {
    struct list node;
    void (*run)(struct coro_hook *hook);
};
void coro_at_end(struct coro *co, struct coro_hook *hook);

/* A part of a coroutine's work that can be cut short. From coro_limit_pass()
 * to coro_limit_end() every wait raises the limit's error, also the one that is
 * under way, whose operation is cancelled. Of several the outermost raises. The
 * owner embeds it and ends it before or when the coroutine ends (coro_at_end())
 * and nobody else touches its fields. */
struct coro_limit {
    struct list node; /* in the coroutine's */
    struct coro *co;  /* borrowed */
    int error_ref;    /* in the registry: what is raised */
    bool passed;
};

/* Begin it in co, which runs L; the error is popped off the stack. */
void coro_limit_begin(lua_State *L, struct coro *co, struct coro_limit *limit);
void coro_limit_end(struct coro_limit *limit);

/* From a callback of the loop, as coro_wake(): limit may be gone afterwards. */
void coro_limit_pass(struct coro_limit *limit);

#endif /* GW_WORKER_CORO_H */
