/* The table is read without metamethods, so no code of the script's runs while
 * it is. What is wrong is a message with the key's name; out is only written
 * to, and is of no use after an error. */
#include "lualib/lhandshake.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lualib/largs.h"
#include "lualib/lbegin.h"
#include "lualib/lheaders.h"
#include "util/log.h"
#include "util/typos.h"
#include "wire/answer.h"
#include "wire/httphead.h"
#include "worker/handshakes.h"

/* Those of a refusal first, then headers, then those that let in. */
static const char *const keys[] = {
    "status", "body", "headers", "protocol", "session", "uid", "groups", NULL};

enum { HEADERS = 2 };

/* What is being read: the table is at index t. */
struct reading {
    lua_State *L;
    int t;
    const struct handshakes_rules *rules;
    struct buf *out;
};

/* What is wrong, as text on top of the stack. */
#define WRONG(r, ...) lua_pushfstring((r)->L, __VA_ARGS__)

/* Push the value of a key. */
static int get(const struct reading *r, const char *key)
{
    lua_pushstring(r->L, key);
    return lua_rawget(r->L, r->t);
}

static bool has(const struct reading *r, const char *key)
{
    bool there = get(r, key) != LUA_TNIL;

    lua_pop(r->L, 1);
    return there;
}

/* keys and their values */

static const char *check_key(const struct reading *r)
{
    lua_State *L = r->L;
    char quoted[LOG_QUOTE_SIZE];
    const char *key, *meant;
    size_t len;

    if (lua_type(L, -1) != LUA_TSTRING)
        return WRONG(r,
            "a key is a %s; give status, headers and body, or "
            "protocol, headers, session, uid and groups",
            luaL_typename(L, -1));
    key = lua_tolstring(L, -1, &len);
    for (size_t i = 0; keys[i]; i++)
        if (strcmp(keys[i], key) == 0 && strlen(key) == len)
            return NULL;
    meant = typos_meant(key, keys);
    log_quote(quoted, key, len);
    if (meant)
        return WRONG(r, "unknown key %s; did you mean \"%s\"?", quoted, meant);
    return WRONG(r,
        "unknown key %s; give status, headers and body, or "
        "protocol, headers, session, uid and groups",
        quoted);
}

static const char *check_keys(const struct reading *r)
{
    if (largs_inherits(r->L, r->t))
        return WRONG(r, "keys are " LHEADERS_INHERITED);
    for (lua_pushnil(r->L); lua_next(r->L, r->t);) {
        const char *wrong;

        lua_pop(r->L, 1);
        wrong = check_key(r);
        if (wrong)
            return wrong;
    }
    return NULL;
}

/* Refuse what both refuses and lets in. */
static const char *check_sides(const struct reading *r)
{
    bool refuses = has(r, "status");
    luaL_Buffer both;
    size_t count = 0;

    if (!refuses && has(r, "body"))
        return WRONG(r, "body is for a refusal; give status with it");
    if (!refuses)
        return NULL;
    luaL_buffinit(r->L, &both);
    for (size_t i = HEADERS + 1; keys[i]; i++) {
        if (!has(r, keys[i]))
            continue;
        luaL_addstring(&both, count++ > 0 ? ", " : "");
        luaL_addstring(&both, keys[i]);
    }
    luaL_pushresult(&both);
    return count == 0 ? NULL
                      : WRONG(r,
                            "status refuses, and %s would let in; "
                            "give one or the other",
                            lua_tostring(r->L, -1));
}

static const char *put_status(struct reading *r)
{
    lua_Integer status;

    if (get(r, "status") == LUA_TNIL) {
        answer_put_status(r->out, 0);
        return NULL;
    }
    status = lua_type(r->L, -1) == LUA_TNUMBER ? lua_tointeger(r->L, -1) : -1;
    if (status < ANSWER_STATUS_MIN || status > ANSWER_STATUS_MAX)
        return WRONG(r,
            "status is %s; give a whole number from 300 to 599, "
            "or leave it out to let the client in",
            luaL_tolstring(r->L, -1, NULL));
    answer_put_status(r->out, (unsigned)status);
    return NULL;
}

static const char *put_body(struct reading *r)
{
    const char *body;
    size_t len;

    if (get(r, "body") == LUA_TNIL)
        return NULL;
    body = lheaders_text(r->L, -1, &len);
    if (!body)
        return WRONG(r, "body is a %s; give a string", luaL_typename(r->L, -1));
    if (len > ANSWER_BODY_MAX)
        return WRONG(r, "body has %I bytes, more than %d", (LUAI_UACINT)len,
            ANSWER_BODY_MAX);
    answer_put(r->out, ANSWER_BODY, body, len);
    return NULL;
}

static const char *put_headers(struct reading *r)
{
    return get(r, "headers") == LUA_TNIL ? NULL
                                         : lheaders_put(r->L, -1, r->out);
}

/* what lets in */

static bool is_offered(const char *offered, const char *name, size_t len)
{
    const struct httphead_field line = {"", offered};
    const struct httphead head = {
        .fields = (struct httphead_field *)&line, .nfields = 1};
    struct httphead_list list = {.head = &head, .name = ""};
    const char *text;
    size_t text_len;

    while (offered && httphead_next(&list, &text, &text_len))
        if (text_len == len && memcmp(text, name, len) == 0)
            return true;
    return false;
}

static const char *put_protocol(struct reading *r)
{
    const char *offered = r->rules->offered;
    char quoted[LOG_QUOTE_SIZE], theirs[LOG_QUOTE_SIZE];
    const char *name;
    size_t len;

    if (get(r, "protocol") == LUA_TNIL)
        return NULL;
    if (lua_type(r->L, -1) != LUA_TSTRING)
        return WRONG(
            r, "protocol is a %s; give a string", luaL_typename(r->L, -1));
    name = lua_tolstring(r->L, -1, &len);
    if (is_offered(offered, name, len) && httphead_is_token(name, len)) {
        answer_put(r->out, ANSWER_SUBPROTOCOL, name, len);
        return NULL;
    }
    return WRONG(r, "protocol is %s, and the client offered %s",
        log_quote(quoted, name, len),
        offered ? log_quote(theirs, offered, strlen(offered)) : "none");
}

/* session, uid and groups */
static const char *put_beginning(struct reading *r)
{
    return lbegin_put(r->L, r->t, r->rules, r->out);
}

static const char *read_answer(lua_State *L, int index,
    const struct handshakes_rules *rules, struct buf *out)
{
    static const char *(*const puts[])(struct reading * r) = {
        put_status, put_body, put_headers, put_protocol, put_beginning};
    struct reading r = {
        .L = L, .t = lua_absindex(L, index), .rules = rules, .out = out};
    const char *wrong;

    luaL_checkstack(L, 32, "onHandshake");
    wrong = check_keys(&r);
    if (!wrong)
        wrong = check_sides(&r);
    for (size_t i = 0; !wrong && i < sizeof(puts) / sizeof(puts[0]); i++)
        wrong = puts[i](&r);
    return wrong;
}

void lhandshake_open(lua_State *L)
{
    handshakes_set_reader(L, read_answer);
}
