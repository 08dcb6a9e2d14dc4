/* How a connection begins: the name is looked up, and its addresses are tried
 * one after the other until a server has accepted us. */
#include "upstream/wsdial.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "net/resolve.h"
#include "upstream/ws_impl.h"
#include "upstream/wsevents.h"
#include "util/alloc.h"

/* Have the library connect to that address. 0 or -errno. */
static int connect_to(struct ws *ws, const struct addrinfo *ai)
{
    struct lws_client_connect_info info;
    char address[NI_MAXHOST];
    struct lws *wsi;

    if (getnameinfo(ai->ai_addr, ai->ai_addrlen, address, sizeof(address), NULL,
            0, NI_NUMERICHOST) != 0)
        return -EINVAL;
    memset(&info, 0, sizeof(info));
    info.context = wshub_context(ws->hub);
    info.vhost = ws->vhost;
    info.address = address;
    info.port = ws->port;
    info.path = ws->path;
    info.host = ws->origin;
    info.protocol = ws->protocols;
    info.local_protocol_name = "gwrun";
    info.alpn = "http/1.1";
    info.ietf_version_or_minus_one = -1;
    info.opaque_user_data = (void *)ws->id;
    info.ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT;
    if (ws->tls) /* verify() has a look at the name */
        info.ssl_connection |=
            LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
    wsi = lws_client_connect_via_info(&info);
    if (!wsi || ws->lost) {
        ws_forget_try(ws);
        return -ECONNREFUSED;
    }
    ws->wsi = wsi;
    return 0;
}

static void try_next(struct ws *ws)
{
    while (ws->next) {
        const struct addrinfo *ai = ws->next;

        ws->next = ai->ai_next;
        ws->err = 0;
        ws->lost = false;
        if (connect_to(ws, ai) == 0)
            return;
    }
    ws_fail(ws, -ECONNREFUSED, "nobody answers there");
    ws->lost = true;
    ws_note(ws);
}

static void on_resolved(int err, struct addrinfo *found, void *arg)
{
    struct ws *ws = arg;

    ws->lookup = NULL;
    ws->list = found;
    ws->next = found;
    if (err == 0) {
        try_next(ws);
        return;
    }
    ws_fail(ws, err, uv_strerror(err));
    ws->lost = true;
    ws_note(ws);
}

/* The end of a turn in which something happened. */
static void settle(struct turn_task *task)
{
    struct ws *ws = LIST_ENTRY(task, struct ws, task);

    if (ws->lost && ws->state == WS_CONNECTING && !ws->reached && ws->next) {
        try_next(ws);
        return;
    }
    ws_control_flow(ws);
    if (ws->state != WS_CLOSED &&
        (ws->lost || (ws->err < 0 && ws->state != WS_CONNECTING))) {
        ws->state = WS_CLOSED;
        if (ws->code == 0)
            ws->code = WS_CODE_LOST;
    } else if (!ws->changed || ws->state == WS_CLOSED) {
        return;
    }
    ws->changed = false;
    ws->on_change(ws, ws->arg);
}

/* "host", "host:port" or "[::1]:port" as the Host header has it. */
static char *origin_of(const struct wsdial_request *r)
{
    bool v6 = strchr(r->host, ':') != NULL;
    const char *before = v6 ? "[" : "", *behind = v6 ? "]" : "";

    if (r->port == (r->tls ? 443 : 80))
        return xasprintf("%s%s%s", before, r->host, behind);
    return xasprintf("%s%s%s:%u", before, r->host, behind, r->port);
}

static void copy_request(struct ws *ws, const struct wsdial_request *r)
{
    ws->host = xstrdup(r->host);
    ws->origin = origin_of(r);
    ws->path = xstrdup(r->path);
    ws->protocols = r->protocols ? xstrdup(r->protocols) : NULL;
    for (size_t i = 0; i < r->nheaders; i++)
        buf_printf(&ws->headers, "%s\r\n", r->headers[i]);
    ws->port = r->port;
    ws->tls = r->tls;
    ws->insecure = r->insecure;
    ws->ping_ms = r->ping_ms;
    ws->idle_ms = r->idle_ms;
    ws->message_max = r->message_max;
    ws->queue_max = r->queue_max;
}

static bool is_too_long(const struct wsdial_request *r)
{
    size_t headers = 0;

    for (size_t i = 0; i < r->nheaders; i++)
        headers += strlen(r->headers[i]) + 2;
    return strlen(r->host) > WSDIAL_HOST_MAX ||
           strlen(r->path) > WSDIAL_PATH_MAX ||
           (r->protocols && strlen(r->protocols) > WSDIAL_PROTOCOLS_MAX) ||
           headers > WSDIAL_HEADERS_MAX;
}

/* A place at the hub, and what it shall trust. */
static int join_hub(struct ws *ws, struct turn *turn, const char *ca_file)
{
    int err;

    ws->hub = wshub_take(turn_loop(turn), wsevents_take);
    if (!ws->hub)
        return -ENOTSUP;
    err = wshub_trust(ws->hub, ca_file, &ws->vhost);
    if (err == 0)
        err = wshub_enter(ws->hub, ws, &ws->id);
    return err;
}

struct wshub *wsdial_hold(uv_loop_t *loop)
{
    return wshub_take(loop, wsevents_take);
}

void wsdial_let_go(struct wshub *hub)
{
    wshub_drop(hub);
}

int wsdial_open(struct ws **out, struct turn *turn,
    const struct wsdial_request *r, ws_change_cb on_change, void *arg)
{
    struct ws *ws;
    int err;

    if (is_too_long(r))
        return -ENAMETOOLONG;
    ws = xcalloc(1, sizeof(*ws));
    list_init(&ws->waiting);
    list_init(&ws->queue);
    list_init(&ws->task.node);
    ws->task.run = settle;
    ws->turn = turn;
    ws->on_change = on_change;
    ws->arg = arg;
    err = join_hub(ws, turn, r->ca_file);
    if (err == 0)
        err = resolve_start(
            &ws->lookup, turn_loop(turn), r->host, r->port, on_resolved, ws);
    if (err < 0) {
        if (ws->hub) {
            wshub_leave(ws->hub, ws->id);
            wshub_drop(ws->hub);
        }
        free(ws);
        return err;
    }
    copy_request(ws, r);
    uv_timer_init(turn_loop(turn), &ws->timer);
    ws->timer.data = ws;
    ws_watch_connect(ws, r->connect_ms);
    *out = ws;
    return 0;
}
