/* Session, uid and groups, each held against what the gateway takes: a script
 * hears of a mistake, no client is half begun. */
#include "lualib/lbegin.h"

#include <lauxlib.h>

#include "lualib/largs.h"
#include "lualib/lvalue.h"
#include "wire/answer.h"

static const char *put_session(const struct lreading *r)
{
    const char *wrong;
    size_t start, size;

    if (lreading_get(r, "session") == LUA_TNIL)
        return NULL;
    if (!lua_istable(r->L, -1))
        return LREADING_WRONG(
            r, "session is a %s; give a table", luaL_typename(r->L, -1));
    start = answer_begin(r->out, ANSWER_SESSION);
    wrong = lvalue_put(r->L, lua_gettop(r->L), r->out, "session");
    if (wrong)
        return wrong;
    size = answer_end(r->out, start);
    if (size > r->rules->session_max)
        return LREADING_WRONG(r,
            "session would be %I bytes, more than the %I that its "
            "gateway takes (max_session)",
            (LUAI_UACINT)size, (LUAI_UACINT)r->rules->session_max);
    return NULL;
}

/* The uid or group on top. place: it is so far down the list; 0: in none. */
static const char *put_name(
    const struct lreading *r, enum answer_kind kind, size_t place)
{
    const char *error, *name;
    size_t len;

    name = largs_to_name(r->L, lua_gettop(r->L), &len, &error);
    if (!name && place > 0)
        return LREADING_WRONG(r, "groups[%I]: %s", (LUAI_UACINT)place, error);
    if (!name)
        return LREADING_WRONG(
            r, "%s: %s", kind == ANSWER_UID ? "uid" : "groups", error);
    answer_put(r->out, kind, name, len);
    return NULL;
}

static const char *put_uid(const struct lreading *r)
{
    return lreading_get(r, "uid") == LUA_TNIL ? NULL
                                              : put_name(r, ANSWER_UID, 0);
}

/* One group, or a list of them. */
static const char *put_groups(const struct lreading *r)
{
    int type = lreading_get(r, "groups");
    int groups = lua_gettop(r->L);
    size_t count;

    if (type == LUA_TNIL)
        return NULL;
    if (type != LUA_TTABLE)
        return put_name(r, ANSWER_GROUP, 0);
    if (!lvalue_is_list(r->L, groups, &count))
        return LREADING_WRONG(
            r, "groups is a table with keys; give a list of names");
    if (count > r->rules->groups_max)
        return LREADING_WRONG(r,
            "groups has %I names, more than the %I that its "
            "gateway allows a client (max_groups)",
            (LUAI_UACINT)count, (LUAI_UACINT)r->rules->groups_max);
    for (size_t i = 1; i <= count; i++) {
        const char *wrong;

        lua_rawgeti(r->L, groups, (lua_Integer)i);
        wrong = put_name(r, ANSWER_GROUP, i);
        if (wrong)
            return wrong;
        lua_settop(r->L, groups);
    }
    return NULL;
}

const char *lbegin_put(const struct lreading *r)
{
    const char *wrong = put_session(r);

    if (!wrong)
        wrong = put_uid(r);
    return wrong ? wrong : put_groups(r);
}
