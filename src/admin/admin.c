/* The role: a port for requests, whom it answers (guard.c), and what. Answers
 * are made at once, from a look at shared memory, and leave at the end of the
 * turn. Nothing that a request says leads to another process. */
#include "admin/admin.h"

#include <stdlib.h>
#include <string.h>

#include "admin/exposition.h"
#include "admin/guard.h"
#include "admin/overview.h"
#include "admin/scriptmetrics.h"
#include "clients/exchange.h"
#include "clients/port.h"
#include "net/clock.h"
#include "net/turn.h"
#include "proc/verdict.h"
#include "util/alloc.h"
#include "util/log.h"

#define CONNECTIONS_MAX 256
#define BODY_MAX        4096                /* bytes of a request's body */
#define QUEUE_MAX       (256 * 1024 * 1024) /* bytes of an answer */

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

struct admin {
    uv_loop_t *loop;
    const struct admin_system *system; /* borrowed */
    struct turn *turn;                 /* owned */
    struct port *port;                 /* owned; NULL while it begins */
    struct guard *guard;               /* owned */
};

/* A request that is answered at the end of this turn. */
struct call {
    struct turn_task task;
    struct admin *admin;   /* borrowed */
    struct client_conn *c; /* borrowed, until on_request_end() */
    struct buf answer;     /* see wire/answer.h */
};

/* ---- answers ---- */

static void put_header(struct buf *out, const char *name, const char *value)
{
    answer_put_header(out, name, strlen(name), value, strlen(value));
}

static void put_answer(struct buf *out, unsigned status, const char *type,
    const void *body, size_t len)
{
    answer_put_status(out, status);
    put_header(out, "content-type", type);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        put_header(out, headers[i][0], headers[i][1]);
    answer_put(out, ANSWER_BODY, body, len);
}

static void put_text(struct buf *out, unsigned status, const char *text)
{
    put_answer(out, status, "text/plain; charset=utf-8", text, strlen(text));
}

static void put_json(struct buf *out, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));

    put_answer(out, status, "application/json", text, strlen(text));
    free(text);
    json_decref(value);
}

/* ---- what is there ---- */

static void look(struct admin *a, struct snapshot *out)
{
    snapshot_take(out, a->system, clock_now(a->loop));
}

static void answer_metrics(
    struct admin *a, const struct httpcall *request, struct buf *out)
{
    struct snapshot s;
    struct buf text = {0};

    look(a, &s);
    exposition_put(&text, &s);
    scriptmetrics_put(&text, &s);
    put_answer(out, 200, EXPOSITION_TYPE, text.data, text.len);
    buf_fini(&text);
    snapshot_fini(&s);
}

static void answer_status(
    struct admin *a, const struct httpcall *request, struct buf *out)
{
    struct snapshot s;

    look(a, &s);
    put_json(out, 200, overview_make(&s));
    snapshot_fini(&s);
}

/* This process runs; that is all it says. */
static void answer_livez(
    struct admin *a, const struct httpcall *request, struct buf *out)
{
    put_text(out, 200, "ok\n");
}

static void answer_readyz(
    struct admin *a, const struct httpcall *request, struct buf *out)
{
    struct buf text = {0};
    struct snapshot s;
    json_t *status, *why;
    const json_t *line;
    size_t i;

    look(a, &s);
    status = overview_make(&s);
    why = verdict_refusals(status);
    json_array_foreach(why, i, line)
        buf_printf(&text, "%s\n", json_string_value(line));
    if (text.len == 0)
        buf_append_str(&text, "ok\n");
    put_answer(out, json_array_size(why) > 0 ? 503 : 200,
        "text/plain; charset=utf-8", text.data, text.len);
    buf_fini(&text);
    json_decref(why);
    json_decref(status);
    snapshot_fini(&s);
}

static void answer_root(
    struct admin *a, const struct httpcall *request, struct buf *out)
{
    put_text(out, 200,
        "gwrun " GWRUN_VERSION "\n\n/metrics\n/status.json\n/livez\n/readyz\n");
}

static const struct route {
    const char *path;
    void (*answer)(
        struct admin *a, const struct httpcall *request, struct buf *out);
} routes[] = {
    {"/", answer_root},
    {"/metrics", answer_metrics},
    {"/status.json", answer_status},
    {"/livez", answer_livez},
    {"/readyz", answer_readyz},
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

static void answer(
    struct admin *a, const struct httpcall *request, struct buf *out)
{
    const struct route *route = find_route(request->head.target);
    unsigned refused = guard_judge(a->guard, request);

    if (refused == 421)
        put_text(out, 421,
            "this port does not serve that host; name it in admin.hosts\n");
    else if (refused)
        put_text(out, refused, "a page of another site may not do that\n");
    else if (!route)
        put_text(out, 404, "there is no such page\n");
    else if (!guard_is_safe(request->head.method))
        put_text(out, 405, "this can only be read\n");
    else
        route->answer(a, request, out);
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
    call->task.run = send_answer;
    list_init(&call->task.node);
    answer(a, request, &call->answer);
    turn_schedule(a->turn, &call->task);
    return call;
}

static void on_request_end(void *request, void *arg)
{
    struct call *call = request;

    turn_cancel(&call->task);
    buf_fini(&call->answer);
    free(call);
}

/* Nothing becomes a client here. */
static void *refuse_stream(struct client_conn *c, const union addr *peer,
    const struct answer *said, void *arg)
{
    return NULL;
}

static void *refuse_client(struct client_conn *c, const union addr *peer,
    const struct client_conn_request *request, void *arg)
{
    return NULL;
}

static const struct client_conn_ops ops = {.on_open = refuse_client,
    .on_stream = refuse_stream,
    .takes_requests = takes_requests,
    .on_request = on_request,
    .on_request_end = on_request_end};

/* A proxy beside us may say that its client came by https, and from where. */
static const char *const proxies[] = {"127.0.0.0/8", "::1", NULL};

static const struct port_conf port_conf = {.protocol = &proto_http,
    .cache_control = PORT_CACHE_CONTROL,
    .trusted_proxies = proxies,
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

int admin_new(struct admin **out, uv_loop_t *loop,
    const struct admin_conf *conf, const struct admin_system *system, int fd,
    char err[256])
{
    struct admin *a = xcalloc(1, sizeof(*a));
    int result;

    a->loop = loop;
    a->system = system;
    a->turn = turn_new(loop);
    a->guard = guard_new(conf);
    result = port_new(&a->port, a->turn, fd, &port_conf, &ops, a, err);
    if (result == 0)
        result = port_listen(a->port);
    if (result < 0) {
        admin_free(a);
        return result;
    }
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
    turn_close(a->turn);
    guard_free(a->guard);
    free(a);
}
