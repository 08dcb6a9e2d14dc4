/* gwrun test: run busted on a project's specs inside a Lua state that has
 * gwrun.testing (ltesting.c). It hands words on to busted and adds the
 * coverage; the harness itself is elsewhere. */

#include "cli/cli.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "config/config.h"
#include "proc/daemon.h"
#include "testing/coverage.h"
#include "testing/ltesting.h"
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
    "  --coverage     tell which lines of the scripts no spec has run\n"
    "  --log          show what the scripts print and log\n"
    "  -o TAP         another output; also plainTerminal, junit, json …\n"
    "  --filter=TEXT  only specs whose name matches; gwrun test -- --help lists\n"
    "                 all of busted's options\n"
    "\n"
    "Exit status: 0 all passed, 1 some failed, 2 could not run them.\n";

struct flags {
    bool coverage, log;
};

/* The words for busted, without those that are for us. */
static void push_words(lua_State *L, int argc, char **argv, struct flags *flags)
{
    int n = 0;

    lua_createtable(L, argc, 1);
    lua_pushliteral(L, TEST_NAME);
    lua_rawseti(L, -2, 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--coverage") == 0) {
            flags->coverage = true;
        } else if (strcmp(argv[i], "--log") == 0) {
            flags->log = true;
        } else if (strcmp(argv[i], "--") != 0) {
            lua_pushstring(L, argv[i]);
            lua_rawseti(L, -2, ++n);
        }
    }
    lua_setglobal(L, "arg");
}

/* Protected; whether to tell the coverage is at index 1, our folder of Lua
 * files at index 2. Busted ends the process itself, unless all is well. */
static int run_busted(lua_State *L)
{
    static const char chunk[] =
        "local coverage, lua_dir = ...\n"
        "assert(loadfile(lua_dir .. '/gwrun/testing_modules.lua'))(lua_dir)\n"
        "if not package.searchpath('busted.runner', package.path) then\n"
        "  error('test: busted is not installed; run apt install lua-busted,'"
        "    .. ' or set LUA_PATH to where it is', 0)\n"
        "end\n"
        "local exit = os.exit\n"
        "local function report()\n"
        "  local hits = require 'gwrun.testing.core'.coverage()\n"
        "  local text = require 'gwrun.testing_coverage'.report(hits, lua_dir)\n"
        "  io.stderr:write('\\nlines of the scripts that have run:\\n', text, "
        "'\\n')\n"
        "end\n"
        "if coverage then\n"
        "  function os.exit(...) report() exit(...) end\n"
        "end\n"
        "require 'busted.runner' { standalone = false }\n"
        "if coverage then report() end\n";

    if (luaL_loadbuffer(L, chunk, sizeof(chunk) - 1, "@" TEST_NAME) != LUA_OK)
        return lua_error(L);
    lua_insert(L, 1);
    lua_call(L, 2, 0);
    return 0;
}

int cmd_test(int argc, char **argv)
{
    struct coverage *coverage;
    struct flags flags = {0};
    struct config c;
    lua_State *L;
    int status = CLI_DONE;

    if (argc > 1 &&
        (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return CLI_DONE;
    }
    signal(SIGPIPE, SIG_IGN);
    daemon_raise_fd_limit(); /* a spec's client takes two */
    L = luaL_newstate();
    if (!L)
        fatal("not enough memory");
    luaL_openlibs(L);
    push_words(L, argc, argv, &flags);
    coverage = flags.coverage ? coverage_new() : NULL;
    ltesting_preload(L, coverage, flags.log);
    config_default(&c);
    lua_pushcfunction(L, run_busted);
    lua_pushboolean(L, coverage != NULL);
    lua_pushstring(L, c.program_conf.lua_dir);
    config_free(&c);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        cli_error("%s", luaL_tolstring(L, -1, NULL));
        status = CLI_WRONG;
    }
    lua_close(L);
    if (coverage)
        coverage_free(coverage);
    return status;
}
