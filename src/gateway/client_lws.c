#include "gateway/client_io_impl.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "util/log.h"

#define RX_PLAIN      2048               /* bytes read at once */
#define RX_TLS        16384              /* a TLS record; less makes lws spin */
#define SCRATCH       (64 * 1024)        /* bytes; lws's buffer for everybody */
#define TX_MAX        (16 * 1024 * 1024) /* bytes handed to one send() */
#define LOG_BURST     10                 /* lws's lines a second that we pass */
#define NOT_A_PROBLEM 1 /* any pending_timeout; the value is only logged */

/* What lws says of itself. Process-wide, as its log is. */
static void on_lws_log(int level, const char *line)
{
    static time_t second;
    static unsigned lines;
    struct timespec now;
    char text[LOG_QUOTE_SIZE];

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec != second) {
        if (lines > LOG_BURST)
            log_warn("libwebsockets lines dropped count=%u", lines - LOG_BURST);
        second = now.tv_sec;
        lines = 0;
    }
    if (!(level & (LLL_ERR | LLL_WARN)) && !log_enabled(LOG_DEBUG))
        return;
    if (++lines > LOG_BURST)
        return;
    log_quote(text, line, strcspn(line, "\n"));
    if (level & LLL_ERR)
        log_warn("libwebsockets says %s", text);
    else
        log_debug("libwebsockets says %s", text);
}

int client_lws_write(struct client_conn *c, const uint8_t *data, size_t len)
{
    /* With LWS_WRITE_RAW lws touches neither the bytes nor those before them
     * (rops_write_role_protocol_ws goes straight to lws_issue_raw). */
    int n = lws_write(c->wsi, (unsigned char *)data, len, LWS_WRITE_RAW);

    return n < 0 ? -EPIPE : 0;
}

bool client_lws_busy(const struct client_conn *c)
{
    return lws_partial_buffered(c->wsi) != 0;
}

void client_lws_read(struct client_conn *c, bool enable)
{
    lws_rx_flow_control(c->wsi, enable);
}

bool client_lws_serve(struct client_conn *c)
{
    struct lws_context *lws = c->io->lws;
    struct lws_pollfd pollfd = {.fd = lws_get_socket_fd(c->wsi),
        .events = LWS_POLLIN,
        .revents = LWS_POLLIN};
    int gone = lws_service_fd(lws, &pollfd);

    lws_cancel_service(
        lws); /* it looks at what it keeps in a turn of its own */
    return !gone;
}

void client_lws_kill(struct client_conn *c)
{
    bool busy = client_lws_busy(c);

    c->kill = false;
    c->state = CLIENT_DEAD;
    list_remove(&c->deadline);
    /* Only lws's timer gives up what lws still keeps, and it needs a turn of
     * lws's own to do so. */
    lws_set_timeout(
        c->wsi, NOT_A_PROBLEM, busy ? LWS_TO_KILL_ASYNC : LWS_TO_KILL_SYNC);
    if (busy)
        lws_cancel_service(c->io->lws);
}

void client_lws_no_timeout(struct client_conn *c)
{
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
}

/* A piece of a websocket message. */
static int on_receive(struct client_conn *c, const void *in, size_t len)
{
    struct client_piece p = {
        .data = in,
        .len = len,
        .rest = lws_remaining_packet_payload(c->wsi),
        .final = lws_is_final_fragment(c->wsi),
        .binary = lws_frame_is_binary(c->wsi),
    };

    p.frame_end = p.rest == 0;
    client_recv_piece(c, &p);
    return 0;
}

static int on_writeable(struct client_conn *c)
{
    if (client_queue_flush(c) < 0)
        return -1;
    if (c->state == CLIENT_CLOSING && client_queue_done(c) &&
        c->io->conf->protocol != CLIENT_IO_WEBSOCKET)
        return -1;
    return 0;
}

/* A Close frame of the peer. lws answers it, unless ours is out already. */
static int on_peer_close(struct client_conn *c, const uint8_t *in, size_t len)
{
    char text[CLIENT_CLOSE_REASON + 1] = "client";
    int code = len >= 2 ? in[0] << 8 | in[1] : 1005;

    if (len > 2 && len - 2 < sizeof(text)) {
        memcpy(text, in + 2, len - 2);
        text[len - 2] = '\0';
    }
    client_queue_flush(c);
    if (c->state == CLIENT_CLOSING && client_queue_done(c))
        return -1;
    client_conn_dead(c, code, text);
    return 0;
}

/* lws begins to close: on an error of the protocol with a Close frame of its
 * own, after which nothing may follow. */
static void on_lws_closes(struct client_conn *c)
{
    const uint8_t *p;

    if (!c->ready || c->io->conf->protocol != CLIENT_IO_WEBSOCKET)
        return;
    if (lws_get_close_length(c->wsi) >= 2) {
        p = lws_get_close_payload(c->wsi);
        client_conn_dead(c, p[0] << 8 | p[1], "protocol error");
        client_conn_failed(c);
    } else {
        client_conn_dead(c, 1006, "client");
    }
}

/* The first callback of a connection: from here on lws owns it. */
static void on_created(struct lws *wsi)
{
    struct client_io *io = lws_context_user(lws_get_context(wsi));

    if (io->born == NULL)
        return;
    io->born->wsi = wsi;
    io->born = NULL;
}

static int on_established(struct client_conn *c)
{
    lws_set_wsi_user(c->wsi, c); /* else no WS_SERVER_DROP_PROTOCOL */
    client_conn_established(c);
    return 0;
}

/* A new connection of a stream protocol, or an HTTP CONNECT, which lws turns
 * into one on its own. */
static int on_raw_adopt(struct client_conn *c)
{
    if (c->io->conf->protocol == CLIENT_IO_WEBSOCKET)
        return -1;
    return c->secured && client_conn_open_stream(c) < 0 ? -1 : 0;
}

static int on_raw_receive(struct client_conn *c, const void *in, size_t len)
{
    if (client_conn_open_stream(c) < 0)
        return -1;
    client_recv_stream(c, in, len);
    return 0;
}

static int on_conn_event(struct client_conn *c,
    enum lws_callback_reasons reason, void *in, size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: /* never look at in */
        return client_http_upgrade(c, c->wsi);
    case LWS_CALLBACK_FILTER_HTTP_CONNECTION:
        return client_http_filter(c, c->wsi);
    case LWS_CALLBACK_HTTP:
        return client_http_serve(c, c->wsi, in, len);
    case LWS_CALLBACK_HTTP_BODY:
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    case LWS_CALLBACK_HTTP_FILE_COMPLETION:
        return -1; /* one request a connection */
    case LWS_CALLBACK_ESTABLISHED:
        return on_established(c);
    case LWS_CALLBACK_RECEIVE:
        return on_receive(c, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
        if (c->state == CLIENT_OPEN)
            c->io->ops->on_activity(c->owner, c->io->arg);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_RAW_WRITEABLE:
        return on_writeable(c);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return on_peer_close(c, in, len);
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
        on_lws_closes(c);
        return 0;
    case LWS_CALLBACK_RAW_ADOPT:
        return on_raw_adopt(c);
    case LWS_CALLBACK_RAW_RX:
        return on_raw_receive(c, in, len);
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_RAW_CLOSE:
        client_conn_gone(c);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        lws_set_opaque_user_data(c->wsi, NULL);
        client_conn_free(c);
        return 0;
    default:
        return 0;
    }
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason,
    void *user, void *in, size_t len)
{
    struct client_conn *c;
    struct client_io *io;

    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        on_created(wsi);
        return 0;
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        io = lws_context_user(lws_get_context(wsi));
        io->ssl_ctx = user;
        return 0;
    default:
        c = lws_get_opaque_user_data(wsi);
        return c == NULL ? 0 : on_conn_event(c, reason, in, len);
    }
}

void client_lws_adopt(struct client_io *io, struct client_conn *c, int fd)
{
    bool stream = io->conf->protocol != CLIENT_IO_WEBSOCKET;
    lws_adopt_desc_t desc = {
        .vh = io->vhost,
        .type = LWS_ADOPT_SOCKET | LWS_ADOPT_ALLOW_SSL,
        .fd.sockfd = fd,
        .vh_prot_name = stream ? "stream" : NULL,
        .opaque = c,
    };
    struct lws *wsi;

    if (!stream)
        desc.type |= LWS_ADOPT_HTTP;
    io->born = c;
    wsi = lws_adopt_descriptor_vhost_via_info(&desc);
    if (io->born != NULL) { /* lws has closed fd */
        io->born = NULL;
        client_conn_free(c);
        return;
    }
    if (wsi != NULL && io->ssl_ctx != NULL && lws_get_ssl(wsi) != NULL)
        client_tls_watch(lws_get_ssl(wsi), c);
    else if (wsi != NULL)
        client_hold_begin(c, fd, NULL);
}

/* The settings of docs/libwebsockets.md. */
static void fill_info(
    struct client_io *io, struct lws_context_creation_info *info)
{
    static const lws_retry_bo_t no_timers;
    static const struct lws_protocol_vhost_options upgrade = {
        NULL, NULL, "upgrade:", "websocket"};
    static const struct lws_protocol_vhost_options headers = {
        &upgrade, NULL, "connection:", "close"};
    bool stream = io->conf->protocol != CLIENT_IO_WEBSOCKET;
    unsigned patience = (unsigned)io->conf->handshake_timeout + 5;

    memset(info, 0, sizeof(*info));
    info->port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info->options = LWS_SERVER_OPTION_LIBUV |
                    LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                    LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME;
    if (io->conf->tls_cert != NULL)
        info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                         LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX |
                         LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    if (stream) {
        info->options |= LWS_SERVER_OPTION_ADOPT_APPLY_LISTEN_ACCEPT_CONFIG;
        info->listen_accept_role = "raw-skt";
        info->listen_accept_protocol = "stream";
    }
    info->alpn = "http/1.1";
    info->server_string = "gwrun";
    info->headers = &headers;
    info->retry_and_idle_policy = &no_timers;
    info->pt_serv_buf_size = SCRATCH;
    info->max_http_header_data = CLIENT_HEADERS_MAX * 2; /* and its own bytes */
    info->timeout_secs = patience;
    info->timeout_secs_ah_idle = patience;
    info->user = io;
    info->pcontext = &io->lws;
}

static int make_vhost(
    struct client_io *io, struct lws_context_creation_info *info)
{
    size_t rx = io->conf->tls_cert != NULL ? RX_TLS : RX_PLAIN;
    /* lws copies the table and keeps the names: the last one is what the
     * client being upgraded asks for. */
    const struct lws_protocols protocols[] = {
        {.name = "",
            .callback = on_event,
            .rx_buffer_size = rx,
            .tx_packet_size = TX_MAX},
        {.name = "stream", .callback = on_event, .tx_packet_size = TX_MAX},
        {.name = io->subprotocol,
            .callback = on_event,
            .rx_buffer_size = rx,
            .tx_packet_size = TX_MAX},
        {.name = NULL},
    };

    info->protocols = protocols;
    io->vhost = lws_create_vhost(io->lws, info);
    return io->vhost == NULL ? -ENOMEM : 0;
}

static void find_newest_poll(uv_handle_t *handle, void *arg)
{
    if (handle->type == UV_POLL)
        *(uv_handle_t **)arg = handle;
}

/* The descriptor with which lws wakes itself: that of the handle it made last,
 * and -1 if there is none. */
static int wake_fd(uv_loop_t *loop)
{
    uv_handle_t *newest = NULL;
    uv_os_fd_t fd;

    uv_walk(loop, find_newest_poll, &newest);
    return newest != NULL && uv_fileno(newest, &fd) == 0 ? fd : -1;
}

/* lws sizes its tables by the soft limit of descriptors and, past ten million,
 * makes them for 2560 only: give it a limit that it believes. */
static struct lws_context *create_context(
    const struct lws_context_creation_info *info)
{
    struct rlimit limit, lower;
    struct lws_context *lws;
    bool lowered;

    lowered = getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
              limit.rlim_cur > CLIENT_FDS_MAX;
    if (lowered) {
        lower = limit;
        lower.rlim_cur = CLIENT_FDS_MAX;
        setrlimit(RLIMIT_NOFILE, &lower);
    }
    lws = lws_create_context(info);
    if (lowered)
        setrlimit(RLIMIT_NOFILE, &limit);
    return lws;
}

int client_lws_open(struct client_io *io, char err[256])
{
    struct lws_context_creation_info info;
    void *loops[1] = {io->loop};

    fill_info(io, &info);
    info.foreign_loops = loops;
    lws_set_log_level(LLL_ERR | LLL_WARN | LLL_NOTICE, on_lws_log);
    io->lws = create_context(&info);
    if (io->lws == NULL) {
        snprintf(err, 256,
            "libwebsockets does not start; is libwebsockets-evlib-uv "
            "installed?");
        return -ENOTSUP;
    }
    io->wake_fd = wake_fd(io->loop);
    if (make_vhost(io, &info) < 0) {
        snprintf(err, 256, "libwebsockets makes no vhost");
        return -ENOMEM;
    }
    if (io->ssl_ctx == NULL)
        return 0;
    client_tls_setup(io->ssl_ctx);
    return client_tls_load(io->ssl_ctx, io->conf, err);
}

/* lws closes its wake descriptor at once, and once more by number when its
 * handle has closed. Keep the number ours until then, or the second close
 * hits whoever got it. */
void client_lws_close(struct client_io *io)
{
    int placeholder;

    if (io->lws == NULL)
        return;
    lws_context_destroy(io->lws);
    if (io->wake_fd < 0)
        return;
    placeholder = eventfd(0, EFD_CLOEXEC);
    if (placeholder < 0 || placeholder == io->wake_fd)
        return;
    dup3(placeholder, io->wake_fd, O_CLOEXEC);
    close(placeholder);
}

void client_lws_end(struct client_io *io)
{
    if (io->lws != NULL)
        lws_context_destroy(io->lws);
}
