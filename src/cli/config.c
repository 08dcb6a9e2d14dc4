#include "cli/config.h"

#include <errno.h>
#include <lauxlib.h>
#include <libgen.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config_impl.h"
#include "lualib/linit.h"
#include "master/master.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/frame.h"

/* Where make install puts lua/. */
#ifndef GWRUN_LUA_DIR
#define GWRUN_LUA_DIR "/usr/local/share/gwrun/lua"
#endif

#define TEXT_MAX       1024 /* bytes of a name, path or address */
#define MESSAGE_MAX    (FRAME_MAX_LEN - 64 * 1024) /* must fit in a frame */
#define BYTES_MAX      (1024.0 * 1024 * 1024 * 1024)
#define SECONDS_MAX    (7.0 * 24 * 3600)
#define MEMORY_MIN     (1024 * 1024)
#define PARENTS_MAX    8 /* folders above the executable that are tried */
#define LUA_DIR_MARKER "gateway.lua" /* a file that only our lua/ has */

#define FIELD(key_, kind_, type, member, min_, max_)                  \
    .key = (key_), .kind = (kind_), .offset = offsetof(type, member), \
    .min = (min_), .max = (max_)

static const char *const send_words[] = {"text", "binary", NULL};
static const char *const overflow_words[] = {"close", "drop", NULL};
static const char *const router_words[] = {
    "least", "random", "hash_ip", "hash_uid", NULL};
static const char *const level_words[] = {
    "error", "warn", "notice", "info", "debug", NULL};

#define TOP(key, kind, member, min, max) \
    FIELD(key, kind, struct config_load, member, min, max)
#define REGISTER(key, kind, member, min, max) \
    TOP(key, kind, c.register_conf.member, min, max)

static const struct config_field register_fields[] = {
    {REGISTER("listen", CONFIG_TEXT, listen, 1, TEXT_MAX), .required = true,
        .want = "\"host:port\", such as \"127.0.0.1:1237\""},
    {REGISTER("secret_key", CONFIG_TEXT, secret_key, 0, 255)},
    {REGISTER("auth_timeout", CONFIG_SECONDS, auth_timeout, 0.1, 3600)},
    {0},
};

#define GATEWAY(key, kind, member, min, max) \
    FIELD(key, kind, struct config_gateway, member, min, max)
#define CLIENTS(key, kind, member, min, max) \
    GATEWAY(key, kind, conf.clients.member, min, max)

static const struct config_field tls_fields[] = {
    {CLIENTS("cert", CONFIG_TEXT, tls_cert, 1, TEXT_MAX), .required = true,
        .want = "the path of a PEM file"},
    {CLIENTS("key", CONFIG_TEXT, tls_key, 1, TEXT_MAX), .required = true,
        .want = "the path of a PEM file"},
    {0},
};

static const struct config_field gateway_fields[] = {
    {GATEWAY("name", CONFIG_TEXT, conf.name, 1, 64), .required = true},
    {GATEWAY("listen", CONFIG_TEXT, listen, 1, TEXT_MAX), .required = true,
        .want = "\"protocol://host:port\", such as "
                "\"websocket://0.0.0.0:8283\""},
    {GATEWAY("count", CONFIG_COUNT, count, 1, CONFIG_COUNT_MAX)},
    {GATEWAY("lan_ip", CONFIG_TEXT, conf.lan_ip, 1, TEXT_MAX)},
    {GATEWAY("start_port", CONFIG_PORT, conf.start_port, 1, 65535),
        .required = true},
    {GATEWAY("inner_listen", CONFIG_TEXT, inner_listen, 1, TEXT_MAX)},
    {GATEWAY("register_address", CONFIG_TEXTS, conf.register_addresses, 1,
        TEXT_MAX)},
    {GATEWAY("router", CONFIG_WORD, conf.router, 0, 0), .words = router_words,
        .take_function = config_router_take,
        .want =
            "\"least\", \"random\", \"hash_ip\", \"hash_uid\" or a function"},
    {GATEWAY("worker_high_water", CONFIG_SIZE, conf.worker_high_water, 65536,
        BYTES_MAX)},
    {GATEWAY(
        "ping_interval", CONFIG_SECONDS, conf.ping_interval, 0, SECONDS_MAX)},
    {GATEWAY(
        "idle_timeout", CONFIG_SECONDS, conf.idle_timeout, 0, SECONDS_MAX)},
    {GATEWAY("ping_not_response_limit", CONFIG_COUNT,
        conf.ping_not_response_limit, 0, 1000)},
    {GATEWAY("ping_data", CONFIG_TEXT, conf.ping_data, 0, 65536)},
    {GATEWAY(
        "accept_before_ready", CONFIG_BOOL, conf.accept_before_ready, 0, 0)},
    {.key = "tls",
        .kind = CONFIG_TABLE,
        .fields = tls_fields,
        .want = "tls = { cert = \"file.pem\", key = \"file.pem\" }"},
    {CLIENTS("www", CONFIG_TEXT, www, 1, TEXT_MAX)},
    {CLIENTS("send", CONFIG_EITHER, send_binary, 0, 0), .words = send_words},
    {CLIENTS("allowed_origins", CONFIG_TEXTS, allowed_origins, 1, TEXT_MAX)},
    {CLIENTS("trusted_proxies", CONFIG_TEXTS, trusted_proxies, 1, TEXT_MAX),
        .want = "a network, or a list of them, such as \"10.0.0.0/8\""},
    {CLIENTS("proxy_protocol", CONFIG_BOOL, proxy_protocol, 0, 0)},
    {CLIENTS("max_message", CONFIG_SIZE, message_max, 1, MESSAGE_MAX)},
    {CLIENTS("max_queue", CONFIG_SIZE, queue_max, 1024, BYTES_MAX)},
    {CLIENTS("max_queue_total", CONFIG_SIZE, queue_total_max, 0, BYTES_MAX)},
    {CLIENTS("overflow", CONFIG_WORD, overflow, 0, 0), .words = overflow_words},
    {CLIENTS(
        "handshake_timeout", CONFIG_SECONDS, handshake_timeout, 0.1, 3600)},
    {CLIENTS("max_connections", CONFIG_SIZE, max_connections, 1, 10000000)},
    {CLIENTS("max_connections_per_ip", CONFIG_SIZE, max_connections_per_ip, 1,
        10000000)},
    {CLIENTS("max_accept_rate", CONFIG_SIZE, max_accept_rate, 0, 10000000)},
    {0},
};

#define WORKER(key, kind, member, min, max) \
    TOP(key, kind, c.worker_conf.member, min, max)

static const struct config_field worker_fields[] = {
    {WORKER("name", CONFIG_TEXT, name, 1, 64), .required = true},
    {TOP("count", CONFIG_COUNT, c.worker_count, 1, CONFIG_COUNT_MAX)},
    {WORKER("script", CONFIG_TEXT, script, 1, TEXT_MAX), .required = true,
        .want = "the path of a Lua file, such as \"scripts/events.lua\""},
    {WORKER("event_handler", CONFIG_TEXT, event_handler, 1, 255)},
    {WORKER("register_address", CONFIG_TEXTS, register_addresses, 1, TEXT_MAX)},
    {WORKER("memory_limit", CONFIG_SIZE, memory_max, MEMORY_MIN, BYTES_MAX)},
    {WORKER(
        "handler_timeout", CONFIG_SECONDS, handler_timeout, 0.01, SECONDS_MAX)},
    {WORKER("slow_handler", CONFIG_SECONDS, slow_handler, 0, SECONDS_MAX)},
    {WORKER("queue_limit", CONFIG_SIZE, queue_max, 65536, BYTES_MAX)},
    {WORKER("drain_time", CONFIG_SECONDS, drain_time, 0, SECONDS_MAX)},
    {WORKER("gateway_high_water", CONFIG_SIZE, gateway_high_water, 65536,
        BYTES_MAX)},
    {0},
};

static const struct config_field log_fields[] = {
    {TOP("file", CONFIG_TEXT, c.log_file, 1, TEXT_MAX)},
    {TOP("level", CONFIG_WORD, c.log_level, 0, 0), .words = level_words},
    {0},
};

static const struct config_field top_fields[] = {
    {.key = "register", .kind = CONFIG_TABLE, .fields = register_fields},
    {.key = "gateways", .kind = CONFIG_ELSEWHERE}, /* read_gateways() */
    {.key = "workers", .kind = CONFIG_TABLE, .fields = worker_fields},
    {TOP("register_address", CONFIG_TEXTS, register_addresses, 1, TEXT_MAX)},
    {TOP("secret_key", CONFIG_TEXT, secret_key, 0, 255)},
    {TOP("secret_key_file", CONFIG_TEXT, secret_key_file, 1, TEXT_MAX)},
    {TOP("user", CONFIG_TEXT, c.user, 1, 64)},
    {TOP("group", CONFIG_TEXT, c.group, 1, 64)},
    {TOP("run_dir", CONFIG_TEXT, c.run_dir, 1, TEXT_MAX)},
    {.key = "log", .kind = CONFIG_TABLE, .fields = log_fields},
    {TOP("stop_timeout", CONFIG_SECONDS, c.stop_timeout, 0.1, 3600)},
    {TOP("hang_timeout", CONFIG_SECONDS, c.hang_timeout, 1, 3600)},
    {TOP("drain_time", CONFIG_SECONDS, c.drain_time, 0, 3600)},
    {0},
};

static const struct config_gateway gateway_defaults = {
    .conf =
        {
            .clients =
                {
                    .message_max = CLIENT_IO_MESSAGE_MAX,
                    .queue_max = CLIENT_IO_QUEUE_MAX,
                    .queue_total_max = CLIENT_IO_QUEUE_TOTAL_MAX,
                    .handshake_timeout = CLIENT_IO_HANDSHAKE_TIMEOUT,
                    .max_connections = CLIENT_IO_MAX_CONNECTIONS,
                    .max_connections_per_ip = CLIENT_IO_MAX_PER_IP,
                    .max_accept_rate = CLIENT_IO_ACCEPT_RATE,
                },
            .lan_ip = "127.0.0.1",
            .worker_high_water = GATEWAY_WORKER_HIGH_WATER,
            .ping_interval = GATEWAY_PING_INTERVAL,
            .idle_timeout = -1, /* as the heartbeat has it */
        },
    .count = 1,
};

static void set_defaults(struct config *c)
{
    c->register_conf.auth_timeout = REGISTER_AUTH_TIMEOUT;
    c->worker_count = 1;
    c->worker_conf.name = "Worker";
    c->worker_conf.secret_key = "";
    c->worker_conf.event_handler = "Events";
    c->worker_conf.memory_max = WORKER_MEMORY_MAX;
    c->worker_conf.handler_timeout = WORKER_HANDLER_TIMEOUT;
    c->worker_conf.slow_handler = WORKER_SLOW_HANDLER;
    c->worker_conf.queue_max = WORKER_QUEUE_MAX;
    c->worker_conf.drain_time = WORKER_DRAIN_TIME;
    c->worker_conf.gateway_high_water = WORKER_GATEWAY_HIGH_WATER;
    c->worker_conf.open_libs = linit_open_libs;
    c->run_dir = "run";
    c->log_file = "log/gwrun.log";
    c->log_level = LOG_NOTICE;
    c->stop_timeout = MASTER_STOP_TIMEOUT;
    c->hang_timeout = MASTER_HANG_TIMEOUT;
    c->drain_time = CONFIG_DRAIN_TIME;
}

/* gateways = { {…}, {…} }; the list is on top of the stack. */
static void read_gateways(struct config_load *l, lua_State *L)
{
    static const char where[] = "gateways";
    char shown[CONFIG_SHOW_SIZE], entry[CONFIG_WHERE_SIZE];
    size_t count = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;

    if (lua_isnil(L, -1))
        return;
    if (count == 0 || count > CONFIG_GATEWAYS_MAX) {
        config_complain(l, where,
            "is %s; give a list of 1 to %d tables: { { name = …, listen = …, "
            "start_port = … } }",
            lua_istable(L, -1) ? "a table with no or too many entries"
                               : config_show(shown, L, -1),
            CONFIG_GATEWAYS_MAX);
        return;
    }
    l->c.gateways = config_alloc(l->memory, count * sizeof(*l->c.gateways));
    l->c.ngateways = count;
    for (size_t i = 0; i < count; i++) {
        l->c.gateways[i] = gateway_defaults;
        snprintf(entry, sizeof(entry), "%s[%zu]", where, i + 1);
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (lua_istable(L, -1))
            config_read_table(l, L, entry, gateway_fields, &l->c.gateways[i]);
        else
            config_complain(l, entry,
                "is %s; give a table { name = …, listen = …, start_port = … }",
                config_show(shown, L, -1));
        lua_pop(L, 1);
    }
}

/* What a configuration may use: no files, no processes, no endless loops that
 * hide behind pcall. */
static void push_sandbox(lua_State *L)
{
    static const char *const base[] = {"assert", "error", "ipairs", "next",
        "pairs", "select", "tonumber", "tostring", "type", NULL};

    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    lua_newtable(L);
    for (size_t i = 0; base[i]; i++) {
        lua_getglobal(L, base[i]);
        lua_setfield(L, -2, base[i]);
    }
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    lua_setfield(L, -2, LUA_STRLIBNAME);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    lua_setfield(L, -2, LUA_TABLIBNAME);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 0);
    lua_setfield(L, -2, LUA_MATHLIBNAME);
    luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 0);
    lua_newtable(L);
    lua_getfield(L, -2, "getenv");
    lua_setfield(L, -2, "getenv");
    lua_setfield(L, -3, LUA_OSLIBNAME);
    lua_pop(L, 1);
}

static void on_too_long(lua_State *L, lua_Debug *ar)
{
    luaL_where(L, 0);
    lua_pushfstring(L, "still running after %d steps; a configuration must end",
        CONFIG_STEPS_MAX);
    lua_concat(L, 2);
    lua_error(L);
}

struct source {
    struct config_load *load; /* borrowed */
    const char *text;         /* borrowed */
};

/* Protected: run the text and read the table that it returns. */
static int read_source(lua_State *L)
{
    struct source *s = lua_touserdata(L, 1);
    struct config_load *l = s->load;
    char shown[CONFIG_SHOW_SIZE];

    if (luaL_loadbufferx(L, s->text, strlen(s->text), "=" CONFIG_CHUNK, "t") !=
        LUA_OK)
        return lua_error(L);
    push_sandbox(L);
    lua_setupvalue(L, 2, 1);
    lua_settop(L, 2);
    lua_sethook(L, on_too_long, LUA_MASKCOUNT, CONFIG_STEPS_MAX);
    lua_call(L, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    if (!lua_istable(L, -1)) {
        config_complain(l, "", "returns %s; end it with return { … }",
            config_show(shown, L, -1));
        return 0;
    }
    config_read_table(l, L, "", top_fields, l);
    l->c.has_register = lua_getfield(L, 2, "register") == LUA_TTABLE;
    l->c.has_workers = lua_getfield(L, 2, "workers") == LUA_TTABLE;
    lua_getfield(L, 2, "gateways");
    read_gateways(l, L);
    return 0;
}

static void *allocate(void *ud, void *ptr, size_t old_size, size_t size)
{
    struct config_memory *m = ud;
    size_t old = ptr ? old_size : 0;
    void *p;

    if (size == 0) {
        free(ptr);
        m->lua_used -= old;
        return NULL;
    }
    if (size > old && m->lua_used + (size - old) > CONFIG_MEMORY_MAX)
        return NULL;
    p = realloc(ptr, size);
    if (p)
        m->lua_used = m->lua_used - old + size;
    return p;
}

static void run_source(struct config_load *l, const char *text)
{
    struct source s = {.load = l, .text = text};
    lua_State *L = lua_newstate(allocate, l->memory);
    char *message;

    if (!L)
        fatal("out of memory for a Lua state");
    lua_pushcfunction(L, read_source);
    lua_pushlightuserdata(L, &s);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        message = config_lua_message(L, l->c.path);
        l->ncomplaints++;
        buf_printf(&l->complaints, "%s\n", message);
        free(message);
        lua_settop(L, 0);
    }
    if (l->has_functions)
        l->memory->lua = L;
    else
        lua_close(L);
}

/* The folder above conf/, or the file's own. NULL when there is none. */
static char *find_root(struct config_load *l)
{
    char *copy = xstrdup(l->c.path), real[PATH_MAX];
    char *slash, *root = NULL;

    if (realpath(dirname(copy), real)) {
        slash = strrchr(real, '/');
        if (slash && strcmp(slash, "/conf") == 0)
            slash[slash == real] = '\0';
        root = config_strdup(l->memory, real);
    }
    free(copy);
    return root;
}

/* lua/ in the source tree or share/gwrun/lua of the prefix that the executable
 * lies in. */
static const char *find_lua_dir(struct config_memory *memory)
{
    static const char *const places[] = {"lua", "share/gwrun/lua"};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

    exe[n > 0 ? n : 0] = '\0';
    for (int level = 0; level < PARENTS_MAX && strrchr(exe, '/'); level++) {
        *strrchr(exe, '/') = '\0';
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            char *dir = xasprintf("%s/%s", exe, places[i]);
            char *marker = xasprintf("%s/%s", dir, LUA_DIR_MARKER);
            const char *found = NULL;

            if (access(marker, R_OK) == 0)
                found = config_strdup(memory, dir);
            free(marker);
            free(dir);
            if (found)
                return found;
        }
    }
    return GWRUN_LUA_DIR;
}

/* The file's text; the caller frees it. NULL after a complaint. */
static char *read_text_file(struct config_load *l)
{
    char *text = xcalloc(1, CONFIG_TEXT_MAX + 2);
    FILE *file = fopen(l->c.path, "re");
    struct stat st;
    size_t len = 0;

    if (file && fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode))
        len = fread(text, 1, CONFIG_TEXT_MAX + 1, file);
    else
        config_complain(l, "",
            "cannot be read: %s; name the file with -c FILE, or make a "
            "project with gwrun new DIR",
            file ? "not a file" : strerror(errno));
    if (len > CONFIG_TEXT_MAX)
        config_complain(
            l, "", "is larger than %d bytes; make it smaller", CONFIG_TEXT_MAX);
    else if (strlen(text) != len)
        config_complain(l, "", "has a zero byte in it; give a text file");
    if (file)
        fclose(file);
    if (l->ncomplaints == 0)
        return text;
    free(text);
    return NULL;
}

void config_default(struct config *out)
{
    struct config_memory *memory = xcalloc(1, sizeof(*memory));

    *out = (struct config){.memory = memory};
    set_defaults(out);
    out->worker_conf.lua_dir = find_lua_dir(memory);
}

/* lenient: mistakes in what the file says do not count. */
static int load(struct config *out, const char *path, const char *text,
    bool lenient, char **err)
{
    struct config_load l = {.memory = NULL};
    char *own_text = NULL;

    *err = NULL;
    config_default(&l.c);
    l.memory = l.c.memory;
    l.c.path = config_strdup(l.memory, path);
    l.c.root = find_root(&l);
    if (!text)
        text = own_text = read_text_file(&l);
    if (text && !l.c.root)
        config_complain(&l, "",
            "its folder cannot be found: %s; run gwrun "
            "from a folder that exists",
            strerror(errno));
    if (text && l.c.root) {
        run_source(&l, text);
        if (lenient)
            l.ncomplaints = 0;
        else if (l.c.has_register || l.c.has_workers || l.c.ngateways > 0 ||
                 l.ncomplaints == 0)
            config_check(&l);
    }
    free(own_text);
    if (l.ncomplaints > 0) {
        buf_append_byte(&l.complaints, '\0');
        *err = xstrdup((const char *)l.complaints.data);
        config_free(&l.c);
        memset(out, 0, sizeof(*out));
    } else {
        *out = l.c;
    }
    buf_fini(&l.complaints);
    return *err ? -EINVAL : 0;
}

int config_load(
    struct config *out, const char *path, const char *text, char **err)
{
    return load(out, path, text, false, err);
}

int config_find(struct config *out, const char *path, char **err)
{
    return load(out, path, NULL, true, err);
}

void config_free(struct config *c)
{
    struct config_memory *memory = c->memory;

    if (memory) {
        config_memory_free(memory);
        free(memory);
    }
    memset(c, 0, sizeof(*c));
}
