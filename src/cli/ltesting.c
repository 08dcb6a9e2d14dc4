#include "cli/ltesting.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/coverage.h"
#include "cli/lscript.h"
#include "cli/sim.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"

#define LTESTING_TYPE "gwrun.testing.sim"
#define CURRENT_KEY   "gwrun.testing.current"
#define COVERAGE_KEY  "gwrun.testing.coverage"
#define CONFIG_NAME   "testing.start" /* in messages about the configuration */
#define READ_SIZE     65536

/* A line of the log: followed by who and text, each with a NUL. */
struct line {
    enum log_level level;
    bool is_block;
};

struct ltesting {
    struct sim *sim; /* owned; NULL once closed */
    struct lscript script;
    struct buf log; /* owned; lines */
    char *text;     /* owned; of the script; NULL: it is in a file */
    char *next;     /* owned; of the one that is being prepared */
    struct buf fds; /* owned; int: the clients' ends */
};

/* Every function that may run script code comes through here: what it asks for
 * goes to the state that calls. */
static struct ltesting *check(lua_State *L)
{
    struct ltesting *t = luaL_checkudata(L, 1, LTESTING_TYPE);

    luaL_argcheck(L, t->sim != NULL, 1, "the app was stopped");
    t->script.test = L;
    return t;
}

/* The number of a gateway or worker, from 1, as an index. */
static size_t check_number(lua_State *L, int arg, size_t count)
{
    lua_Integer n = luaL_checkinteger(L, arg);

    luaL_argcheck(
        L, n >= 1 && (size_t)n <= count, arg, "there is none of this number");
    return (size_t)n - 1;
}

/* nil, message */
static int fail(lua_State *L, const char *message)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    return 2;
}

/* ---- life ---- */

static void on_log(
    enum log_level level, const char *who, const char *text, void *arg)
{
    struct ltesting *t = arg;
    struct line line = {level, who == NULL};

    buf_append(&t->log, &line, sizeof(line));
    buf_append(&t->log, who ? who : "", strlen(who ? who : "") + 1);
    buf_append(&t->log, text, strlen(text) + 1);
}

static void close_all(lua_State *L, struct ltesting *t)
{
    const int *fds = (const int *)t->fds.data;

    if (!t->sim)
        return;
    t->script.test = L;
    for (size_t i = 0; i < t->fds.len / sizeof(*fds); i++)
        close(fds[i]);
    sim_free(t->sim);
    t->sim = NULL;
    log_set_sink(NULL, NULL);
    buf_fini(&t->fds);
    buf_fini(&t->log);
    free(t->text);
    free(t->next);
    t->text = t->next = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, t->script.inbox);
}

/* sim:close() */
static int sim_lua_close(lua_State *L)
{
    close_all(L, luaL_checkudata(L, 1, LTESTING_TYPE));
    return 0;
}

static struct coverage *get_coverage(lua_State *L)
{
    struct coverage *c;

    lua_getfield(L, LUA_REGISTRYINDEX, COVERAGE_KEY);
    c = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return c;
}

/* coverage() -> path → set of lines that ran */
static int core_coverage(lua_State *L)
{
    coverage_push(get_coverage(L), L);
    return 1;
}

/* new(gateways) -> sim | nil, message. Closes the one before it. */
static int sim_lua_new(lua_State *L)
{
    lua_Integer gateways = luaL_checkinteger(L, 1);
    char err[SIM_ERR_SIZE];
    struct ltesting *t;

    luaL_argcheck(L, gateways >= 1 && gateways <= CONFIG_GATEWAYS_MAX, 1,
        "a number of gateways expected");
    if (lua_getfield(L, LUA_REGISTRYINDEX, CURRENT_KEY) != LUA_TNIL)
        close_all(L, lua_touserdata(L, -1));
    t = lua_newuserdatauv(L, sizeof(*t), 0);
    memset(t, 0, sizeof(*t));
    luaL_setmetatable(L, LTESTING_TYPE);
    list_init(&t->script.states);
    list_init(&t->script.asks);
    t->script.coverage = get_coverage(L);
    lua_newtable(L);
    t->script.inbox = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, CURRENT_KEY);
    t->sim = sim_new((size_t)gateways, err);
    if (!t->sim)
        return fail(L, err);
    log_set_sink(on_log, t);
    return 1;
}

/* sim:ports() -> the register's, a list of { clients, inner } */
static int sim_lua_ports(lua_State *L)
{
    const struct sim *s = check(L)->sim;

    lua_pushinteger(L, sim_register_port(s));
    lua_createtable(L, (int)sim_gateways(s), 0);
    for (size_t i = 0; i < sim_gateways(s); i++) {
        lua_createtable(L, 2, 0);
        lua_pushinteger(L, sim_client_port(s, i));
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, sim_inner_port(s, i));
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* sim:start(configuration, wall, text | nil) -> true | nil, message */
static int sim_lua_start(lua_State *L)
{
    struct ltesting *t = check(L);
    const char *source = luaL_checkstring(L, 2);
    double wall = luaL_checknumber(L, 3);
    const char *text = luaL_optstring(L, 4, NULL);
    char err[SIM_ERR_SIZE];
    char *message = NULL;
    struct config c;

    if (config_load(&c, CONFIG_NAME, source, &message) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, message);
        free(message);
        return 2;
    }
    c.worker_conf.open_libs = lscript_open_libs;
    c.worker_conf.slow_handler = 0; /* its clock is not the real one */
    if (text) {
        t->text = xstrdup(text);
        c.worker_conf.script_text = t->text;
        c.worker_conf.script = "script.lua";
    }
    if (sim_start(t->sim, &c, wall, &t->script, err) < 0)
        return fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* ---- time ---- */

/* sim:settle() -> false: the script does not come to rest */
static int sim_lua_settle(lua_State *L)
{
    lua_pushboolean(L, sim_settle(check(L)->sim) == 0);
    return 1;
}

/* sim:turn() -> false when nothing is left to do */
static int sim_lua_turn(lua_State *L)
{
    lua_pushboolean(L, sim_turn(check(L)->sim));
    return 1;
}

/* Is there nothing that the test must deal with: no question, no line of the
 * log, no bytes for a client? */
static bool is_quiet(lua_State *L, struct ltesting *t)
{
    const int *fds = (const int *)t->fds.data;
    struct pollfd p = {.events = POLLIN};
    bool quiet = t->log.len == 0;

    lua_rawgeti(L, LUA_REGISTRYINDEX, t->script.inbox);
    quiet = quiet && lua_rawlen(L, -1) == 0;
    lua_pop(L, 1);
    for (size_t i = 0; quiet && i < t->fds.len / sizeof(*fds); i++) {
        p.fd = fds[i];
        quiet = poll(&p, 1, 0) == 0;
    }
    return quiet;
}

/* sim:step(milliseconds, single) -> by how many the clock has moved: to the
 * first timer (that the test has something to do with, unless single), or by
 * all of them */
static int sim_lua_step(lua_State *L)
{
    struct ltesting *t = check(L);
    lua_Integer ms = luaL_checkinteger(L, 2);
    bool single = lua_toboolean(L, 3);
    uint64_t moved = 0;

    luaL_argcheck(L, ms >= 0, 2, "milliseconds expected");
    do {
        moved += sim_step(t->sim, (uint64_t)ms - moved);
    } while (sim_settle(t->sim) == 0 && !single && moved < (uint64_t)ms &&
             is_quiet(L, t));
    lua_pushinteger(L, (lua_Integer)moved);
    return 1;
}

/* sim:now() -> seconds since 1970 */
static int sim_lua_now(lua_State *L)
{
    lua_pushnumber(L, sim_wall(check(L)->sim));
    return 1;
}

/* ---- roles ---- */

/* sim:gateways(), sim:workers() -> a list of whether each is there */
static int sim_lua_gateways(lua_State *L)
{
    const struct sim *s = check(L)->sim;

    lua_newtable(L);
    for (size_t i = 0; i < sim_gateways(s); i++) {
        lua_pushboolean(L, sim_has_gateway(s, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int sim_lua_workers(lua_State *L)
{
    const struct sim *s = check(L)->sim;

    lua_newtable(L);
    for (size_t i = 0; i < sim_workers(s); i++) {
        lua_pushboolean(L, sim_has_worker(s, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* sim:kill_gateway(i) */
static int sim_lua_kill_gateway(lua_State *L)
{
    struct sim *s = check(L)->sim;

    sim_kill_gateway(s, check_number(L, 2, sim_gateways(s)));
    return 0;
}

/* sim:start_gateway(i) -> true | nil, message */
static int sim_lua_start_gateway(lua_State *L)
{
    struct sim *s = check(L)->sim;
    size_t i = check_number(L, 2, sim_gateways(s));
    char err[SIM_ERR_SIZE];

    if (sim_open_gateway(s, i, err) < 0)
        return fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* sim:kill_worker(i) */
static int sim_lua_kill_worker(lua_State *L)
{
    struct sim *s = check(L)->sim;

    sim_kill_worker(s, check_number(L, 2, sim_workers(s)));
    return 0;
}

/* sim:start_worker(i) */
static int sim_lua_start_worker(lua_State *L)
{
    struct sim *s = check(L)->sim;

    sim_open_worker(s, check_number(L, 2, sim_workers(s)));
    return 0;
}

/* sim:stop_workers() */
static int sim_lua_stop_workers(lua_State *L)
{
    sim_stop_workers(check(L)->sim);
    return 0;
}

/* sim:busy() -> does a worker still load its script, or end? */
static int sim_lua_busy(lua_State *L)
{
    lua_pushboolean(L, sim_is_busy(check(L)->sim));
    return 1;
}

/* sim:together() -> has every role found the others? */
static int sim_lua_together(lua_State *L)
{
    lua_pushboolean(L, sim_is_together(check(L)->sim));
    return 1;
}

/* sim:failure() -> why a script could not be loaded | nil */
static int sim_lua_failure(lua_State *L)
{
    lua_pushstring(L, sim_failure(check(L)->sim));
    return 1;
}

/* sim:prepare(text | nil): begin a reload, with this text from now on */
static int sim_lua_prepare(lua_State *L)
{
    struct ltesting *t = check(L);
    const char *text = luaL_optstring(L, 2, NULL);

    if (text) {
        t->next = xstrdup(text);
        sim_set_script(t->sim, t->next);
    }
    sim_prepare(t->sim);
    return 0;
}

/* sim:verdict() -> nil | why the old script goes on */
static int sim_lua_verdict(lua_State *L)
{
    struct ltesting *t = check(L);
    const char *why = sim_verdict(t->sim);

    if (t->next) {
        free(why ? t->next : t->text);
        t->text = why ? t->text : t->next;
        t->next = NULL;
        sim_set_script(t->sim, t->text);
    }
    lua_pushstring(L, why);
    return 1;
}

/* ---- clients ---- */

/* sim:connect(gateway, ip, port) -> fd | nil, message */
static int sim_lua_connect(lua_State *L)
{
    struct ltesting *t = check(L);
    size_t i = check_number(L, 2, sim_gateways(t->sim));
    const char *ip = luaL_checkstring(L, 3);
    lua_Integer port = luaL_checkinteger(L, 4);
    union addr peer;
    int fd;

    luaL_argcheck(L, addr_parse_host(&peer, ip) == 0, 3,
        "an IP address expected, such as \"192.0.2.1\"");
    luaL_argcheck(L, port > 0 && port <= UINT16_MAX, 4, "a port expected");
    peer.in.sin_port = htons((uint16_t)port); /* in the same place in in6 */
    fd = sim_connect(t->sim, i, &peer);
    if (fd == -EAGAIN)
        return fail(L, "the gateway does not run, or no worker is there");
    if (fd < 0)
        return fail(L, strerror(-fd));
    buf_append(&t->fds, &fd, sizeof(fd));
    lua_pushinteger(L, fd);
    return 1;
}

/* sim:client_id(gateway, port) -> id | nil */
static int sim_lua_client_id(lua_State *L)
{
    struct sim *s = check(L)->sim;
    size_t i = check_number(L, 2, sim_gateways(s));
    char id[SIM_ID_SIZE];

    lua_pushstring(
        L, sim_client_id(s, i, (uint16_t)luaL_checkinteger(L, 3), id));
    return 1;
}

/* Its place among the open ends; raises when it is none. */
static int *check_fd(lua_State *L, struct ltesting *t, int arg)
{
    int fd = (int)luaL_checkinteger(L, arg);
    int *fds = (int *)t->fds.data;

    for (size_t i = 0; i < t->fds.len / sizeof(fd); i++) {
        if (fds[i] == fd)
            return &fds[i];
    }
    luaL_argerror(L, arg, "the client is closed");
    return NULL;
}

/* sim:send(fd, bytes, from) -> how many were taken; 0: none now | nil: gone */
static int sim_lua_send(lua_State *L)
{
    int fd = *check_fd(L, check(L), 2);
    size_t len;
    const char *data = luaL_checklstring(L, 3, &len);
    lua_Integer from = luaL_checkinteger(L, 4);
    ssize_t n;

    luaL_argcheck(L, from >= 1 && (size_t)from <= len, 4, "out of range");
    n = send(fd, data + from - 1, len - (size_t)from + 1, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return 0;
    lua_pushinteger(L, n > 0 ? n : 0);
    return 1;
}

/* sim:receive(fd) -> bytes, whether the gateway has closed it */
static int sim_lua_receive(lua_State *L)
{
    int fd = *check_fd(L, check(L), 2);
    ssize_t n;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    do {
        n = recv(fd, luaL_prepbuffsize(&b, READ_SIZE), READ_SIZE, 0);
        if (n > 0)
            luaL_addsize(&b, (size_t)n);
    } while (n > 0);
    n = n < 0 && errno == EAGAIN ? 1 : 0;
    luaL_pushresult(&b);
    lua_pushboolean(L, n == 0);
    return 2;
}

/* sim:readable(fds) -> the list of those with something to receive */
static int sim_lua_readable(lua_State *L)
{
    lua_Integer count, found = 0;
    struct pollfd *polls;

    check(L);
    count = luaL_len(L, 2);
    polls = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof(*polls), 0);
    for (lua_Integer i = 0; i < count; i++) {
        lua_rawgeti(L, 2, i + 1);
        polls[i] =
            (struct pollfd){.fd = (int)lua_tointeger(L, -1), .events = POLLIN};
        lua_pop(L, 1);
    }
    lua_newtable(L);
    if (poll(polls, (nfds_t)count, 0) <= 0)
        return 1;
    for (lua_Integer i = 0; i < count; i++) {
        if (polls[i].revents == 0)
            continue;
        lua_pushinteger(L, polls[i].fd);
        lua_rawseti(L, -2, ++found);
    }
    return 1;
}

/* sim:hang_up(fd) */
static int sim_lua_hang_up(lua_State *L)
{
    struct ltesting *t = check(L);
    int *place = check_fd(L, t, 2);

    close(*place);
    t->fds.len -= sizeof(*place);
    *place = *(int *)(t->fds.data + t->fds.len);
    return 0;
}

/* ---- the script ---- */

/* sim:inbox() -> the list of what scripts have asked since the last time */
static int sim_lua_inbox(lua_State *L)
{
    struct ltesting *t = check(L);

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
    struct ltesting *t = check(L);

    lua_pushboolean(L, lscript_answer(&t->script, luaL_checkinteger(L, 2), 3));
    return 1;
}

/* sim:run(worker, …) -> whether there is one: run() of its script's side */
static int sim_lua_run(lua_State *L)
{
    struct ltesting *t = check(L);
    size_t i = check_number(L, 2, sim_workers(t->sim));

    lua_pushboolean(L, lscript_run(&t->script, (unsigned)i, 3));
    return 1;
}

/* sim:log() -> the list of { level, who, text } since the last time; who is
 * false for what belongs to the line before it */
static int sim_lua_log(lua_State *L)
{
    static const char *const levels[] = {
        "error", "warn", "notice", "info", "debug"};
    struct ltesting *t = check(L);
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

static int open_core(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"answer", sim_lua_answer},
        {"busy", sim_lua_busy},
        {"client_id", sim_lua_client_id},
        {"close", sim_lua_close},
        {"connect", sim_lua_connect},
        {"failure", sim_lua_failure},
        {"gateways", sim_lua_gateways},
        {"hang_up", sim_lua_hang_up},
        {"inbox", sim_lua_inbox},
        {"kill_gateway", sim_lua_kill_gateway},
        {"kill_worker", sim_lua_kill_worker},
        {"log", sim_lua_log},
        {"now", sim_lua_now},
        {"ports", sim_lua_ports},
        {"prepare", sim_lua_prepare},
        {"readable", sim_lua_readable},
        {"receive", sim_lua_receive},
        {"run", sim_lua_run},
        {"send", sim_lua_send},
        {"settle", sim_lua_settle},
        {"start", sim_lua_start},
        {"start_gateway", sim_lua_start_gateway},
        {"start_worker", sim_lua_start_worker},
        {"step", sim_lua_step},
        {"stop_workers", sim_lua_stop_workers},
        {"together", sim_lua_together},
        {"turn", sim_lua_turn},
        {"verdict", sim_lua_verdict},
        {"workers", sim_lua_workers},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"coverage", core_coverage},
        {"new", sim_lua_new},
        {NULL, NULL},
    };

    luaL_newmetatable(L, LTESTING_TYPE);
    lua_pushcfunction(L, sim_lua_close);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setfield(L, -2, "log");
    return 1;
}

void ltesting_preload(lua_State *L, struct coverage *coverage, bool log)
{
    lua_pushlightuserdata(L, coverage);
    lua_setfield(L, LUA_REGISTRYINDEX, COVERAGE_KEY);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushboolean(L, log);
    lua_pushcclosure(L, open_core, 1);
    lua_setfield(L, -2, "gwrun.testing.core");
    lua_pop(L, 1);
}
