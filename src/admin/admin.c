/* The role: a port for requests, whom it answers (guard.c), and what. Most
 * answers are made at once (views.c), and leave at the end of the turn. Only
 * who has given the key reaches another process (keyed.c): the master, with a
 * question about clients, or to close some. */
#include "admin/admin_impl.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

#define CONNECTIONS_MAX 256
#define BODY_MAX        4096              /* bytes of a request's body */
#define QUEUE_MAX       (4 * 1024 * 1024) /* bytes that wait for a page */

/* ---- routes ---- */

static void answer_page(struct call *call, const struct httpcall *request)
{
    answers_put_file(call, "index.html");
}

static void answer_script(struct call *call, const struct httpcall *request)
{
    answers_put_file(call, "admin.js");
}

static void answer_icon(struct call *call, const struct httpcall *request)
{
    answers_put_file(call, "icon.svg");
}

static void answer_style(struct call *call, const struct httpcall *request)
{
    answers_put_file(call, "admin.css");
}

static const struct route {
    const char *path;
    bool changes; /* asked for with POST, else with GET */
    void (*answer)(struct call *call, const struct httpcall *request);
} routes[] = {
    {"/", false, answer_page},
    {"/admin.js", false, answer_script},
    {"/admin.css", false, answer_style},
    {"/icon.svg", false, answer_icon},
    {"/metrics", false, views_metrics},
    {"/status.json", false, views_status},
    {"/livez", false, views_livez},
    {"/readyz", false, views_readyz},
    {GUARD_LIVE, false, views_live},
    {"/session.json", false, keyed_session},
    {"/groups.json", false, keyed_groups},
    {"/login", true, keyed_login},
    {"/logout", true, keyed_logout},
    {"/clients.json", true, keyed_clients},
    {"/kick", true, keyed_kick},
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
        answers_put_text(call, 421,
            "this port does not serve that host; name it in admin.hosts\n");
    else if (refused)
        answers_put_text(
            call, refused, "a page of another site may not do that\n");
    else if (!route)
        answers_put_text(call, 404, "there is no such page\n");
    else if (route->changes ? strcmp(method, "POST") != 0
                            : !guard_is_safe(method))
        answers_put_text(call, 405,
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
    a->live = live_new(loop, views_make_event, a);
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
