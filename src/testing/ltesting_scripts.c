/* What comes from scripts, and goes to them: their questions and the test's
 * answers, pieces of code to run, lines of the log. All wait here until the
 * test asks; nothing calls into the test's state by itself. */
#include "testing/ltesting_impl.h"

#include <string.h>

#include "testing/sim.h"

/* A line of the log: followed by who and text, each with a NUL. */
struct line {
    enum log_level level;
    bool is_block;
};

void ltesting_scripts_on_log(
    enum log_level level, const char *who, const char *text, void *arg)
{
    struct ltesting *t = arg;
    struct line line = {level, who == NULL};

    buf_append(&t->log, &line, sizeof(line));
    buf_append(&t->log, who ? who : "", strlen(who ? who : "") + 1);
    buf_append(&t->log, text, strlen(text) + 1);
}

/* sim:inbox() -> the list of what scripts have asked since the last time */
static int sim_lua_inbox(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX, t->script.inbox);
    if (lua_rawlen(L, -1) > 0) {
        lua_newtable(L);
        lua_rawseti(L, LUA_REGISTRYINDEX, t->script.inbox);
    }
    return 1;
}

/* sim:answer(id, good, …) -> whether somebody waited for it */
static int sim_lua_answer(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);

    lua_pushboolean(L, lscript_answer(&t->script, luaL_checkinteger(L, 2), 3));
    return 1;
}

/* sim:run(worker, …) -> whether there is one: run() of its script's side */
static int sim_lua_run(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);
    size_t i = ltesting_check_number(L, 2, sim_workers(t->sim));
    unsigned index;
    const struct worker_conf *conf = sim_worker_conf(t->sim, i, &index);

    lua_pushboolean(L, lscript_run(&t->script, conf, index, 3));
    return 1;
}

/* sim:log() -> the list of { level, who, text } since the last time; who is
 * false for what belongs to the line before it */
static int sim_lua_log(lua_State *L)
{
    static const char *const levels[] = {
        "error", "warn", "notice", "info", "debug"};
    struct ltesting *t = ltesting_check(L);
    size_t at = 0;
    lua_Integer n = 0;

    lua_newtable(L);
    while (at < t->log.len) {
        struct line line;
        const char *who, *text;

        memcpy(&line, t->log.data + at, sizeof(line));
        who = (const char *)t->log.data + at + sizeof(line);
        text = who + strlen(who) + 1;
        lua_createtable(L, 3, 0);
        lua_pushstring(L, levels[line.level]);
        lua_rawseti(L, -2, 1);
        if (line.is_block)
            lua_pushboolean(L, false);
        else
            lua_pushstring(L, who);
        lua_rawseti(L, -2, 2);
        lua_pushstring(L, text);
        lua_rawseti(L, -2, 3);
        lua_rawseti(L, -2, ++n);
        at = (size_t)(text - (const char *)t->log.data) + strlen(text) + 1;
    }
    buf_clear(&t->log);
    return 1;
}

const luaL_Reg ltesting_scripts[] = {
    {"answer", sim_lua_answer},
    {"inbox", sim_lua_inbox},
    {"log", sim_lua_log},
    {"run", sim_lua_run},
    {NULL, NULL},
};
