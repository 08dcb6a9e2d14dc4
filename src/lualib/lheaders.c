/* Headers of a script's answer. A header is one line; only Set-Cookie may be
 * several, because of all others HTTP makes one. */
#include "lualib/lheaders.h"

#include <lauxlib.h>
#include <string.h>
#include <strings.h>

#include "lualib/largs.h"
#include "lualib/lvalue.h"
#include "util/log.h"
#include "wire/answer.h"

/* What is being read. */
struct reading {
    lua_State *L;
    struct buf *out;
    size_t lines; /* so far … */
    size_t bytes; /* … and their bytes */
};

/* What is wrong, as text on top of the stack. */
#define WRONG(r, ...) lua_pushfstring((r)->L, __VA_ARGS__)

const char *lheaders_text(lua_State *L, int index, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING && !lua_isinteger(L, index))
        return NULL;
    return lua_tolstring(L, index, len);
}

static const char *put_line(struct reading *r, const char *name, int value)
{
    size_t len;
    const char *text = lheaders_text(r->L, value, &len);

    if (!text)
        return WRONG(r, "headers: %s is a %s; give a string", name,
            luaL_typename(r->L, value));
    if (!answer_is_value(text, len))
        return WRONG(r,
            "headers: %s has a line break or another control "
            "character in it",
            name);
    r->bytes += strlen(name) + 2 + len;
    if (++r->lines > ANSWER_HEADERS_MAX || r->bytes > ANSWER_HEADERS_LEN_MAX)
        return WRONG(r, "headers has more than %d lines, or than %d bytes",
            ANSWER_HEADERS_MAX, ANSWER_HEADERS_LEN_MAX);
    answer_put_header(r->out, name, strlen(name), text, len);
    return NULL;
}

/* The value on top is a list of cookies. */
static const char *put_cookies(struct reading *r, const char *name)
{
    int list = lua_gettop(r->L);
    size_t count;

    if (strcasecmp(name, "set-cookie") != 0)
        return WRONG(r,
            "headers: %s is a table; only Set-Cookie may be a "
            "list, others are one string (\"a, b\")",
            name);
    if (!lvalue_is_list(r->L, list, &count))
        return WRONG(r,
            "headers: %s is a table with keys; give a list of "
            "strings",
            name);
    for (size_t i = 1; i <= count; i++) {
        const char *wrong;

        lua_rawgeti(r->L, list, (lua_Integer)i);
        wrong = put_line(r, name, -1);
        if (wrong)
            return wrong;
        lua_pop(r->L, 1);
    }
    return NULL;
}

/* One of headers: its name is below its value, which is on top. */
static const char *put_header(struct reading *r)
{
    const struct answer before = answer_of(r->out);
    char quoted[LOG_QUOTE_SIZE];
    const char *name, *fault;
    size_t len;

    if (lua_type(r->L, -2) != LUA_TSTRING)
        return WRONG(r,
            "headers has a key that is a %s; give the names of "
            "headers",
            luaL_typename(r->L, -2));
    name = lua_tolstring(r->L, -2, &len);
    fault = answer_header_fault(name, len);
    if (fault)
        return WRONG(r, "headers: %s %s", log_quote(quoted, name, len), fault);
    if (answer_has_header(&before, name))
        return WRONG(r, "headers: %s is there twice, in other letters", name);
    return lua_istable(r->L, -1) ? put_cookies(r, name) : put_line(r, name, -1);
}

const char *lheaders_put(lua_State *L, int index, struct buf *out)
{
    struct reading r = {.L = L, .out = out};

    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        return WRONG(&r, "headers is a %s; give a table { name = value }",
            luaL_typename(L, index));
    if (largs_inherits(L, index))
        return WRONG(&r, "headers are " LHEADERS_INHERITED);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *wrong = put_header(&r);

        if (wrong)
            return wrong;
    }
    return NULL;
}
