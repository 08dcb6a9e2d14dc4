/* An error that Lua raises jumps over whatever C would free: so the collector
 * frees these buffers. */
#include "lualib/lbuf.h"

#include <lauxlib.h>
#include <string.h>

#define BUF_TYPE "gwrun.buf"

static int on_buf_gc(lua_State *L)
{
    buf_fini(lua_touserdata(L, 1));
    return 0;
}

struct buf *lbuf_push(lua_State *L)
{
    struct buf *b = lua_newuserdatauv(L, sizeof(*b), 0);

    memset(b, 0, sizeof(*b));
    if (luaL_newmetatable(L, BUF_TYPE)) {
        lua_pushcfunction(L, on_buf_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return b;
}
