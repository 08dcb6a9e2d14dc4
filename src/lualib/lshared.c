/* Checks and converts; what is shared, and its locking, is proc/shared.c's.
 * Without a table of the machine's (gwrun exec beside no system) a state makes
 * one of its own. */
#include "lualib/lshared.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "lualib/lnumber.h"
#include "lualib/lvalue.h"
#include "proc/shared.h"
#include "util/log.h"
#include "worker/vm.h"

#define SECONDS_MAX 1e9
#define FULL_MS     60000 /* between two lines that tell of a full table */

/* One per state, a userdata: upvalue 1 of all functions. */
struct lshared {
    struct vm_hook hook;
    struct shared *shared; /* borrowed, or own */
    struct shared *own;    /* owned; NULL when the worker has one */
    struct log_share full; /* lines that say so */
};

static struct lshared *get_lshared(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct shared *get_shared(lua_State *L)
{
    struct lshared *ls = get_lshared(L);

    if (!ls->shared)
        luaL_error(L, "there is no memory to share");
    return ls->shared;
}

static struct shared_key check_key(lua_State *L)
{
    struct shared_key key;

    key.text = lnumber_checklstring(L, 1, &key.len);
    luaL_argcheck(L, key.len <= SHARED_KEY_MAX, 1, "key of more than 64 bytes");
    return key;
}

/* A float without a fraction is kept as an integer: cjson and arithmetic make
 * such floats, and cas() and incr() shall take them for the number they are. */
static void check_value(lua_State *L, int arg, struct shared_value *out)
{
    bool is_number = lua_type(L, arg) == LUA_TNUMBER;
    int is_integer = 0;
    const char *text;

    if (is_number)
        out->integer = lua_tointegerx(L, arg, &is_integer);
    if (is_integer) {
        out->type = SHARED_INTEGER;
    } else if (is_number) {
        out->type = SHARED_FLOAT;
        out->number = lua_tonumber(L, arg);
    } else {
        luaL_argcheck(L, lua_type(L, arg) == LUA_TSTRING, arg,
            "string or number expected");
        text = lua_tolstring(L, arg, &out->len);
        luaL_argcheck(L, out->len <= SHARED_VALUE_MAX, arg,
            "value of more than 400 bytes");
        out->type = SHARED_TEXT;
        memcpy(out->text, text, out->len);
    }
}

/* Seconds to live as milliseconds; 0 without. */
static uint64_t check_ttl(lua_State *L, int arg)
{
    double seconds = luaL_optnumber(L, arg, 0);

    luaL_argcheck(L,
        lua_isnoneornil(L, arg) || (seconds >= 0.001 && seconds <= SECONDS_MAX),
        arg, "seconds expected, at least 0.001");
    return (uint64_t)(seconds * 1000 + 0.5);
}

/* true | false | nil, message, code */
static int push_result(lua_State *L, int result)
{
    if (result == -ENOSPC && log_may(&get_lshared(L)->full, NULL, 1, FULL_MS))
        log_warn("gwrun.shared is full, refusing new keys keys=%zu remedy=\"a "
                 "larger shared_keys of workers\"",
            shared_status(get_shared(L)).keys);
    if (result < 0) {
        lua_pushstring(L, result == -ENOSPC      ? "shared: the table is full"
                          : result == -EINVAL    ? "shared: not an integer"
                          : result == -ERANGE    ? "shared: out of range"
                          : result == -ETIMEDOUT ? "shared: the lock is held"
                                                 : "shared: failed");
        return lvalue_fail_with(L, result);
    }
    lua_pushboolean(L, result);
    return 1;
}

/* get(key) -> value | nil */
static int shared_lua_get(lua_State *L)
{
    struct shared_key key = check_key(L);
    struct shared_value value;
    int result = shared_get(get_shared(L), &key, &value);

    if (result < 0)
        return push_result(L, result);
    if (result == 0)
        lua_pushnil(L);
    else if (value.type == SHARED_INTEGER)
        lua_pushinteger(L, value.integer);
    else if (value.type == SHARED_FLOAT)
        lua_pushnumber(L, value.number);
    else
        lua_pushlstring(L, value.text, value.len);
    return 1;
}

/* set(key, value, seconds); value nil deletes */
static int shared_lua_set(lua_State *L)
{
    struct shared_key key = check_key(L);
    struct shared_value value;
    uint64_t ttl = check_ttl(L, 3);
    int result;

    if (lua_isnil(L, 2)) {
        result = shared_delete(get_shared(L), &key);
        return push_result(L, result < 0 ? result : 1);
    }
    check_value(L, 2, &value);
    return push_result(L, shared_set(get_shared(L), &key, &value, ttl));
}

/* add(key, value, seconds) -> false: there is one already */
static int shared_lua_add(lua_State *L)
{
    struct shared_key key = check_key(L);
    struct shared_value value;

    check_value(L, 2, &value);
    return push_result(
        L, shared_add(get_shared(L), &key, &value, check_ttl(L, 3)));
}

/* cas(key, old, new, seconds) -> false: it is not old */
static int shared_lua_cas(lua_State *L)
{
    struct shared_key key = check_key(L);
    struct shared_value old, value;

    luaL_checkany(L, 3);
    if (!lua_isnil(L, 2))
        check_value(L, 2, &old);
    if (!lua_isnil(L, 3))
        check_value(L, 3, &value);
    return push_result(
        L, shared_cas(get_shared(L), &key, lua_isnil(L, 2) ? NULL : &old,
               lua_isnil(L, 3) ? NULL : &value, check_ttl(L, 4)));
}

/* incr(key, by, seconds) -> the new value; seconds count from the first */
static int shared_lua_incr(lua_State *L)
{
    struct shared_key key = check_key(L);
    int64_t by = luaL_optinteger(L, 2, 1);
    int64_t value = 0;
    int result = shared_incr(get_shared(L), &key, by, check_ttl(L, 3), &value);

    if (result < 0)
        return push_result(L, result);
    lua_pushinteger(L, value);
    return 1;
}

/* expire(key, seconds) -> whether there is one; without seconds: never */
static int shared_lua_expire(lua_State *L)
{
    struct shared_key key = check_key(L);

    return push_result(L, shared_expire(get_shared(L), &key, check_ttl(L, 2)));
}

/* delete(key) -> whether there was one */
static int shared_lua_delete(lua_State *L)
{
    struct shared_key key = check_key(L);

    return push_result(L, shared_delete(get_shared(L), &key));
}

static void on_vm_close(struct vm_hook *hook)
{
    struct lshared *ls = LIST_ENTRY(hook, struct lshared, hook);

    shared_close(ls->own);
    ls->own = NULL;
    ls->shared = NULL;
}

void lshared_push(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", shared_lua_get},
        {"set", shared_lua_set},
        {"add", shared_lua_add},
        {"cas", shared_lua_cas},
        {"incr", shared_lua_incr},
        {"expire", shared_lua_expire},
        {"delete", shared_lua_delete},
        {NULL, NULL},
    };
    struct lshared *ls;

    luaL_newlibtable(L, functions);
    ls = lua_newuserdatauv(L, sizeof(*ls), 0);
    memset(ls, 0, sizeof(*ls));
    ls->hook.run = on_vm_close;
    lua_pushvalue(L, -1); /* it lives as long as the state */
    lua_rawsetp(L, LUA_REGISTRYINDEX, ls);
    vm_at_close(vm_of(L), &ls->hook);
    ls->shared = vm_shared(vm_of(L));
    if (!ls->shared)
        ls->shared = ls->own = shared_new(vm_shared_keys(vm_of(L)));
    luaL_setfuncs(L, functions, 1);
}
