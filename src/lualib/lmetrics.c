/* Names and labels are checked, and put into the form in which they are told,
 * by lua/gwrun/metrics.lua; here is only the way into memory. Where nobody
 * looks (there is no operators' port) a state has memory of its own, so that
 * scripts need not know. */
#include "lualib/lmetrics.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "lualib/lvalue.h"
#include "proc/series.h"
#include "util/log.h"
#include "worker/vm.h"

#define FULL_MS 60000 /* between two lines that tell of refused series */

/* One per state, a userdata: upvalue 1 of all functions. */
struct lmetrics {
    struct series *series; /* borrowed; or a userdata of the state's own */
    struct log_share full; /* lines that say so */
};

static struct lmetrics *get(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int fail(lua_State *L, int result)
{
    if (result == -ENOSPC && log_may(&get(L)->full, NULL, 1, FULL_MS))
        log_warn("gwrun.metrics is full, refusing new series max=%d "
                 "remedy=\"labels with fewer values\"",
            SERIES_MAX);
    lua_pushstring(L, result == -ENOSPC ? "metrics: there are too many"
                      : result == -EEXIST
                          ? "metrics: there is one of another type"
                          : "metrics: the text is too long");
    return lvalue_fail_with(L, result);
}

static int push_index(lua_State *L, int result)
{
    if (result < 0)
        return fail(L, result);
    lua_pushinteger(L, result);
    return 1;
}

/* family(type, name, help) -> index | nil, message, code */
static int metrics_family(lua_State *L)
{
    static const char *const types[] = {"counter", "gauge", "histogram", NULL};
    int type = luaL_checkoption(L, 1, NULL, types);

    return push_index(L, series_family(get(L)->series, (enum series_type)type,
                             luaL_checkstring(L, 2), luaL_checkstring(L, 3)));
}

/* row(family, labels) -> index | nil, message, code */
static int metrics_row(lua_State *L)
{
    lua_Integer family = luaL_checkinteger(L, 1);
    size_t len;
    const char *labels = luaL_checklstring(L, 2, &len);

    luaL_argcheck(
        L, family >= 0 && family < SERIES_FAMILIES_MAX, 1, "no family");
    return push_index(
        L, series_row(get(L)->series, (unsigned)family, labels, len));
}

static unsigned check_row(lua_State *L)
{
    lua_Integer row = luaL_checkinteger(L, 1);

    luaL_argcheck(L, row >= 0 && row < SERIES_MAX, 1, "no series");
    return (unsigned)row;
}

static int metrics_add(lua_State *L)
{
    series_add(get(L)->series, check_row(L), luaL_checknumber(L, 2));
    return 0;
}

static int metrics_set(lua_State *L)
{
    series_set(get(L)->series, check_row(L), luaL_checknumber(L, 2));
    return 0;
}

static int metrics_observe(lua_State *L)
{
    series_observe(get(L)->series, check_row(L), luaL_checknumber(L, 2));
    return 0;
}

/* get(row) -> number */
static int metrics_get(lua_State *L)
{
    lua_pushnumber(L, series_number(&get(L)->series->rows[check_row(L)]));
    return 1;
}

void lmetrics_push(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"family", metrics_family},
        {"row", metrics_row},
        {"add", metrics_add},
        {"set", metrics_set},
        {"observe", metrics_observe},
        {"get", metrics_get},
        {NULL, NULL},
    };
    struct lmetrics *m;

    luaL_newlibtable(L, functions);
    m = lua_newuserdatauv(L, sizeof(*m), 1);
    memset(m, 0, sizeof(*m));
    m->series = vm_series(vm_of(L));
    if (!m->series) {
        m->series = lua_newuserdatauv(L, sizeof(*m->series), 0);
        memset(m->series, 0, sizeof(*m->series));
        lua_setiuservalue(L, -2, 1);
    }
    luaL_setfuncs(L, functions, 1);
}
