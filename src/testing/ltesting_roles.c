/* What a test does with the world as a whole: let it come to rest, move its
 * clock, kill and start its roles, reload its scripts. */
#include "testing/ltesting_impl.h"

#include <stdlib.h>

#include "testing/sim.h"
#include "util/alloc.h"

/* sim:settle() -> false: the script does not come to rest */
static int sim_lua_settle(lua_State *L)
{
    lua_pushboolean(L, sim_settle(ltesting_check(L)->sim) == 0);
    return 1;
}

/* sim:turn() -> false when nothing is left to do */
static int sim_lua_turn(lua_State *L)
{
    lua_pushboolean(L, sim_turn(ltesting_check(L)->sim));
    return 1;
}

/* Is there nothing that the test must deal with: no question, no line of the
 * log, no bytes for a client? */
static bool is_quiet(lua_State *L, struct ltesting *t)
{
    bool quiet = t->log.len == 0;

    lua_rawgeti(L, LUA_REGISTRYINDEX, t->script.inbox);
    quiet = quiet && lua_rawlen(L, -1) == 0;
    lua_pop(L, 1);
    return quiet && !ltesting_clients_arrived(t);
}

/* sim:step(milliseconds, single) -> by how many the clock has moved: to the
 * first timer (that the test has something to do with, unless single), or by
 * all of them */
static int sim_lua_step(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);
    lua_Integer ms = luaL_checkinteger(L, 2);
    bool single = lua_toboolean(L, 3);
    uint64_t moved = 0;

    luaL_argcheck(L, ms >= 0, 2, "milliseconds expected");
    do {
        moved += sim_step(t->sim, (uint64_t)ms - moved);
    } while (sim_settle(t->sim) == 0 && !single && moved < (uint64_t)ms &&
             is_quiet(L, t));
    lua_pushinteger(L, (lua_Integer)moved);
    return 1;
}

/* sim:now() -> seconds since 1970 */
static int sim_lua_now(lua_State *L)
{
    lua_pushnumber(L, sim_wall(ltesting_check(L)->sim));
    return 1;
}

/* ---- roles ---- */

/* sim:gateways(), sim:workers() -> a list of whether each is there */
static int sim_lua_gateways(lua_State *L)
{
    const struct sim *s = ltesting_check(L)->sim;

    lua_newtable(L);
    for (size_t i = 0; i < sim_gateways(s); i++) {
        lua_pushboolean(L, sim_has_gateway(s, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int sim_lua_workers(lua_State *L)
{
    const struct sim *s = ltesting_check(L)->sim;

    lua_newtable(L);
    for (size_t i = 0; i < sim_workers(s); i++) {
        lua_pushboolean(L, sim_has_worker(s, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* sim:kill_gateway(i) */
static int sim_lua_kill_gateway(lua_State *L)
{
    struct sim *s = ltesting_check(L)->sim;

    sim_kill_gateway(s, ltesting_check_number(L, 2, sim_gateways(s)));
    return 0;
}

/* sim:start_gateway(i) -> true | nil, message */
static int sim_lua_start_gateway(lua_State *L)
{
    struct sim *s = ltesting_check(L)->sim;
    size_t i = ltesting_check_number(L, 2, sim_gateways(s));
    char err[SIM_ERR_SIZE];

    if (sim_open_gateway(s, i, err) < 0)
        return ltesting_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* sim:kill_worker(i) */
static int sim_lua_kill_worker(lua_State *L)
{
    struct sim *s = ltesting_check(L)->sim;

    sim_kill_worker(s, ltesting_check_number(L, 2, sim_workers(s)));
    return 0;
}

/* sim:start_worker(i) */
static int sim_lua_start_worker(lua_State *L)
{
    struct sim *s = ltesting_check(L)->sim;

    sim_open_worker(s, ltesting_check_number(L, 2, sim_workers(s)));
    return 0;
}

/* sim:open_programs() */
static int sim_lua_open_programs(lua_State *L)
{
    sim_open_programs(ltesting_check(L)->sim);
    return 0;
}

/* sim:stop_workers() */
static int sim_lua_stop_workers(lua_State *L)
{
    sim_stop_workers(ltesting_check(L)->sim);
    return 0;
}

/* sim:busy() -> does a worker still load its script, or end? */
static int sim_lua_busy(lua_State *L)
{
    lua_pushboolean(L, sim_is_busy(ltesting_check(L)->sim));
    return 1;
}

/* sim:together() -> has every role found the others? */
static int sim_lua_together(lua_State *L)
{
    lua_pushboolean(L, sim_is_together(ltesting_check(L)->sim));
    return 1;
}

/* sim:failure() -> why a script could not be loaded | nil */
static int sim_lua_failure(lua_State *L)
{
    lua_pushstring(L, sim_failure(ltesting_check(L)->sim));
    return 1;
}

/* sim:prepare(kind | nil, text | nil): begin a reload, of that kind of workers
 * or of all, with this text from now on */
static int sim_lua_prepare(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);
    const char *text = luaL_optstring(L, 3, NULL);
    size_t kind = SIM_ALL_KINDS;

    if (!lua_isnoneornil(L, 2))
        kind = ltesting_check_number(L, 2, sim_kinds(t->sim));
    luaL_argcheck(
        L, !text || kind != SIM_ALL_KINDS, 2, "whose script is this?");
    if (text) {
        t->next = xstrdup(text);
        t->kind = kind;
        sim_set_script(t->sim, kind, t->next);
    }
    sim_prepare(t->sim, kind);
    return 0;
}

/* sim:verdict() -> nil | why the old script goes on */
static int sim_lua_verdict(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);
    const char *why = sim_verdict(t->sim);
    char **text;

    if (t->next) {
        text = &t->texts[t->kind];
        free(why ? t->next : *text);
        *text = why ? *text : t->next;
        t->next = NULL;
        sim_set_script(t->sim, t->kind, *text);
    }
    lua_pushstring(L, why);
    return 1;
}

const luaL_Reg ltesting_roles[] = {
    {"busy", sim_lua_busy},
    {"failure", sim_lua_failure},
    {"gateways", sim_lua_gateways},
    {"kill_gateway", sim_lua_kill_gateway},
    {"kill_worker", sim_lua_kill_worker},
    {"now", sim_lua_now},
    {"open_programs", sim_lua_open_programs},
    {"prepare", sim_lua_prepare},
    {"settle", sim_lua_settle},
    {"start_gateway", sim_lua_start_gateway},
    {"start_worker", sim_lua_start_worker},
    {"step", sim_lua_step},
    {"stop_workers", sim_lua_stop_workers},
    {"together", sim_lua_together},
    {"turn", sim_lua_turn},
    {"verdict", sim_lua_verdict},
    {"workers", sim_lua_workers},
    {NULL, NULL},
};
