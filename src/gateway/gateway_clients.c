/* Clients come, speak and go: what their sockets tell the gateway becomes an
 * entry of the roster and an event of the router. A client is in the roster
 * from on_open() on, with what its admission gave it, before the first of its
 * events leaves; on_close() ends both. */
#include <string.h>

#include "gateway/gateway_impl.h"
#include "gateway/superglobals.h"
#include "wire/frame.h"
#include "wire/params.h"

#define BUSY_LOG_MS 10000 /* one line about clients refused in it */

static int forward_typed(struct gateway *g, struct client *c, uint8_t cmd,
    uint8_t type, const void *body, size_t len)
{
    int err = router_forward(g->router, c, cmd, type, body, len);

    if (err < 0)
        client_conn_close(c->conn, CLIENT_CONN_BUSY, 1013, "busy");
    return err;
}

static int forward(struct gateway *g, struct client *c, uint8_t cmd,
    const void *body, size_t len)
{
    return forward_typed(g, c, cmd, 0, body, len);
}

static void note_left_out(
    struct gateway *g, size_t names, const union addr *peer)
{
    char from[ADDR_TEXT_SIZE];

    g->names_left_out += names;
    if (names > 0 && log_may(&g->left_out, "names left out", 1, BUSY_LOG_MS))
        log_warn("names of query or cookies left out, more than %d or nested "
                 "deeper than %d peer=%s names=%zu",
            PARAMS_VARS_MAX, PARAMS_DEPTH_MAX, addr_format(from, peer), names);
}

static void forward_request(struct gateway *g, struct client *c,
    const struct client_conn_request *request)
{
    size_t left_out;

    buf_clear(&g->scratch);
    left_out = superglobals_put(
        &g->scratch, request, &c->peer, g->address.gateway_port);
    if (!request->ask) /* else on_ask() has counted them */
        note_left_out(g, left_out, &c->peer);
    forward(g, c, FRAME_ON_WEBSOCKET_CONNECT, g->scratch.data, g->scratch.len);
}

static bool takes_clients(const struct gateway *g)
{
    return g->state == GATEWAY_SERVING && !g->drained;
}

/* Too much waits for handlers to let anybody in. */
static bool is_busy(struct gateway *g)
{
    if (!router_is_full(g->router))
        return false;
    if (log_may(&g->busy, "new clients refused", 1, BUSY_LOG_MS))
        log_warn("new clients refused, the workers are behind held=%zu "
                 "unbegun=%zu",
            router_held_count(g->router), router_unbegun_count(g->router));
    return true;
}

/* c is offline and has no socket any more. */
static void let_go(struct gateway *g, struct client *c)
{
    roster_remove(g->roster, c);
    c->conn = NULL;
    roster_release(c);
}

static void *on_open(struct client_conn *conn, const union addr *peer,
    const struct client_conn_request *request, void *arg)
{
    struct gateway *g = arg;
    struct client *c;

    if (!takes_clients(g) || is_busy(g))
        return NULL;
    c = roster_add(g->roster, conn, peer, heartbeat_ticks(g->loop));
    books_enter(g->books, c);
    if (request && request->ask &&
        admissions_apply(request->ask, g->roster, c) < 0) {
        books_cancel(g->books, c);
        let_go(g, c);
        return NULL;
    }
    g->sockets++;
    if (forward(g, c, FRAME_ON_CONNECT, NULL, 0) == 0 && request)
        forward_request(g, c, request);
    return c;
}

static void *on_stream(struct client_conn *conn, const union addr *peer,
    const struct answer *said, void *arg)
{
    struct gateway *g = arg;
    struct client *c;

    if (!takes_clients(g) || is_busy(g))
        return NULL;
    c = roster_add(g->roster, conn, peer, heartbeat_ticks(g->loop));
    c->streams = true;
    books_enter(g->books, c);
    if (admissions_apply_answer(said, g->roster, c) < 0) {
        books_cancel(g->books, c);
        let_go(g, c);
        return NULL;
    }
    g->sockets++;
    forward(g, c, FRAME_ON_CONNECT, NULL, 0);
    return c;
}

static bool is_ping(const char *ping, const void *data, size_t len)
{
    return strlen(ping) == len && memcmp(ping, data, len) == 0;
}

static void answer_ping(const struct client *c, const char *pong)
{
    if (pong)
        client_conn_send(c->conn, pong, strlen(pong), PROTOCOL_AS_USUAL);
}

static void on_message(void *client, const void *data, size_t len,
    enum protocol_form form, void *arg)
{
    static const uint8_t types[] = {[PROTOCOL_AS_USUAL] = 0,
        [PROTOCOL_AS_TEXT] = FRAME_FLAG_TEXT,
        [PROTOCOL_AS_BINARY] = FRAME_FLAG_BINARY};
    struct gateway *g = arg;

    if (g->conf->client_ping && is_ping(g->conf->client_ping, data, len))
        answer_ping(client, g->conf->client_pong);
    else
        forward_typed(g, client, FRAME_ON_MESSAGE, types[form], data, len);
}

static void on_activity(void *client, void *arg)
{
    const struct gateway *g = arg;
    struct client *c = client;

    c->seen = heartbeat_ticks(g->loop);
}

static void on_close(void *client, const struct client_conn_end *end, void *arg)
{
    struct gateway *g = arg;
    struct client *c = client;

    g->sockets--;
    router_close(g->router, c, end);
    let_go(g, c);
}

static bool must_ask(void *arg)
{
    const struct gateway *g = arg;

    return router_has_callback(g->router, ROUTER_ON_HANDSHAKE);
}

static void *on_ask(struct client_conn *conn, const union addr *peer,
    const struct client_conn_request *request, void *arg)
{
    struct gateway *g = arg;

    if (!takes_clients(g))
        return NULL;
    buf_clear(&g->scratch);
    note_left_out(g,
        superglobals_put_question(
            &g->scratch, request, peer, g->address.gateway_port),
        peer);
    return admissions_begin(
        g->admissions, conn, g->scratch.data, g->scratch.len);
}

static void on_ask_end(void *admission, void *arg)
{
    admissions_forget(((struct gateway *)arg)->admissions, admission);
}

static bool takes_requests(void *arg)
{
    const struct gateway *g = arg;

    return router_has_callback(g->router, ROUTER_ON_REQUEST);
}

static void *on_request(struct client_conn *conn, const union addr *peer,
    struct httpcall *request, const char *rights, void *arg)
{
    struct gateway *g = arg;
    char host[ADDR_TEXT_SIZE];

    if (g->state != GATEWAY_SERVING && g->state != GATEWAY_LEAVING)
        return NULL;
    request->remote_addr = addr_format_host(host, peer);
    request->remote_port = addr_port(peer);
    request->server_port = g->address.gateway_port;
    return calls_begin(g->calls, conn, request, rights);
}

static void on_request_end(void *request, void *arg)
{
    calls_forget(((struct gateway *)arg)->calls, request);
}

static void on_repair(const void *data, size_t len, void *arg)
{
    const struct gateway *g = arg;

    if (g->events->on_repair)
        g->events->on_repair(data, len, g->arg);
}

const struct client_conn_ops gateway_client_ops = {
    .asks = must_ask,
    .on_ask = on_ask,
    .on_ask_end = on_ask_end,
    .takes_requests = takes_requests,
    .on_request = on_request,
    .on_request_end = on_request_end,
    .on_open = on_open,
    .on_stream = on_stream,
    .on_message = on_message,
    .on_activity = on_activity,
    .on_close = on_close,
    .on_repair = on_repair,
};
