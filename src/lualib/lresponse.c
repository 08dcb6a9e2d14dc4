/* The answer to a request, from what a script returned. All of it is checked
 * here, so that a mistake is the script's to read and not a gateway's to
 * refuse. */
#include "lualib/lresponse.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lualib/lbegin.h"
#include "lualib/lheaders.h"
#include "lualib/ljson.h"
#include "lualib/lreading.h"
#include "wire/answer.h"

static const char *const keys[] = {"status", "headers", "session", "uid",
    "groups", "body", "json", "file", "redirect", "stream", NULL};

#define BEGINS   2 /* from there on: of an event stream */
#define CONTENTS 5 /* from there on: one of them */

static const struct lreading_keys all_keys = {.names = keys,
    .key = "a table in which a key",
    .unknown = "a table with the unknown key",
    .keys = "a table whose keys are",
    .give = "give status, headers, and one of body, json, file, redirect and "
            "stream"};

/* What is being read: a table at in.t, or values from there on. */
struct reading {
    struct lreading in;
    const char *content; /* the key of what it says, or NULL */
    const char *type;    /* of the body, unless the script says another */
};

/* What is wrong, as text on top of the stack. */
#define WRONG(r, ...) LREADING_WRONG(&(r)->in, __VA_ARGS__)

/* The value on top. */
static const char *put_status(struct reading *r, unsigned otherwise)
{
    lua_Integer status;

    if (lua_isnil(r->in.L, -1)) {
        answer_put_status(r->in.out, otherwise);
        return NULL;
    }
    status =
        lua_type(r->in.L, -1) == LUA_TNUMBER ? lua_tointeger(r->in.L, -1) : -1;
    if (status < ANSWER_REPLY_MIN || status > ANSWER_STATUS_MAX)
        return WRONG(r,
            "a status that is %s; give a whole number from 200 to 599",
            luaL_tolstring(r->in.L, -1, NULL));
    answer_put_status(r->in.out, (unsigned)status);
    return NULL;
}

/* The value on top, a table or nil. */
static const char *put_headers(struct reading *r)
{
    return lua_isnil(r->in.L, -1) ? NULL : lheaders_put(r->in.L, -1, r->in.out);
}

/* The value on top. */
static const char *put_body(struct reading *r)
{
    const char *body;
    size_t len;

    if (lua_isnil(r->in.L, -1))
        return NULL;
    body = lheaders_text(r->in.L, -1, &len);
    if (!body)
        return WRONG(r,
            "a body that is a %s; give a string, or a table as json = …",
            luaL_typename(r->in.L, -1));
    answer_put(r->in.out, ANSWER_BODY, body, len);
    r->type = len > 0 ? "text/plain; charset=utf-8" : NULL;
    return NULL;
}

static const char *put_json(struct reading *r)
{
    size_t len;
    const char *text;

    ljson_push_encode(r->in.L);
    lua_insert(r->in.L, -2);
    lua_call(r->in.L, 1, 1);
    text = lua_tolstring(r->in.L, -1, &len);
    answer_put(r->in.out, ANSWER_BODY, text, len);
    r->type = "application/json";
    return NULL;
}

static const char *put_file(struct reading *r)
{
    size_t len;
    const char *path = lheaders_text(r->in.L, -1, &len);

    if (!path || len == 0 || memchr(path, '\0', len))
        return WRONG(r, "a file that has no name; give a path below files, a "
                        "string");
    answer_put(r->in.out, ANSWER_FILE, path, len);
    return NULL;
}

static const char *put_redirect(struct reading *r)
{
    size_t len;
    const char *to = lheaders_text(r->in.L, -1, &len);

    if (!to || len == 0 || !answer_is_value(to, len))
        return WRONG(
            r, "a redirect that is no place; give a path or a URL, a string");
    answer_put_header(r->in.out, "Location", 8, to, len);
    return NULL;
}

/* Whether the value on top is the word of the one kind of stream. */
static bool is_sse(lua_State *L)
{
    return lua_type(L, -1) == LUA_TSTRING &&
           strcmp(lua_tostring(L, -1), "sse") == 0;
}

static const char *put_stream(struct reading *r)
{
    const char *wrong;

    if (!is_sse(r->in.L))
        return WRONG(r, "a stream that is not \"sse\"");
    if (lreading_get(&r->in, "status") != LUA_TNIL)
        return WRONG(r, "a table with status and stream; leave status out");
    answer_put(r->in.out, ANSWER_STREAM, NULL, 0);
    wrong = lbegin_put(&r->in);
    return wrong ? WRONG(r, "a table in which %s", wrong) : NULL;
}

/* Behind the headers of the script. */
static void put_type(struct reading *r)
{
    const struct answer so_far = answer_of(r->in.out);

    if (r->type && !answer_has_header(&so_far, "content-type"))
        answer_put_header(
            r->in.out, "Content-Type", 12, r->type, strlen(r->type));
}

/* ---- status, headers, body ---- */

static const char *read_values(struct reading *r, int first)
{
    lua_State *L = r->in.L;
    const char *wrong;

    lua_pushvalue(L, first);
    wrong = put_status(r, 0);
    if (wrong)
        return wrong;
    lua_pushvalue(L, first + 1);
    if (lua_isstring(L, -1))
        return WRONG(r,
            "a text behind the status; headers are second, and may be nil: "
            "return %d, nil, text",
            (int)lua_tointeger(L, first));
    wrong = put_headers(r);
    if (wrong)
        return wrong;
    lua_pushvalue(L, first + 2);
    return put_body(r);
}

/* ---- a table ---- */

/* Which of the contents the table has, one at most. */
static const char *find_content(struct reading *r)
{
    for (size_t i = CONTENTS; keys[i]; i++) {
        if (!lreading_has(&r->in, keys[i]))
            continue;
        if (r->content)
            return WRONG(r, "a table with both %s and %s; give one of them",
                r->content, keys[i]);
        r->content = keys[i];
    }
    return NULL;
}

/* Does it say what an event stream begins with? */
static bool begins(const struct reading *r)
{
    for (size_t i = BEGINS; i < CONTENTS; i++)
        if (lreading_has(&r->in, keys[i]))
            return true;
    return false;
}

static const char *read_table(struct reading *r)
{
    static const struct {
        const char *key;
        const char *(*put)(struct reading *r);
    } contents[] = {{"body", put_body}, {"json", put_json}, {"file", put_file},
        {"redirect", put_redirect}, {"stream", put_stream}};
    bool redirects, streams;
    const char *wrong = lreading_check(&r->in, &all_keys);

    if (!wrong)
        wrong = find_content(r);
    if (wrong)
        return wrong;
    redirects = r->content && strcmp(r->content, "redirect") == 0;
    streams = r->content && strcmp(r->content, "stream") == 0;
    if (!streams && begins(r))
        return WRONG(r, "a table with session, uid or groups, which an event "
                        "stream begins with; give stream = \"sse\"");
    lreading_get(&r->in, "status");
    wrong = put_status(r, redirects ? 302 : 200);
    if (wrong)
        return wrong;
    lreading_get(&r->in, "headers");
    wrong = put_headers(r);
    for (size_t i = 0; !wrong && i < sizeof(contents) / sizeof(contents[0]);
         i++) {
        if (!r->content || strcmp(r->content, contents[i].key) != 0)
            continue;
        lreading_get(&r->in, r->content);
        wrong = contents[i].put(r);
    }
    return wrong;
}

/* Whether something stands behind the first value. */
static bool has_more(const struct reading *r, int first)
{
    return !lua_isnil(r->in.L, first + 1) || !lua_isnil(r->in.L, first + 2);
}

static const char *read_text(struct reading *r, int first)
{
    if (has_more(r, first))
        return WRONG(r, "a text and something behind it; return status, "
                        "headers, text");
    answer_put_status(r->in.out, 200);
    lua_pushvalue(r->in.L, first);
    return put_body(r);
}

const char *lresponse_read(
    lua_State *L, const struct handshakes_rules *rules, struct buf *out)
{
    int first = lua_gettop(L) - 2;
    struct reading r = {.in = {.L = L, .t = first, .rules = rules, .out = out}};
    const char *wrong;

    luaL_checkstack(L, 32, "onRequest");
    switch (lua_type(L, first)) {
    case LUA_TNUMBER:
        wrong = read_values(&r, first);
        break;
    case LUA_TSTRING:
        wrong = read_text(&r, first);
        break;
    case LUA_TTABLE:
        wrong = has_more(&r, first)
                    ? WRONG(&r, "a table and something behind it")
                    : read_table(&r);
        break;
    default:
        wrong = WRONG(&r,
            "a %s; give status, headers, body, or a table, or text, or nothing",
            luaL_typename(L, first));
    }
    if (!wrong)
        put_type(&r);
    return wrong;
}
