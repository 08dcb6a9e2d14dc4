/* One function an option, in one table with the calls that take it. A table is
 * walked once; nothing but its own keys counts, and a key that names no option
 * is an error with the one that was meant. */
#include "lualib/loptions.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lualib/largs.h"
#include "util/log.h"
#include "util/typos.h"
#include "util/utf8.h"
#include "wire/frame.h"

#define BIND (LOPTIONS_JOIN | LOPTIONS_BIND)

/* What is being read; the option's value is on top of the stack. */
struct reading {
    lua_State *L;
    int arg;
    enum loptions_call call;
    struct loptions *out;
};

static void fail(const struct reading *r, const char *message)
{
    luaL_argerror(r->L, r->arg, message);
}

static void check_type(const struct reading *r, const char *name, int type)
{
    const char *expected = type == LUA_TBOOLEAN  ? "true or false"
                           : type == LUA_TNUMBER ? "a number"
                                                 : "a string";

    if (lua_type(r->L, -1) != type)
        fail(r, lua_pushfstring(r->L, "option %s must be %s, got %s", name,
                    expected, luaL_typename(r->L, -1)));
}

static void read_raw(const struct reading *r)
{
    check_type(r, "raw", LUA_TBOOLEAN);
    if (lua_toboolean(r->L, -1))
        r->out->flag |= FRAME_FLAG_RAW;
}

static void read_binary(const struct reading *r)
{
    check_type(r, "binary", LUA_TBOOLEAN);
    r->out->flag |=
        lua_toboolean(r->L, -1) ? FRAME_FLAG_BINARY : FRAME_FLAG_TEXT;
}

static void read_code(const struct reading *r)
{
    lua_Integer code;
    int is_integer;

    check_type(r, "code", LUA_TNUMBER);
    code = lua_tointegerx(r->L, -1, &is_integer);
    if (!is_integer || code < 0 || code > UINT16_MAX ||
        !wsframe_is_close_code((unsigned)code))
        fail(r, lua_pushfstring(r->L,
                    "option code must be 1000 to 1003, 1007 to 1014 or 3000 to "
                    "4999, not %s",
                    lua_tostring(r->L, -1)));
    r->out->close.code = (unsigned)code;
}

static void read_reason(const struct reading *r)
{
    struct wsframe_close *close = &r->out->close;

    check_type(r, "reason", LUA_TSTRING);
    close->reason = (const uint8_t *)lua_tolstring(r->L, -1, &close->len);
    if (close->len > WSFRAME_REASON_MAX)
        fail(r, lua_pushfstring(r->L, "option reason may have %d bytes, not %d",
                    WSFRAME_REASON_MAX, (int)close->len));
    if (!utf8_valid(close->reason, close->len) ||
        memchr(close->reason, '\0', close->len))
        fail(r, "option reason must be UTF-8, without a NUL");
}

static void read_label(
    const struct reading *r, const char *name, const char **text, size_t *len)
{
    check_type(r, name, LUA_TSTRING);
    *text = lua_tolstring(r->L, -1, len);
    if (!label_is_text(*text, *len))
        fail(r, lua_pushfstring(r->L,
                    "option %s must be UTF-8 of at most %d bytes, without line "
                    "breaks",
                    name, LABEL_TEXT_MAX));
}

static void read_event(const struct reading *r)
{
    struct label *label = &r->out->label;

    read_label(r, "event", &label->event, &label->event_len);
}

static void read_id(const struct reading *r)
{
    struct label *label = &r->out->label;

    read_label(r, "id", &label->id, &label->id_len);
}

static void read_timeout(const struct reading *r)
{
    check_type(r, "timeout", LUA_TNUMBER);
    r->out->timeout = lua_tonumber(r->L, -1);
    if ((r->call & BIND) && !(r->out->timeout > 0 && r->out->timeout <= 86400))
        fail(r, "option timeout must be seconds, above 0 and at most a day");
}

static void read_wait(const struct reading *r)
{
    check_type(r, "wait", LUA_TBOOLEAN);
    r->out->wait = lua_toboolean(r->L, -1);
}

static void read_exclusive(const struct reading *r)
{
    check_type(r, "exclusive", LUA_TBOOLEAN);
    r->out->exclusive = lua_toboolean(r->L, -1);
}

#define ALL   (LOPTIONS_SEND | CLOSE)
#define CLOSE (LOPTIONS_CLOSE | LOPTIONS_CLOSE_MANY)

static const struct option {
    const char *name;
    unsigned calls; /* that take it */
    void (*read)(const struct reading *r);
} options[] = {
    {"raw", ALL, read_raw},
    {"binary", ALL, read_binary},
    {"event", ALL, read_event},
    {"id", ALL, read_id},
    {"code", CLOSE, read_code},
    {"reason", CLOSE, read_reason},
    {"timeout", LOPTIONS_CLOSE_MANY | BIND, read_timeout},
    {"wait", BIND, read_wait},
    {"exclusive", LOPTIONS_BIND, read_exclusive},
};

#define COUNT (sizeof(options) / sizeof(options[0]))

/* The key under the value on top names nothing. */
static void raise_unknown(const struct reading *r)
{
    lua_State *L = r->L;
    const char *names[COUNT + 1] = {NULL};
    char quoted[LOG_QUOTE_SIZE];
    const char *key, *meant;
    size_t len, n = 0;

    if (lua_type(L, -2) != LUA_TSTRING) {
        fail(r, lua_pushfstring(L,
                    "options have names, as in { raw = true }; got a %s as one",
                    luaL_typename(L, -2)));
        return;
    }
    for (size_t i = 0; i < COUNT; i++)
        if (options[i].calls & r->call)
            names[n++] = options[i].name;
    key = lua_tolstring(L, -2, &len);
    meant = typos_meant(key, names);
    log_quote(quoted, key, len);
    fail(r, meant ? lua_pushfstring(L,
                        "there is no option %s; did you mean \"%s\"?", quoted,
                        meant)
                  : lua_pushfstring(L, "there is no option %s", quoted));
}

static void read_option(const struct reading *r)
{
    size_t len = 0;
    const char *key =
        lua_type(r->L, -2) == LUA_TSTRING ? lua_tolstring(r->L, -2, &len) : "";

    for (size_t i = 0; i < COUNT; i++) {
        if ((options[i].calls & r->call) && strcmp(key, options[i].name) == 0 &&
            strlen(key) == len) {
            options[i].read(r);
            return;
        }
    }
    raise_unknown(r);
}

void loptions_read(
    lua_State *L, int arg, enum loptions_call call, struct loptions *out)
{
    const struct reading r = {L, arg, call, out};

    *out = (struct loptions){0};
    switch (lua_type(L, arg)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return;
    case LUA_TBOOLEAN:
        if (call & BIND)
            fail(&r, "a table of options expected, got a boolean");
        out->flag = lua_toboolean(L, arg) ? FRAME_FLAG_RAW : 0;
        return;
    case LUA_TTABLE:
        break;
    default:
        fail(&r,
            lua_pushfstring(L, "%sa table of options expected, got %s",
                call & BIND ? "" : "true, false or ", luaL_typename(L, arg)));
    }
    if (largs_inherits(L, arg))
        fail(&r, "options must stand in the table itself, not behind __index "
                 "of its metatable");
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1))
        read_option(&r);
    luaL_argcheck(L,
        !(out->flag & FRAME_FLAG_RAW) || !(out->flag & FRAME_FLAG_TYPES), arg,
        "raw bytes have no type: give raw or binary");
    if (out->label.event_len + out->label.id_len > 0) {
        luaL_argcheck(L, !(out->flag & FRAME_FLAG_RAW), arg,
            "raw bytes have no event and no id");
        out->flag |= FRAME_FLAG_LABEL;
    }
    if (out->close.reason && out->close.code == 0)
        out->close.code = 1000;
}
