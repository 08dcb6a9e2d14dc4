/* Numbers as text: one rule for all bindings. Nothing is kept here. */
#include "lualib/lnumber.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "wire/phpfloat.h"

bool lnumber_integer(lua_State *L, int index, lua_Integer *out)
{
    double d;

    if (lua_isinteger(L, index)) {
        *out = lua_tointeger(L, index);
        return true;
    }
    d = lua_tonumber(L, index);
    return lua_numbertointeger(d, out) && (double)*out == d &&
           !(d == 0 && signbit(d));
}

void lnumber_put(lua_State *L, int index, struct buf *out)
{
    lua_Integer n;

    if (lnumber_integer(L, index, &n))
        buf_printf(out, "%lld", (long long)n);
    else
        phpfloat_put(out, lua_tonumber(L, index));
}

const char *lnumber_tolstring(lua_State *L, int index, size_t *len)
{
    char text[PHPFLOAT_TEXT_MAX];
    struct buf out = {0};
    size_t n;

    if (lua_type(L, index) == LUA_TNUMBER) {
        index = lua_absindex(L, index);
        lnumber_put(L, index, &out);
        n = out.len < sizeof(text) ? out.len : sizeof(text);
        memcpy(text, out.data, n);
        buf_fini(&out); /* the next line may raise */
        lua_pushlstring(L, text, n);
        lua_replace(L, index);
    }
    return lua_tolstring(L, index, len);
}

const char *lnumber_checklstring(lua_State *L, int arg, size_t *len)
{
    const char *text = lnumber_tolstring(L, arg, len);

    return text ? text : luaL_checklstring(L, arg, len);
}
