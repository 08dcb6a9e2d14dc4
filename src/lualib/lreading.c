/* What onHandshake and onRequest return has keys that are few and known: one
 * that is not is most likely a known one, misspelt. */
#include "lualib/lreading.h"

#include <string.h>

#include "lualib/largs.h"
#include "lualib/lheaders.h"
#include "util/log.h"
#include "util/typos.h"

int lreading_get(const struct lreading *r, const char *key)
{
    lua_pushstring(r->L, key);
    return lua_rawget(r->L, r->t);
}

bool lreading_has(const struct lreading *r, const char *key)
{
    bool there = lreading_get(r, key) != LUA_TNIL;

    lua_pop(r->L, 1);
    return there;
}

/* The key on top. */
static const char *check_key(
    const struct lreading *r, const struct lreading_keys *keys)
{
    char quoted[LOG_QUOTE_SIZE];
    const char *key, *meant;
    size_t len;

    if (lua_type(r->L, -1) != LUA_TSTRING)
        return LREADING_WRONG(r, "%s is a %s; %s", keys->key,
            luaL_typename(r->L, -1), keys->give);
    key = lua_tolstring(r->L, -1, &len);
    for (size_t i = 0; keys->names[i]; i++)
        if (strcmp(keys->names[i], key) == 0 && strlen(key) == len)
            return NULL;
    meant = typos_meant(key, keys->names);
    log_quote(quoted, key, len);
    if (meant)
        return LREADING_WRONG(
            r, "%s %s; did you mean \"%s\"?", keys->unknown, quoted, meant);
    return LREADING_WRONG(r, "%s %s; %s", keys->unknown, quoted, keys->give);
}

const char *lreading_check(
    const struct lreading *r, const struct lreading_keys *keys)
{
    if (largs_inherits(r->L, r->t))
        return LREADING_WRONG(r, "%s " LHEADERS_INHERITED, keys->keys);
    for (lua_pushnil(r->L); lua_next(r->L, r->t);) {
        const char *wrong;

        lua_pop(r->L, 1);
        wrong = check_key(r, keys);
        if (wrong)
            return wrong;
    }
    return NULL;
}
