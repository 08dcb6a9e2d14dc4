/* What onHandshake returns, key by key. A table refuses or lets in: keys of
 * both sides are the script's mistake. */
#include "lualib/lhandshake.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lualib/lbegin.h"
#include "lualib/lheaders.h"
#include "lualib/lreading.h"
#include "util/log.h"
#include "wire/answer.h"
#include "wire/httphead.h"
#include "worker/handshakes.h"

/* Those of a refusal first, then headers, then those that let in. */
static const char *const keys[] = {
    "status", "body", "headers", "protocol", "session", "uid", "groups", NULL};

enum { HEADERS = 2 };

static const struct lreading_keys all_keys = {.names = keys,
    .key = "a key",
    .unknown = "unknown key",
    .keys = "keys are",
    .give = "give status, headers and body, or protocol, headers, session, uid "
            "and groups"};

/* Refuse what both refuses and lets in. */
static const char *check_sides(const struct lreading *r)
{
    bool refuses = lreading_has(r, "status");
    luaL_Buffer both;
    size_t count = 0;

    if (!refuses && lreading_has(r, "body"))
        return LREADING_WRONG(r, "body is for a refusal; give status with it");
    if (!refuses)
        return NULL;
    luaL_buffinit(r->L, &both);
    for (size_t i = HEADERS + 1; keys[i]; i++) {
        if (!lreading_has(r, keys[i]))
            continue;
        luaL_addstring(&both, count++ > 0 ? ", " : "");
        luaL_addstring(&both, keys[i]);
    }
    luaL_pushresult(&both);
    return count == 0 ? NULL
                      : LREADING_WRONG(r,
                            "status refuses, and %s would let in; "
                            "give one or the other",
                            lua_tostring(r->L, -1));
}

static const char *put_status(const struct lreading *r)
{
    lua_Integer status;

    if (lreading_get(r, "status") == LUA_TNIL) {
        answer_put_status(r->out, 0);
        return NULL;
    }
    status = lua_type(r->L, -1) == LUA_TNUMBER ? lua_tointeger(r->L, -1) : -1;
    if (status < ANSWER_STATUS_MIN || status > ANSWER_STATUS_MAX)
        return LREADING_WRONG(r,
            "status is %s; give a whole number from 300 to 599, "
            "or leave it out to let the client in",
            luaL_tolstring(r->L, -1, NULL));
    answer_put_status(r->out, (unsigned)status);
    return NULL;
}

static const char *put_body(const struct lreading *r)
{
    const char *body;
    size_t len;

    if (lreading_get(r, "body") == LUA_TNIL)
        return NULL;
    body = lheaders_text(r->L, -1, &len);
    if (!body)
        return LREADING_WRONG(
            r, "body is a %s; give a string", luaL_typename(r->L, -1));
    if (len > ANSWER_BODY_MAX)
        return LREADING_WRONG(r, "body has %I bytes, more than %d",
            (LUAI_UACINT)len, ANSWER_BODY_MAX);
    answer_put(r->out, ANSWER_BODY, body, len);
    return NULL;
}

static const char *put_headers(const struct lreading *r)
{
    return lreading_get(r, "headers") == LUA_TNIL
               ? NULL
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

static const char *put_protocol(const struct lreading *r)
{
    const char *offered = r->rules->offered;
    char quoted[LOG_QUOTE_SIZE], theirs[LOG_QUOTE_SIZE];
    const char *name;
    size_t len;

    if (lreading_get(r, "protocol") == LUA_TNIL)
        return NULL;
    if (lua_type(r->L, -1) != LUA_TSTRING)
        return LREADING_WRONG(
            r, "protocol is a %s; give a string", luaL_typename(r->L, -1));
    name = lua_tolstring(r->L, -1, &len);
    if (is_offered(offered, name, len) && httphead_is_token(name, len)) {
        answer_put(r->out, ANSWER_SUBPROTOCOL, name, len);
        return NULL;
    }
    return LREADING_WRONG(r, "protocol is %s, and the client offered %s",
        log_quote(quoted, name, len),
        offered ? log_quote(theirs, offered, strlen(offered)) : "none");
}

static const char *read_answer(lua_State *L, int index,
    const struct handshakes_rules *rules, struct buf *out)
{
    static const char *(*const puts[])(const struct lreading *r) = {
        put_status, put_body, put_headers, put_protocol, lbegin_put};
    struct lreading r = {
        .L = L, .t = lua_absindex(L, index), .rules = rules, .out = out};
    const char *wrong;

    luaL_checkstack(L, 32, "onHandshake");
    wrong = lreading_check(&r, &all_keys);
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
