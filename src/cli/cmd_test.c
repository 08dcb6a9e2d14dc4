#include "cli/cli.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <string.h>

#include "cli/config.h"
#include "cli/ltesting.h"
#include "util/log.h"

#define TEST_NAME "gwrun test" /* in messages of busted's */

static const char help[] =
    "usage: gwrun test [FILE…] [busted's options]\n"
    "\n"
    "Runs specs with busted; without files those that .busted names, or all\n"
    "*_spec.lua below spec/. In them\n"
    "\n"
    "  local testing = require \"gwrun.testing\"\n"
    "  local app = testing.start { script = \"scripts/events.lua\" }\n"
    "  local alice = app:connect()\n"
    "\n"
    "starts gateways and workers in this process, with a clock that the spec\n"
    "moves and without a network; docs/testing.md tells all of it.\n"
    "\n"
    "  -o TAP         another output; also plainTerminal, junit, json …\n"
    "  --filter=TEXT  only specs whose name matches; gwrun test -- --help lists\n"
    "                 all of busted's options\n"
    "\n"
    "Exit status: 0 all passed, 1 some failed, 2 could not run them.\n";

/* The words for busted. */
static void push_words(lua_State *L, int argc, char **argv)
{
    int n = 0;

    lua_createtable(L, argc, 1);
    lua_pushliteral(L, TEST_NAME);
    lua_rawseti(L, -2, 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            continue;
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, ++n);
    }
}

/* Find modules in gwrun's own folder and in the project's. */
static void set_path(lua_State *L, const char *lua_dir)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/?.lua;%s", lua_dir, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_pop(L, 2);
}

/* Protected. Busted ends the process itself unless all is well. */
static int run_busted(lua_State *L)
{
    static const char chunk[] =
        "local found, runner = pcall(require, 'busted.runner')\n"
        "if not found then error(runner, 0) end\n"
        "runner { standalone = false }\n";

    if (luaL_loadbuffer(L, chunk, sizeof(chunk) - 1, "@" TEST_NAME) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

int cmd_test(int argc, char **argv)
{
    struct config c;
    lua_State *L;
    int status = CLI_DONE;

    if (argc > 1 &&
        (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return CLI_DONE;
    }
    signal(SIGPIPE, SIG_IGN);
    L = luaL_newstate();
    if (!L)
        fatal("not enough memory");
    luaL_openlibs(L);
    config_default(&c);
    set_path(L, c.worker_conf.lua_dir);
    config_free(&c);
    ltesting_preload(L);
    push_words(L, argc, argv);
    lua_setglobal(L, "arg");
    lua_pushcfunction(L, run_busted);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        cli_error("%s", luaL_tolstring(L, -1, NULL));
        status = CLI_WRONG;
    }
    lua_close(L);
    return status;
}
