#include "gateway/client_io_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/log.h"

#define SCRATCH   (64 * 1024) /* bytes; lws's buffer for everybody */
#define AHEAD     (64 * 1024) /* bytes queued for a client; then lws waits */
#define LOG_BURST 10          /* lws's lines a second that we pass */
#define PATIENCE  (24 * 3600) /* s; who waits too long is ended by us */

/* One request. */
struct client_files {
    uv_poll_t poll;        /* on fd */
    struct client_conn *c; /* borrowed */
    int fd;                /* owned; our end of the pair */
    bool answered;         /* bytes have come */
    bool ended;            /* and no more will */
};

/* What lws says of itself. Process-wide, as its log is. */
static void on_lws_log(int level, const char *line)
{
    static struct log_share share;
    char text[LOG_QUOTE_SIZE];

    if (!(level & (LLL_ERR | LLL_WARN)) && !log_enabled(LOG_DEBUG))
        return;
    if (!log_may(&share, "libwebsockets", LOG_BURST, 1000))
        return;
    log_quote(text, line, strcspn(line, "\n"));
    if (level & LLL_ERR)
        log_warn("libwebsockets says %s", text);
    else
        log_debug("libwebsockets says %s", text);
}

static const char *content_type(const char *path)
{
    static const struct {
        const char *ext, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".wasm", "application/wasm"},
        {".mp3", "audio/mpeg"},
        {".mp4", "video/mp4"},
    };
    const char *ext = strrchr(path, '.');

    for (size_t i = 0; ext != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(ext, types[i].ext) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* The regular file under www that path means, or NULL. Links are followed as
 * long as they stay inside. The caller frees it. */
static char *find_file(const struct client_io *io, const char *path)
{
    size_t len = strlen(path);
    char *joined, *real;
    struct stat st;

    joined = xasprintf(
        "%s%s%s", io->www, path, path[len - 1] == '/' ? "index.html" : "");
    real = realpath(joined, NULL);
    free(joined);
    if (real == NULL)
        return NULL;
    len = strlen(io->www);
    if (strncmp(real, io->www, len) == 0 &&
        (real[len] == '/' || strcmp(io->www, "/") == 0) &&
        stat(real, &st) == 0 && S_ISREG(st.st_mode))
        return real;
    free(real);
    return NULL;
}

/* The library has read a request; path is decoded. 0 or -1: to be closed. */
static int serve(struct client_io *io, struct lws *wsi, const char *path)
{
    static const char headers[] = "cache-control: no-cache\r\n"
                                  "x-content-type-options: nosniff\r\n";
    char *file = path[0] == '/' ? find_file(io, path) : NULL;
    int rc;

    if (file == NULL)
        return -1; /* without an answer: end() has one */
    rc = lws_serve_http_file(
        wsi, file, content_type(file), headers, (int)sizeof(headers) - 1);
    free(file);
    /* After a HEAD lws would wait for the next request. */
    return rc != 0 || lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) <= 0 ? -1
                                                                        : 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason,
    void *user, void *in, size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return serve(lws_context_user(lws_get_context(wsi)), wsi, in);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
    case LWS_CALLBACK_HTTP_BODY:
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    case LWS_CALLBACK_HTTP_FILE_COMPLETION:
        return -1; /* one request a connection */
    default:
        return 0;
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void client_files_stop(struct client_conn *c)
{
    struct client_files *f = c->files;

    if (f == NULL)
        return;
    c->files = NULL;
    uv_close((uv_handle_t *)&f->poll, on_closed);
    close(f->fd);
}

/* Some of the answer, or its end. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct client_files *f = poll->data;
    struct client_conn *c = f->c;
    struct client_io *io = c->io;
    uint8_t *data = turn_scratch(io->turn);
    ssize_t n = recv(f->fd, data, AHEAD, 0);

    if (n > 0) {
        f->answered = true;
        client_queue_bytes(c, data, (size_t)n);
        if (c->queued >= AHEAD)
            uv_poll_stop(poll);
    } else if (n == 0 || errno != EAGAIN) {
        uv_poll_stop(poll);
        f->ended = true;
        client_conn_schedule(c);
    }
}

static void end(struct client_conn *c)
{
    bool answered = c->files->answered;

    client_files_stop(c);
    if (answered)
        client_conn_end(c);
    else
        client_request_refuse(c, 404, NULL);
}

void client_files_more(struct client_conn *c)
{
    struct client_files *f = c->files;
    struct client_io *io = c->io;

    /* As long as it goes on, its client has time. */
    client_conn_expect(
        c, &io->opening, (uint64_t)(io->conf->handshake_timeout * 1000));
    if (f->ended && c->queued == 0)
        end(c);
    else if (!f->ended && c->queued < AHEAD &&
             !uv_is_active((uv_handle_t *)&f->poll))
        uv_poll_start(&f->poll, UV_READABLE, on_readable);
}

/* Give the library its end of the pair, which it owns from now on; what it
 * cannot take it closes, and so the answer ends. */
static void adopt(struct client_io *io, int fd)
{
    lws_adopt_desc_t desc = {
        .vh = io->vhost,
        .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP,
        .fd.sockfd = fd,
    };

    lws_adopt_descriptor_vhost_via_info(&desc);
}

/* A request with what the library has to know and nothing else. */
static void put_request(int fd, const struct httphead *head)
{
    struct buf text = {0};

    buf_printf(&text,
        "%s %s HTTP/1.1\r\nhost: www\r\nconnection: close\r\n\r\n",
        head->method, head->target);
    send(fd, text.data, text.len, MSG_NOSIGNAL); /* there is room for it */
    buf_fini(&text);
}

void client_files_serve(struct client_conn *c, const struct httphead *head)
{
    struct client_io *io = c->io;
    struct client_files *f;
    int fds[2];

    if (socketpair(
            AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        client_request_refuse(c, 503, NULL);
        return;
    }
    f = xcalloc(1, sizeof(*f));
    if (fds[0] >= io->fd_max || fds[1] >= io->fd_max ||
        uv_poll_init(io->loop, &f->poll, fds[0]) < 0) {
        free(f);
        close(fds[0]);
        close(fds[1]);
        client_request_refuse(c, 503, NULL);
        return;
    }
    f->poll.data = f;
    f->c = c;
    f->fd = fds[0];
    c->files = f;
    put_request(f->fd, head);
    adopt(io, fds[1]);
    client_files_more(c);
}

/* The settings of docs/clients.md. */
static void fill_info(
    struct client_io *io, struct lws_context_creation_info *info)
{
    static const lws_retry_bo_t no_timers;
    static const struct lws_protocols protocols[] = {
        {.name = "", .callback = on_event, .tx_packet_size = SCRATCH},
        {.name = NULL},
    };
    static const struct lws_protocol_vhost_options headers = {
        NULL, NULL, "connection:", "close"};

    memset(info, 0, sizeof(*info));
    info->port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info->options = LWS_SERVER_OPTION_LIBUV |
                    LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                    LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME;
    info->server_string = "gwrun";
    info->headers = &headers;
    info->protocols = protocols;
    info->retry_and_idle_policy = &no_timers;
    info->pt_serv_buf_size = SCRATCH;
    info->max_http_header_data = CLIENT_HEADERS_MAX * 2; /* and its own bytes */
    info->timeout_secs = PATIENCE;
    info->timeout_secs_ah_idle = PATIENCE;
    info->user = io;
    info->pcontext = &io->lws;
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

static int find_www(struct client_io *io, char err[256])
{
    int e;

    io->www = realpath(io->conf->www, NULL);
    if (io->www != NULL)
        return 0;
    e = errno;
    snprintf(err, 256, "www folder %s: %s", io->conf->www, strerror(e));
    return -e;
}

int client_files_open(struct client_io *io, char err[256])
{
    struct lws_context_creation_info info;
    void *loops[1] = {io->loop};
    int rc = find_www(io, err);

    if (rc < 0)
        return rc;
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
    io->vhost = lws_create_vhost(io->lws, &info);
    if (io->vhost == NULL) {
        snprintf(err, 256, "libwebsockets makes no vhost");
        return -ENOMEM;
    }
    return 0;
}

/* lws closes its wake descriptor at once, and once more by number when its
 * handle has closed. Keep the number ours until then, or the second close
 * hits whoever got it. */
void client_files_close(struct client_io *io)
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

void client_files_end(struct client_io *io)
{
    if (io->lws != NULL)
        lws_context_destroy(io->lws);
}
