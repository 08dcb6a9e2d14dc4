/* The role: a port for requests, whom it answers (guard.c), and what. Most
 * answers are made at once, from a look at shared memory, and leave at the end
 * of the turn. Only who has given the key reaches another process: the master,
 * with a question about clients, or to close some (desk.c). */
#include "admin/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/desk.h"
#include "admin/exposition.h"
#include "admin/guard.h"
#include "admin/live.h"
#include "admin/overview.h"
#include "admin/poolmetrics.h"
#include "admin/scriptmetrics.h"
#include "clients/exchange.h"
#include "clients/port.h"
#include "net/clock.h"
#include "net/turn.h"
#include "proc/verdict.h"
#include "util/alloc.h"
#include "util/log.h"

#define CONNECTIONS_MAX 256
#define BODY_MAX        4096              /* bytes of a request's body */
#define QUEUE_MAX       (4 * 1024 * 1024) /* bytes that wait for a page */

/* Whatever is shown runs nothing from elsewhere, and in nobody's frame. */
#define CONTENT_POLICY                                          \
    "default-src 'none'; script-src 'self'; style-src 'self'; " \
    "img-src 'self'; connect-src 'self'; base-uri 'none'; "     \
    "form-action 'self'; frame-ancestors 'none'"

/* Of every answer: name and value. */
static const char *const headers[][2] = {
    {"content-security-policy", CONTENT_POLICY},
    {"x-content-type-options", "nosniff"},
    {"x-frame-options", "DENY"},
    {"referrer-policy", "no-referrer"},
    {"cross-origin-resource-policy", "same-origin"},
    {"cache-control", "no-store"},
};

#define GUESS_LOG_MS 1000 /* for one line of a wrong key */
#define RETRY_AFTER  "1"  /* seconds; slow readers are given up after a few */

struct admin {
    uv_loop_t *loop;
    const struct admin_system *system; /* borrowed */
    struct turn *turn;                 /* owned */
    struct port *port;                 /* owned; NULL while it begins */
    struct guard *guard;               /* owned */
    struct desk *desk;        /* owned; NULL: there is no master to ask */
    struct live *live;        /* owned */
    struct log_share guesses; /* of the key */
    bool has_cluster;
    size_t scraped; /* bytes of scrapes that leave with this turn */
};

/* A request, until it is answered. */
struct call {
    struct turn_task task;          /* at the end of a turn it is */
    struct admin *admin;            /* borrowed */
    struct client_conn *c;          /* borrowed, until on_request_end() */
    struct desk_question *question; /* borrowed; it waits for that, or NULL */
    union addr peer;                /* who stands behind trusted proxies */
    json_t *said;      /* owned; what it asked for, for the log; or NULL */
    struct buf answer; /* see wire/answer.h */
    size_t scraped;    /* bytes of it, of a scrape; counted in admin */
};

/* ---- answers ---- */

static void put_header(struct buf *out, const char *name, const char *value)
{
    answer_put_header(out, name, strlen(name), value, strlen(value));
}

static void put_head(struct call *call, unsigned status, const char *type)
{
    answer_put_status(&call->answer, status);
    if (type)
        put_header(&call->answer, "content-type", type);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        put_header(&call->answer, headers[i][0], headers[i][1]);
}

static void put_answer(struct call *call, unsigned status, const char *type,
    const void *body, size_t len)
{
    put_head(call, status, type);
    answer_put(&call->answer, ANSWER_BODY, body, len);
}

static void put_text(struct call *call, unsigned status, const char *text)
{
    put_answer(call, status, "text/plain; charset=utf-8", text, strlen(text));
}

/* Takes the reference to value. */
static void put_json(struct call *call, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));

    put_answer(call, status, "application/json", text, strlen(text));
    free(text);
    json_decref(value);
}

/* ---- what everybody may see ---- */

static void look(struct admin *a, struct snapshot *out)
{
    snapshot_take(out, a->system, clock_now(a->loop));
}

/* Readers that are slow leave their scrapes here; these are megabytes each. */
static bool may_scrape(const struct admin *a)
{
    return a->scraped + port_counters(a->port)->queued <= ADMIN_WAITING_MAX;
}

static void answer_metrics(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;
    struct snapshot s;
    struct buf text = {0};

    if (!may_scrape(a)) {
        put_text(call, 503, "earlier scrapes wait to be read\n");
        put_header(&call->answer, "retry-after", RETRY_AFTER);
        return;
    }
    look(a, &s);
    exposition_put(&text, &s);
    poolmetrics_put(&text, &s);
    scriptmetrics_put(&text, &s);
    put_answer(call, 200, EXPOSITION_TYPE, text.data, text.len);
    call->scraped = call->answer.len;
    a->scraped += call->scraped;
    buf_fini(&text);
    snapshot_fini(&s);
}

static json_t *make_status(struct admin *a)
{
    struct snapshot s;
    json_t *status;

    look(a, &s);
    status = overview_make(&s);
    snapshot_fini(&s);
    return status;
}

static void answer_status(struct call *call, const struct httpcall *request)
{
    put_json(call, 200, make_status(call->admin));
}

/* This process runs; that is all it says. */
static void answer_livez(struct call *call, const struct httpcall *request)
{
    put_text(call, 200, "ok\n");
}

static void put_lines(struct buf *text, const char *before, const json_t *lines)
{
    const json_t *line;
    size_t i;

    json_array_foreach(lines, i, line)
        buf_printf(text, "%s%s\n", before, json_string_value(line));
}

/* A cell without its cluster serves its clients: whoever would rather send them
 * to another cell asks for /readyz?cluster. */
static void answer_readyz(struct call *call, const struct httpcall *request)
{
    bool strict = strcmp(request->head.target, "/readyz?cluster") == 0;
    struct buf text = {0};
    json_t *status = make_status(call->admin);
    json_t *why = verdict_refusals(status);
    json_t *alone =
        call->admin->has_cluster ? verdict_alone(status) : json_array();
    bool ready = json_array_size(why) == 0;

    if (ready && !(strict && json_array_size(alone) > 0))
        buf_append_str(&text, "ok\n");
    else
        ready = false;
    put_lines(&text, "", why);
    put_lines(&text, strict ? "" : "degraded: ", alone);
    put_answer(call, ready ? 200 : 503, "text/plain; charset=utf-8", text.data,
        text.len);
    buf_fini(&text);
    json_decref(alone);
    json_decref(why);
    json_decref(status);
}

static json_t *make_event(void *arg)
{
    struct admin *a = arg;
    struct snapshot s;
    json_t *event;

    look(a, &s);
    event = json_pack("{s:o,s:o,s:o,s:o,s:o}", "status", overview_make(&s),
        "event_times", overview_event_times(&s), "faults", overview_faults(&s),
        "callbacks", overview_callbacks(&s), "cells",
        a->has_cluster ? overview_cells(a->system, s.now) : json_null());
    snapshot_fini(&s);
    return event;
}

/* on_stream() follows. */
static void answer_live(struct call *call, const struct httpcall *request)
{
    put_head(call, 200, NULL);
    answer_put(&call->answer, ANSWER_STREAM, NULL, 0);
}

static void put_file(struct call *call, const char *name)
{
    put_head(call, 200, NULL);
    answer_put(&call->answer, ANSWER_FILE, name, strlen(name));
}

static void answer_page(struct call *call, const struct httpcall *request)
{
    put_file(call, "index.html");
}

static void answer_script(struct call *call, const struct httpcall *request)
{
    put_file(call, "admin.js");
}

static void answer_icon(struct call *call, const struct httpcall *request)
{
    put_file(call, "icon.svg");
}

static void answer_style(struct call *call, const struct httpcall *request)
{
    put_file(call, "admin.css");
}

/* ---- who asks, for the log ---- */

#define WHO_SIZE (2 * ADDR_TEXT_SIZE + 16)

/* "127.0.0.1:4711", which nobody can make up, and behind it whom a trusted
 * proxy speaks for. Returns out. */
static const char *name_peer(char out[WHO_SIZE], const struct call *call)
{
    union addr real = {0};
    socklen_t len = sizeof(real);
    char peer[ADDR_TEXT_SIZE], said[ADDR_TEXT_SIZE];

    if (getpeername(client_conn_fd(call->c), &real.sa, &len) < 0 ||
        real.sa.sa_family == AF_UNIX)
        real = call->peer;
    addr_unmap(&real);
    addr_format(peer, &real);
    addr_format(said, &call->peer);
    if (strcmp(peer, said) == 0)
        snprintf(out, WHO_SIZE, "%s", peer);
    else
        snprintf(out, WHO_SIZE, "%s forwarded=%s", peer, said);
    return out;
}

/* ---- the key ---- */

static void answer_session(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;

    put_json(call, 200,
        json_pack("{s:b,s:b}", "has_key", guard_has_key(a->guard), "known",
            guard_knows(a->guard, request, clock_now(a->loop))));
}

static void answer_login(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;
    struct buf cookie = {0};
    char peer[WHO_SIZE];
    unsigned refused =
        guard_enter(a->guard, request, clock_now(a->loop), &cookie);

    if (refused) {
        put_text(call, refused,
            refused == 404   ? "there is no key_file\n"
            : refused == 429 ? "too many wrong keys; wait a minute\n"
                             : "that is not the key\n");
    } else {
        buf_append_byte(&cookie, '\0');
        put_head(call, 204, NULL);
        put_header(&call->answer, "set-cookie", (const char *)cookie.data);
    }
    if (refused == 0 || log_may(&a->guesses, "wrong keys", 1, GUESS_LOG_MS))
        log_notice("the key was given peer=%s right=%d", name_peer(peer, call),
            refused == 0);
    buf_fini(&cookie);
}

static void answer_logout(struct call *call, const struct httpcall *request)
{
    guard_leave(call->admin->guard, request);
    put_head(call, 204, NULL);
    put_header(&call->answer, "set-cookie",
        GUARD_COOKIE "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
}

/* False: it was told why not. */
static bool is_known(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;

    if (!guard_has_key(a->guard)) {
        put_text(call, 403, "this takes a key, and there is no key_file\n");
        return false;
    }
    if (guard_knows(a->guard, request, clock_now(a->loop)))
        return true;
    put_text(call, 401, "this takes the key\n");
    put_header(&call->answer, "www-authenticate", "Bearer");
    return false;
}

/* ---- clients ---- */

static const char *const picks[] = {"client_id", "uid", "group", "ip"};
#define PICKS (sizeof(picks) / sizeof(picks[0]))

/* What the body, an object, says of whom is meant; how much: *count. NULL: it
 * is not valid. */
static json_t *read_pick(const struct httpcall *request, size_t *count)
{
    json_t *body = json_loadb((const char *)request->body, request->body_len,
        JSON_REJECT_DUPLICATES, NULL);
    json_t *pick = json_is_object(body) ? json_object() : NULL;

    *count = 0;
    for (size_t i = 0; pick && i < PICKS; i++) {
        json_t *value = json_object_get(body, picks[i]);

        if (!json_is_string(value))
            continue;
        json_object_set(pick, picks[i], value);
        ++*count;
    }
    if (pick && *count != json_object_size(body)) {
        json_decref(pick);
        pick = NULL;
    }
    json_decref(body);
    return pick;
}

/* Who orders it: nobody may be there any more when it is done. */
static void log_order(const struct call *call)
{
    char peer[WHO_SIZE], quoted[LOG_QUOTE_SIZE];

    for (size_t i = 0; i < PICKS; i++) {
        const char *text = ctlmsg_string(call->said, picks[i], NULL);

        if (text)
            log_notice("an operator kicks peer=%s %s=%s", name_peer(peer, call),
                picks[i], log_quote(quoted, text, strlen(text)));
    }
}

static void on_answer(json_t *answer, void *arg)
{
    struct call *call = arg;
    const json_t *clients = json_object_get(answer, "clients");
    char peer[WHO_SIZE];

    call->question = NULL;
    if (clients)
        log_notice("kicked by an operator closed=%lld peer=%s",
            (long long)json_integer_value(clients), name_peer(peer, call));
    put_json(call, json_object_get(answer, "error") ? 503 : 200, answer);
    turn_schedule(call->admin->turn, &call->task);
}

/* Takes the reference to question. */
static void ask(struct call *call, json_t *question)
{
    struct admin *a = call->admin;

    if (a->desk)
        call->question = desk_ask(a->desk, question, on_answer, call);
    else
        json_decref(question);
    if (!call->question)
        put_json(call, 503,
            json_pack("{s:s}", "error",
                a->desk ? "too many ask" : "there is no master to ask"));
}

static void ask_for(struct call *call, const struct httpcall *request,
    const char *type, size_t least)
{
    size_t count;
    json_t *question;

    if (!is_known(call, request))
        return;
    question = read_pick(request, &count);
    if (!question || count < least) {
        json_decref(question);
        put_json(call, 400,
            json_pack("{s:s}", "error",
                "give an object with client_id, uid, group or ip"));
        return;
    }
    call->said = json_copy(question);
    json_object_set_new(question, "type", json_string(type));
    if (least > 0) {
        json_object_set_new(question, "do", json_string("kick"));
        log_order(call);
    }
    ask(call, question);
}

/* Their names are clients' affairs. */
static void answer_groups(struct call *call, const struct httpcall *request)
{
    if (is_known(call, request))
        put_json(call, 200,
            json_pack("{s:o}", "groups", overview_groups(call->admin->system)));
}

static void answer_clients(struct call *call, const struct httpcall *request)
{
    ask_for(call, request, "connections", 0);
}

static void answer_kick(struct call *call, const struct httpcall *request)
{
    ask_for(call, request, "order", 1);
}

/* ---- routes ---- */

static const struct route {
    const char *path;
    bool changes; /* asked for with POST, else with GET */
    void (*answer)(struct call *call, const struct httpcall *request);
} routes[] = {
    {"/", false, answer_page},
    {"/admin.js", false, answer_script},
    {"/admin.css", false, answer_style},
    {"/icon.svg", false, answer_icon},
    {"/metrics", false, answer_metrics},
    {"/status.json", false, answer_status},
    {"/livez", false, answer_livez},
    {"/readyz", false, answer_readyz},
    {"/live", false, answer_live},
    {"/session.json", false, answer_session},
    {"/groups.json", false, answer_groups},
    {"/login", true, answer_login},
    {"/logout", true, answer_logout},
    {"/clients.json", true, answer_clients},
    {"/kick", true, answer_kick},
};

static const struct route *find_route(const char *target)
{
    size_t len = strcspn(target, "?");

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strlen(routes[i].path) == len &&
            memcmp(routes[i].path, target, len) == 0)
            return &routes[i];
    return NULL;
}

static void answer(struct call *call, const struct httpcall *request)
{
    const char *method = request->head.method;
    const struct route *route = find_route(request->head.target);
    unsigned refused = guard_judge(call->admin->guard, request);

    if (refused == 421)
        put_text(call, 421,
            "this port does not serve that host; name it in admin.hosts\n");
    else if (refused)
        put_text(call, refused, "a page of another site may not do that\n");
    else if (!route)
        put_text(call, 404, "there is no such page\n");
    else if (route->changes ? strcmp(method, "POST") != 0
                            : !guard_is_safe(method))
        put_text(call, 405,
            route->changes ? "ask with POST\n" : "this can only be read\n");
    else
        route->answer(call, request);
}

/* ---- the port ---- */

static void send_answer(struct turn_task *task)
{
    struct call *call = (struct call *)task; /* its first member */
    const struct answer said = answer_of(&call->answer);

    exchange_reply(call->c, &said, said.status);
}

static bool takes_requests(void *arg)
{
    return true;
}

static void *on_request(struct client_conn *c, const union addr *peer,
    struct httpcall *request, const char *rights, void *arg)
{
    struct admin *a = arg;
    struct call *call = xcalloc(1, sizeof(*call));

    call->admin = a;
    call->c = c;
    call->peer = *peer;
    call->task.run = send_answer;
    list_init(&call->task.node);
    answer(call, request);
    if (!call->question)
        turn_schedule(a->turn, &call->task);
    return call;
}

static void on_request_end(void *request, void *arg)
{
    struct call *call = request;

    if (call->question)
        desk_forget(call->question);
    turn_cancel(&call->task);
    call->admin->scraped -= call->scraped;
    buf_fini(&call->answer);
    json_decref(call->said);
    free(call);
}

static void *on_stream(struct client_conn *c, const union addr *peer,
    const struct answer *said, void *arg)
{
    struct admin *a = arg;

    return live_join(a->live, a->port, c);
}

static void on_close(void *client, const struct client_conn_end *how, void *arg)
{
    live_leave(client);
}

/* Nobody speaks on an event stream, and nothing else becomes a client. */
static void *refuse_client(struct client_conn *c, const union addr *peer,
    const struct client_conn_request *request, void *arg)
{
    return NULL;
}

static void ignore_message(void *client, const void *data, size_t len,
    enum protocol_form form, void *arg)
{
}

static void ignore_activity(void *client, void *arg)
{
}

static const struct client_conn_ops ops = {.on_open = refuse_client,
    .on_stream = on_stream,
    .takes_requests = takes_requests,
    .on_request = on_request,
    .on_request_end = on_request_end,
    .on_message = ignore_message,
    .on_activity = ignore_activity,
    .on_close = on_close};

void admin_port(
    struct port_conf *out, const struct admin_conf *conf, const char *files)
{
    *out = (struct port_conf){.protocol = &proto_http,
        .files = files,
        .cache_control = PORT_CACHE_CONTROL,
        .trusted_proxies = conf->trusted_proxies,
        .head_max = PORT_HEAD_MAX,
        .headers_max = PORT_HEADERS_MAX,
        .message_max = BODY_MAX,
        .queue_max = QUEUE_MAX,
        .handshake_timeout = PORT_HANDSHAKE_TIMEOUT,
        .body_max = BODY_MAX,
        .body_timeout = PORT_BODY_TIMEOUT,
        .request_timeout = PORT_REQUEST_TIMEOUT,
        .keepalive_timeout = PORT_KEEPALIVE_TIMEOUT,
        .max_connections = CONNECTIONS_MAX,
        .max_connections_per_ip = CONNECTIONS_MAX};
}

int admin_new(struct admin **out, uv_loop_t *loop,
    const struct admin_conf *conf, const struct admin_system *system, int fd,
    int desk_fd, char err[256])
{
    struct admin *a = xcalloc(1, sizeof(*a));
    int result;

    a->loop = loop;
    a->system = system;
    a->turn = turn_new(loop);
    a->has_cluster = conf->has_cluster;
    a->guard = guard_new(conf);
    a->live = live_new(loop, make_event, a);
    result = port_new(&a->port, a->turn, fd, &conf->port, &ops, a, err);
    if (result == 0)
        result = port_listen(a->port);
    if (result < 0) {
        admin_free(a);
        return result;
    }
    if (desk_fd > 0)
        a->desk = desk_open(a->turn, desk_fd);
    *out = a;
    return 0;
}

void admin_stop(struct admin *a)
{
    port_stop_listening(a->port);
}

void admin_free(struct admin *a)
{
    if (a->port)
        port_free(a->port);
    live_close(a->live);
    if (a->desk)
        desk_close(a->desk);
    turn_close(a->turn);
    guard_free(a->guard);
    free(a);
}
