/* The keys of the configuration, what they are when they are not given, and the
 * lists that it has of gateways, workers and programs. */
#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config/config_impl.h"
#include "gateway/roster.h"
#include "lualib/linit.h"
#include "master/master.h"
#include "proc/shared.h"
#include "util/log.h"
#include "wire/frame.h"

#define TEXT_MAX         1024            /* bytes of a name, path or address */
#define MESSAGE_MAX      FRAME_LEN_LIMIT /* must fit in max_packet, too */
#define PACKET_MIN       (16 * 1024 * 1024)
#define HEAD_MAX         (1024 * 1024) /* travels with events, too */
#define SESSION_MAX      (8.0 * 1024 * 1024)
#define BOOK_SESSION_MAX 8192
#define BYTES_MAX        (1024.0 * 1024 * 1024 * 1024)
#define SHARE_MAX        (1024.0 * 1024 * 1024)
#define SECONDS_MAX      (7.0 * 24 * 3600)
#define MEMORY_MIN       (1024 * 1024)

#define WANT_SCRIPT "the path of a Lua file, such as \"scripts/events.lua\""

#define FIELD(key_, kind_, type, member, min_, max_)                  \
    .key = (key_), .kind = (kind_), .offset = offsetof(type, member), \
    .min = (min_), .max = (max_)

static const char *const send_words[] = {"text", "binary", NULL};
static const char *const overflow_words[] = {"close", "drop", NULL};
static const char *const router_words[] = {
    "least", "random", "hash_ip", "hash_uid", NULL};
static const char *const restart_words[] = {[MASTER_ALWAYS] = "always",
    [MASTER_ON_FAILURE] = "on-failure",
    [MASTER_NEVER] = "never",
    NULL};
static const char *const level_words[] = {
    "error", "warn", "notice", "info", "debug", NULL};

static const char *const access_words[] = {"combined", "json", NULL};
static const char *const format_words[] = {"text", "json", NULL};

#define TOP(key, kind, member, min, max) \
    FIELD(key, kind, struct config_load, member, min, max)
#define REGISTER(key, kind, member, min, max) \
    TOP(key, kind, c.register_conf.member, min, max)

static const struct config_field register_fields[] = {
    {REGISTER("listen", CONFIG_TEXT, listen, 1, TEXT_MAX), .required = true,
        .want = "\"host:port\", such as \"127.0.0.1:1237\""},
    {REGISTER("cluster_listen", CONFIG_TEXT, cluster_listen, 1, TEXT_MAX),
        .want = "\"host:port\", such as \"10.0.0.1:1236\""},
    {REGISTER("secret_key", CONFIG_TEXT, secret_key, 0, 255)},
    {REGISTER("auth_timeout", CONFIG_SECONDS, auth_timeout, 0.1, 3600)},
    {0},
};

static const struct config_field admin_fields[] = {
    {TOP("listen", CONFIG_TEXT, c.admin.listen, 1, TEXT_MAX), .required = true,
        .want = "\"host:port\", such as \"127.0.0.1:9283\""},
    {TOP("key_file", CONFIG_TEXT, c.admin.key_name, 1, TEXT_MAX)},
    {TOP("hosts", CONFIG_TEXTS, c.admin.hosts, 1, 255),
        .want = "a host, or a list of them, such as \"gwrun.example.com\""},
    {TOP("trusted_proxies", CONFIG_TEXTS, c.admin.trusted_proxies, 1, TEXT_MAX),
        .want = "a network, or a list of them, such as \"127.0.0.1\""},
    {0},
};

static const struct config_field cluster_fields[] = {
    {TOP("engine", CONFIG_TEXT, c.cluster.url, 1, TEXT_MAX), .required = true,
        .want = "an address such as \"redis://:password@10.0.0.9:6379/0\""},
    {TOP("name", CONFIG_TEXT, c.cluster.name, 1, ENGINE_NAME_MAX),
        .required = true,
        .want = "the same name in all cells, such as \"chat\""},
    {TOP("cell", CONFIG_TEXT, c.cluster.cell, 1, ENGINE_NAME_MAX)},
    {TOP("ca_file", CONFIG_TEXT, c.cluster.ca_file, 1, TEXT_MAX)},
    {0},
};

#define GATEWAY(key, kind, member, min, max) \
    FIELD(key, kind, struct config_gateway, member, min, max)
#define CLIENTS(key, kind, member, min, max) \
    GATEWAY(key, kind, conf.clients.member, min, max)

static const struct config_field tls_fields[] = {
    {CLIENTS("cert", CONFIG_TEXT, tls.cert_name, 1, TEXT_MAX), .required = true,
        .want = "the path of a PEM file"},
    {CLIENTS("key", CONFIG_TEXT, tls.key_name, 1, TEXT_MAX), .required = true,
        .want = "the path of a PEM file"},
    {0},
};

static const struct config_field api_fields[] = {
    {CLIENTS("path", CONFIG_TEXT, api.path, 1, TEXT_MAX)},
    {CLIENTS("keys_file", CONFIG_TEXT, api.keys_name, 1, TEXT_MAX),
        .required = true, .want = "the path of a file with a key a line"},
    {CLIENTS("allow", CONFIG_TEXTS, api.allow, 1, TEXT_MAX),
        .want = "a network, or a list of them, such as \"10.0.0.0/8\""},
    {0},
};

static const struct config_field access_fields[] = {
    {CLIENTS("file", CONFIG_TEXT, access.file, 1, TEXT_MAX), .required = true,
        .want = "a path, such as \"log/access.log\""},
    {CLIENTS("format", CONFIG_EITHER, access.json, 0, 0),
        .words = access_words},
    {CLIENTS("redact", CONFIG_TEXTS, access.redact, 1, 255),
        .want = "a name of a query's, or a list of them, such as \"token\""},
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
    {GATEWAY("register_address", CONFIG_TEXTS, conf.discovery.registers, 1,
        TEXT_MAX)},
    {GATEWAY("workers", CONFIG_TEXT, conf.workers, 1, TEXT_MAX),
        .want = "the name of the workers that get its events"},
    {GATEWAY("router", CONFIG_WORD, conf.router, 0, 0), .words = router_words,
        .take_function = config_router_take,
        .want =
            "\"least\", \"random\", \"hash_ip\", \"hash_uid\" or a function"},
    {GATEWAY("worker_high_water", CONFIG_SIZE, conf.worker_high_water, 65536,
        BYTES_MAX)},
    {GATEWAY("session_cache", CONFIG_SIZE, conf.session_cache, 0, BYTES_MAX)},
    {GATEWAY("max_session", CONFIG_SIZE, conf.session_max, 1024, SESSION_MAX)},
    {GATEWAY("client_share", CONFIG_SIZE, conf.client_share, 1, SHARE_MAX)},
    {GATEWAY("begin_window", CONFIG_COUNT, conf.begin_window,
        GATEWAY_BEGIN_WINDOW_MIN, GATEWAY_BEGIN_WINDOW_MAX)},
    {GATEWAY(
        "max_groups", CONFIG_COUNT, conf.groups_max, 1, ROSTER_GROUPS_LIMIT)},
    {GATEWAY(
        "ping_interval", CONFIG_SECONDS, conf.ping_interval, 0, SECONDS_MAX)},
    {GATEWAY(
        "idle_timeout", CONFIG_SECONDS, conf.idle_timeout, 0, SECONDS_MAX)},
    {GATEWAY("ping_not_response_limit", CONFIG_COUNT,
        conf.ping_not_response_limit, 0, 1000)},
    {GATEWAY("ping_data", CONFIG_TEXT, conf.ping_data, 0, 65536)},
    {GATEWAY("client_ping", CONFIG_TEXT, conf.client_ping, 1, 65536)},
    {GATEWAY("client_pong", CONFIG_TEXT, conf.client_pong, 1, 65536)},
    {GATEWAY(
        "accept_before_ready", CONFIG_BOOL, conf.accept_before_ready, 0, 0)},
    {.key = "tls",
        .kind = CONFIG_TABLE,
        .fields = tls_fields,
        .want = "tls = { cert = \"file.pem\", key = \"file.pem\" }"},
    {.key = "api",
        .kind = CONFIG_TABLE,
        .fields = api_fields,
        .want = "api = { keys_file = \"conf/api-keys\" }"},
    {.key = "access_log",
        .kind = CONFIG_TABLE,
        .fields = access_fields,
        .want = "access_log = { file = \"log/access.log\" }"},
    {CLIENTS("www", CONFIG_TEXT, www, 1, TEXT_MAX)},
    {CLIENTS("files", CONFIG_TEXT, files, 1, TEXT_MAX)},
    {CLIENTS("cache_control", CONFIG_TEXT, cache_control, 1, TEXT_MAX)},
    {CLIENTS("send", CONFIG_EITHER, send_binary, 0, 0), .words = send_words},
    {CLIENTS("allowed_origins", CONFIG_TEXTS, allowed_origins, 1, TEXT_MAX)},
    {CLIENTS("protocols", CONFIG_TEXTS, protocols, 1, 255),
        .want = "a subprotocol, or a list of them, the best first, such as "
                "{ \"v2\", \"v1\" }"},
    {CLIENTS("trusted_proxies", CONFIG_TEXTS, trusted_proxies, 1, TEXT_MAX),
        .want = "a network, or a list of them, such as \"10.0.0.0/8\""},
    {CLIENTS("proxy_protocol", CONFIG_BOOL, proxy_protocol, 0, 0)},
    {CLIENTS("max_request_head", CONFIG_SIZE, head_max, 1024, HEAD_MAX)},
    {CLIENTS("max_headers", CONFIG_SIZE, headers_max, 8, 1000)},
    {CLIENTS("max_message", CONFIG_SIZE, message_max, 1, MESSAGE_MAX)},
    {CLIENTS(
        "message_timeout", CONFIG_SECONDS, message_timeout, 0, SECONDS_MAX)},
    {CLIENTS("max_unfinished_total", CONFIG_SIZE, unfinished_total_max, 0,
        BYTES_MAX)},
    {CLIENTS("max_queue", CONFIG_SIZE, queue_max, 1024, BYTES_MAX)},
    {CLIENTS("max_queue_total", CONFIG_SIZE, queue_total_max, 0, BYTES_MAX)},
    {CLIENTS("overflow", CONFIG_WORD, overflow, 0, 0), .words = overflow_words},
    {CLIENTS(
        "handshake_timeout", CONFIG_SECONDS, handshake_timeout, 0.1, 3600)},
    {CLIENTS("max_body", CONFIG_SIZE, body_max, 0, MESSAGE_MAX)},
    {CLIENTS("body_timeout", CONFIG_SECONDS, body_timeout, 0.1, 3600)},
    {CLIENTS("request_timeout", CONFIG_SECONDS, request_timeout, 0.1, 3600)},
    {CLIENTS(
        "keepalive_timeout", CONFIG_SECONDS, keepalive_timeout, 0.1, 3600)},
    {GATEWAY(
        "max_response", CONFIG_SIZE, conf.response_max, 1024, MESSAGE_MAX)},
    {CLIENTS("max_connections", CONFIG_SIZE, max_connections, 1, 10000000)},
    {CLIENTS("max_connections_per_ip", CONFIG_SIZE, max_connections_per_ip, 1,
        10000000)},
    {CLIENTS("max_accept_rate", CONFIG_SIZE, max_accept_rate, 0, 10000000)},
    {0},
};

#define WORKER(key, kind, member, min, max) \
    FIELD(key, kind, struct config_workers, conf.member, min, max)

static const struct config_field worker_fields[] = {
    {WORKER("name", CONFIG_TEXT, name, 1, 64), .required = true},
    {FIELD("count", CONFIG_COUNT, struct config_workers, count, 0,
        CONFIG_COUNT_MAX)},
    {WORKER("script", CONFIG_TEXT, script, 1, TEXT_MAX), .want = WANT_SCRIPT},
    {WORKER("event_handler", CONFIG_TEXT, event_handler, 1, 255)},
    {WORKER(
        "register_address", CONFIG_TEXTS, discovery.registers, 1, TEXT_MAX)},
    {WORKER("memory_limit", CONFIG_SIZE, memory_max, MEMORY_MIN, BYTES_MAX)},
    {WORKER(
        "handler_timeout", CONFIG_SECONDS, handler_timeout, 0.01, SECONDS_MAX)},
    {WORKER("slow_handler", CONFIG_SECONDS, slow_handler, 0, SECONDS_MAX)},
    {WORKER("queue_limit", CONFIG_SIZE, queue_max, 65536, BYTES_MAX)},
    {WORKER("drain_time", CONFIG_SECONDS, drain_time, 0, SECONDS_MAX)},
    {WORKER(
        "gateway_lost_timeout", CONFIG_SECONDS, gateway_lost, 1, SECONDS_MAX)},
    {WORKER("shared_keys", CONFIG_SIZE, shared_keys, 1, SHARED_KEYS_MAX)},
    {WORKER("gateway_high_water", CONFIG_SIZE, gateway_high_water, 65536,
        BYTES_MAX)},
    {0},
};

#define PROGRAM(key, kind, member, min, max) \
    FIELD(key, kind, struct config_program, member, min, max)

static const struct config_field program_fields[] = {
    {PROGRAM("name", CONFIG_TEXT, conf.name, 1, 64), .required = true},
    {PROGRAM("file", CONFIG_TEXT, conf.script, 1, TEXT_MAX), .required = true,
        .want = "the path of a Lua file, such as \"scripts/feed.lua\""},
    {PROGRAM("args", CONFIG_TEXTS, args, 0, TEXT_MAX)},
    {PROGRAM("restart", CONFIG_WORD, restart, 0, 0), .words = restart_words},
    {PROGRAM(
        "memory_limit", CONFIG_SIZE, conf.memory_max, MEMORY_MIN, BYTES_MAX)},
    {0},
};

static const struct config_field discovery_fields[] = {
    {TOP("gateways", CONFIG_TEXTS, listed, 1, TEXT_MAX), .required = true},
    {0},
};

static const struct config_field log_fields[] = {
    {TOP("file", CONFIG_TEXT, c.log_file, 1, TEXT_MAX)},
    {TOP("level", CONFIG_WORD, c.log_level, 0, 0), .words = level_words},
    {TOP("format", CONFIG_WORD, c.log_json, 0, 0), .words = format_words},
    {0},
};

static const struct config_field top_fields[] = {
    {.key = "register", .kind = CONFIG_TABLE, .fields = register_fields},
    {.key = "gateways", .kind = CONFIG_ELSEWHERE}, /* read_gateways() */
    {.key = "workers", .kind = CONFIG_ELSEWHERE},  /* read_workers() */
    {.key = "programs", .kind = CONFIG_ELSEWHERE}, /* read_programs() */
    {.key = "admin", .kind = CONFIG_ELSEWHERE},    /* read_admin() */
    {.key = "cluster", .kind = CONFIG_ELSEWHERE},  /* read_cluster() */
    {TOP("register_address", CONFIG_TEXTS, register_addresses, 1, TEXT_MAX)},
    {.key = "discovery", .kind = CONFIG_TABLE, .fields = discovery_fields},
    {TOP("secret_key", CONFIG_TEXT, secret_key, 0, 255)},
    {TOP("secret_key_also", CONFIG_TEXT, secret_key_also, 1, 255)},
    {TOP("secret_key_file", CONFIG_TEXT, secret_key_file, 1, TEXT_MAX)},
    {TOP("max_packet", CONFIG_SIZE, c.program_conf.packet_max, PACKET_MIN,
        FRAME_LEN_LIMIT)},
    {TOP("user", CONFIG_TEXT, c.user, 1, 64)},
    {TOP("group", CONFIG_TEXT, c.group, 1, 64)},
    {TOP("run_dir", CONFIG_TEXT, c.run_dir, 1, TEXT_MAX)},
    {TOP("book_dir", CONFIG_TEXT, c.book_dir, 0, TEXT_MAX)},
    {TOP("book_session", CONFIG_SIZE, c.book_session, 0, BOOK_SESSION_MAX)},
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
                    .message_timeout = PORT_MESSAGE_TIMEOUT,
                    .unfinished_total_max = PORT_UNFINISHED_MAX,
                    .head_max = PORT_HEAD_MAX,
                    .headers_max = PORT_HEADERS_MAX,
                    .cache_control = PORT_CACHE_CONTROL,
                    .message_max = PORT_MESSAGE_MAX,
                    .queue_max = PORT_QUEUE_MAX,
                    .queue_total_max = PORT_QUEUE_TOTAL_MAX,
                    .handshake_timeout = PORT_HANDSHAKE_TIMEOUT,
                    .body_max = PORT_BODY_MAX,
                    .body_timeout = PORT_BODY_TIMEOUT,
                    .request_timeout = PORT_REQUEST_TIMEOUT,
                    .keepalive_timeout = PORT_KEEPALIVE_TIMEOUT,
                    .max_connections = PORT_MAX_CONNECTIONS,
                    .max_connections_per_ip = PORT_MAX_PER_IP,
                    .max_accept_rate = PORT_ACCEPT_RATE,
                },
            .lan_ip = "127.0.0.1",
            .worker_high_water = GATEWAY_WORKER_HIGH_WATER,
            .session_max = GATEWAY_SESSION_MAX,
            .client_share = GATEWAY_CLIENT_SHARE,
            .begin_window = GATEWAY_BEGIN_WINDOW,
            .session_cache = GATEWAY_SESSION_CACHE,
            .groups_max = GATEWAY_GROUPS_MAX,
            .response_max = GATEWAY_RESPONSE_MAX,
            .ping_interval = GATEWAY_PING_INTERVAL,
            .idle_timeout = -1, /* as the heartbeat has it */
        },
    .count = 1,
};

static const struct worker_conf worker_defaults = {
    .name = "Worker",
    .secret_key = "",
    .event_handler = "Events",
    .memory_max = WORKER_MEMORY_MAX,
    .handler_timeout = WORKER_HANDLER_TIMEOUT,
    .slow_handler = WORKER_SLOW_HANDLER,
    .queue_max = WORKER_QUEUE_MAX,
    .drain_time = WORKER_DRAIN_TIME,
    .gateway_lost = WORKER_GATEWAY_LOST,
    .gateway_high_water = WORKER_GATEWAY_HIGH_WATER,
    .shared_keys = SHARED_KEYS,
    .open_libs = linit_open_libs,
};

void config_set_defaults(struct config *c)
{
    c->register_conf.auth_timeout = REGISTER_AUTH_TIMEOUT;
    c->program_conf = worker_defaults;
    c->program_conf.packet_max = FRAME_MAX_LEN;
    c->run_dir = "run";
    c->book_session = GATEWAY_BOOK_SESSION;
    c->log_file = "log/gwrun.log";
    c->log_level = LOG_NOTICE;
    c->stop_timeout = MASTER_STOP_TIMEOUT;
    c->hang_timeout = MASTER_HANG_TIMEOUT;
    c->drain_time = CONFIG_DRAIN_TIME;
}

/* A key that holds a list of tables. */
struct entries {
    const char *key;
    const struct config_field *fields; /* of each table */
    const char *want;                  /* a table, for messages */
    size_t max;
    /* Looks at the table on top of the stack once it is in base; or NULL. */
    void (*check)(
        struct config_load *l, lua_State *L, const char *where, void *base);
};

/* Keys of the list on top of the stack, which would be without effect. */
static void check_no_keys(
    struct config_load *l, lua_State *L, const struct entries *list)
{
    char shown[CONFIG_SHOW_SIZE];

    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING)
            config_complain(l, list->key,
                "has the key %s beside its list; put it into the entries",
                config_show(shown, L, -1));
    }
}

/* How many entries the list on top of the stack has; 0 after a complaint. */
static size_t check_list(
    struct config_load *l, lua_State *L, const struct entries *list)
{
    char shown[CONFIG_SHOW_SIZE];
    size_t count = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;

    if (count > 0 && count <= list->max) {
        check_no_keys(l, L, list);
        return count;
    }
    config_complain(l, list->key,
        "is %s; give a list of 1 to %zu tables: { %s }",
        lua_istable(L, -1) ? "a table with no or too many entries"
                           : config_show(shown, L, -1),
        list->max, list->want);
    return 0;
}

static void read_table(struct config_load *l, lua_State *L,
    const struct entries *list, const char *where, void *base)
{
    config_read_table(l, L, where, list->fields, base);
    if (list->check)
        list->check(l, L, where, base);
}

/* Entry i of the list on top of the stack into base. The entry's place in the
 * file. */
static const char *read_entry(struct config_load *l, lua_State *L,
    const struct entries *list, size_t i, void *base)
{
    char shown[CONFIG_SHOW_SIZE], where[CONFIG_WHERE_SIZE];

    snprintf(where, sizeof(where), "%s[%zu]", list->key, i + 1);
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    if (lua_istable(L, -1))
        read_table(l, L, list, where, base);
    else
        config_complain(l, where, "is %s; give a table %s",
            config_show(shown, L, -1), list->want);
    lua_pop(L, 1);
    return config_strdup(l->memory, where);
}

/* gateways = { {…}, {…} }; the list is on top of the stack. */
static void read_gateways(struct config_load *l, lua_State *L)
{
    static const struct entries list = {"gateways", gateway_fields,
        "{ name = …, listen = …, start_port = … }", CONFIG_GATEWAYS_MAX, NULL};
    size_t count = lua_isnil(L, -1) ? 0 : check_list(l, L, &list);

    l->c.gateways = config_alloc(l->memory, count * sizeof(*l->c.gateways));
    l->c.ngateways = count;
    for (size_t i = 0; i < count; i++) {
        l->c.gateways[i] = gateway_defaults;
        read_entry(l, L, &list, i, &l->c.gateways[i]);
    }
}

/* Workers that run elsewhere need none. */
static void check_script(
    struct config_load *l, lua_State *L, const char *where, void *base)
{
    const struct config_workers *w = base;

    if (lua_getfield(L, -1, "script") == LUA_TNIL && w->count > 0) {
        char path[CONFIG_WHERE_SIZE];

        snprintf(path, sizeof(path), "%.100s.script", where);
        config_complain(l, path, "is missing; give %s", WANT_SCRIPT);
    }
    lua_pop(L, 1);
}

/* workers = {…}, or { {…}, {…} }; the table is on top of the stack. */
static void read_workers(struct config_load *l, lua_State *L)
{
    static const struct entries list = {"workers", worker_fields,
        "{ name = …, script = … }", CONFIG_WORKERS_MAX, check_script};
    bool is_list = lua_istable(L, -1) && lua_rawlen(L, -1) > 0;
    char shown[CONFIG_SHOW_SIZE];
    size_t count = 1;

    if (lua_isnil(L, -1))
        return;
    if (!lua_istable(L, -1)) {
        config_complain(l, list.key,
            "is %s; give a table %s, or a list of them",
            config_show(shown, L, -1), list.want);
        return;
    }
    if (is_list)
        count = check_list(l, L, &list);
    l->c.workers = config_alloc(l->memory, count * sizeof(*l->c.workers));
    l->c.nworkers = count;
    l->c.workers_are_list = is_list;
    for (size_t i = 0; i < count; i++) {
        struct config_workers *w = &l->c.workers[i];

        w->conf = l->c.program_conf;
        w->count = 1;
        w->where = list.key;
        if (is_list)
            w->where = read_entry(l, L, &list, i, w);
        else
            read_table(l, L, &list, list.key, w);
    }
}

/* programs = { {…}, {…} }; the list is on top of the stack. Nobody waits for
 * what they compute. */
static void read_programs(struct config_load *l, lua_State *L)
{
    static const struct entries list = {"programs", program_fields,
        "{ name = …, file = … }", CONFIG_PROGRAMS_MAX, NULL};
    static const char *const no_words[] = {NULL};
    size_t count = lua_isnil(L, -1) ? 0 : check_list(l, L, &list);

    l->c.programs = config_alloc(l->memory, count * sizeof(*l->c.programs));
    l->c.nprograms = count;
    for (size_t i = 0; i < count; i++) {
        struct config_program *p = &l->c.programs[i];

        p->conf = l->c.program_conf;
        p->conf.name = NULL;
        p->conf.handler_timeout = p->conf.slow_handler = 0;
        p->conf.supervised = true;
        read_entry(l, L, &list, i, p);
        p->conf.words = p->args ? p->args : no_words;
    }
}

/* admin = "127.0.0.1:9283", or {…}; the value is on top of the stack. */
static void read_admin(struct config_load *l, lua_State *L)
{
    char shown[CONFIG_SHOW_SIZE];

    if (lua_type(L, -1) == LUA_TSTRING)
        l->c.admin.listen = config_strdup(l->memory, lua_tostring(L, -1));
    else if (lua_istable(L, -1))
        config_read_table(l, L, "admin", admin_fields, l);
    else if (!lua_isnil(L, -1))
        config_complain(l, "admin",
            "is %s; give \"host:port\", or a table { listen = … }",
            config_show(shown, L, -1));
}

/* cluster = {…}; the value is on top of the stack. */
static void read_cluster(struct config_load *l, lua_State *L)
{
    char shown[CONFIG_SHOW_SIZE];

    if (lua_istable(L, -1))
        config_read_table(l, L, "cluster", cluster_fields, l);
    else if (!lua_isnil(L, -1))
        config_complain(l, "cluster",
            "is %s; give a table { engine = \"redis://…\", name = … }",
            config_show(shown, L, -1));
}

void config_read_keys(struct config_load *l, lua_State *L)
{
    config_read_table(l, L, "", top_fields, l);
    l->c.has_register = lua_getfield(L, -1, "register") == LUA_TTABLE;
    lua_getfield(L, -2, "gateways");
    read_gateways(l, L);
    lua_getfield(L, -3, "workers");
    read_workers(l, L);
    lua_getfield(L, -4, "programs");
    read_programs(l, L);
    lua_getfield(L, -5, "admin");
    read_admin(l, L);
    lua_getfield(L, -6, "cluster");
    read_cluster(l, L);
    lua_pop(L, 6);
}
