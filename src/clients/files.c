/* Files of the www folder, served by libwebsockets at the other end of a
 * socket pair. The library sees no byte of a client, only a request that this
 * file wrote for it, so what it makes of odd requests is of no matter; paths
 * are resolved here before it is asked. */

#include "clients/files.h"

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

#include "clients/client_conn_impl.h"
#include "clients/refusal.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "util/log.h"

#define SCRATCH   (64 * 1024) /* bytes; lws's buffer for everybody */
#define PATH_TEXT (16 * 1024) /* bytes of a path as it is asked for */
#define AHEAD     (64 * 1024) /* bytes queued for a client; then lws waits */
#define LOG_BURST 10          /* lws's lines a second that we pass */
#define PATIENCE  (24 * 3600) /* s; who waits too long is ended by us */

/* One request. */
struct files {
    uv_poll_t poll;        /* on fd */
    struct client_conn *c; /* borrowed */
    int fd;                /* owned; our end of the pair */
    bool answered;         /* bytes have come */
    bool ended;            /* and no more will */
    bool is_head;          /* a refusal has no body */
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

/* Names that begin with a dot (.env, .git/) are not meant for strangers, but
 * for the folder that RFC 8615 wants open. A link's name counts, not where it
 * leads: whoever makes one wants it followed. */
static bool is_hidden(const char *path)
{
    static const char open[] = "/.well-known/";

    if (strncmp(path, open, strlen(open)) == 0)
        path += strlen(open) - 1;
    return strstr(path, "/.") != NULL;
}

/* The regular file under www that path means, or NULL. Links are followed as
 * long as they stay inside. The caller frees it. */
static char *find_file(const struct client_shared *shared, const char *path)
{
    size_t len = strlen(path);
    char *joined, *real;
    struct stat st;

    if (is_hidden(path))
        return NULL;
    joined = xasprintf(
        "%s%s%s", shared->www, path, path[len - 1] == '/' ? "index.html" : "");
    real = realpath(joined, NULL);
    free(joined);
    if (real == NULL)
        return NULL;
    len = strlen(shared->www);
    if (strncmp(real, shared->www, len) == 0 &&
        (real[len] == '/' || strcmp(shared->www, "/") == 0) &&
        stat(real, &st) == 0 && S_ISREG(st.st_mode))
        return real;
    free(real);
    return NULL;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path of a target as text; the caller frees it. */
static char *decode_path(const char *target)
{
    size_t len = strcspn(target, "?");
    char *path = xmalloc(len + 1);
    char *to = path;

    for (const char *p = target; p < target + len; p++) {
        int high = *p == '%' ? hex_value(p[1]) : -1;
        int low = high >= 0 ? hex_value(p[2]) : -1;

        if (low >= 0) {
            *to++ = (char)(high << 4 | low);
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
    return path;
}

bool files_has(const struct client_shared *shared, const char *target)
{
    char *path = decode_path(target);
    char *file = path[0] == '/' ? find_file(shared, path) : NULL;
    bool has = file != NULL;

    free(file);
    free(path);
    return has;
}

/* The library has read a request; path is decoded. 0 or -1: to be closed. */
static int serve(
    struct client_shared *shared, struct lws *wsi, const char *path)
{
    static const char headers[] = "cache-control: no-cache\r\n"
                                  "x-content-type-options: nosniff\r\n";
    char *file = path[0] == '/' ? find_file(shared, path) : NULL;
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

static void stop(struct client_conn *c)
{
    struct files *f = c->files;

    if (f == NULL)
        return;
    c->files = NULL;
    handle_close(&f->poll, f);
    close(f->fd);
}

/* Some of the answer, or its end. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct files *f = poll->data;
    struct client_conn *c = f->c;
    struct client_shared *shared = c->shared;
    uint8_t *data = turn_scratch(shared->turn);
    ssize_t n = recv(f->fd, data, AHEAD, 0);

    if (n > 0) {
        f->answered = true;
        client_conn_queue(c, data, (size_t)n);
        if (c->queue.len >= AHEAD)
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
    bool with_body = !c->files->is_head;

    stop(c);
    if (answered)
        client_conn_finish(c);
    else
        refusal_send(c, 404, NULL, with_body);
}

static void go_on(struct client_conn *c)
{
    struct files *f = c->files;
    struct client_shared *shared = c->shared;

    /* As long as it goes on, its client has time. */
    client_conn_expect(c, &shared->opening,
        (uint64_t)(shared->conf->handshake_timeout * 1000));
    if (f->ended && c->queue.len == 0)
        end(c);
    else if (!f->ended && c->queue.len < AHEAD &&
             !uv_is_active((uv_handle_t *)&f->poll))
        uv_poll_start(&f->poll, UV_READABLE, on_readable);
}

/* It is not read from, so there is nothing to be heard or begun. */
static void hear(struct client_conn *c, uint8_t *data, size_t len)
{
}

static void ignore(struct client_conn *c)
{
}

static const struct client_stage files_stage = {
    .recv = hear,
    .turn = ignore,
    .written = go_on,
    .crowded = ignore,
    .end = stop,
};

/* Give the library its end of the pair, which it owns from now on; what it
 * cannot take it closes, and so the answer ends. */
static void adopt(struct client_shared *shared, int fd)
{
    lws_adopt_desc_t desc = {
        .vh = shared->vhost,
        .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP,
        .fd.sockfd = fd,
    };

    lws_adopt_descriptor_vhost_via_info(&desc);
}

/* The path as the library reads it: without the query, and with "+" escaped,
 * which it would take for a space. */
static void put_path(struct buf *out, const char *target)
{
    for (size_t n = strcspn(target, "?"); n > 0; n--, target++) {
        if (*target == '+')
            buf_append_str(out, "%2B");
        else
            buf_append_byte(out, (uint8_t)*target);
    }
}

/* A request with what the library has to know and nothing else. -ENAMETOOLONG:
 * no file has such a path. */
static int put_request(int fd, const struct httphead *head)
{
    struct buf text = {0};
    int err = -ENAMETOOLONG;

    buf_printf(&text, "%s ", head->method);
    put_path(&text, head->target);
    if (text.len <= PATH_TEXT) {
        buf_append_str(
            &text, " HTTP/1.1\r\nhost: www\r\nconnection: close\r\n\r\n");
        send(fd, text.data, text.len, MSG_NOSIGNAL); /* there is room for it */
        err = 0;
    }
    buf_fini(&text);
    return err;
}

unsigned files_serve(struct client_conn *c, const struct httphead *head)
{
    struct client_shared *shared = c->shared;
    struct files *f;
    int fds[2];

    if (socketpair(
            AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        return 503;
    }
    f = xcalloc(1, sizeof(*f));
    if (fds[0] >= shared->fd_max || fds[1] >= shared->fd_max ||
        uv_poll_init(shared->loop, &f->poll, fds[0]) < 0) {
        free(f);
        close(fds[0]);
        close(fds[1]);
        return 503;
    }
    f->poll.data = f;
    f->c = c;
    f->fd = fds[0];
    f->is_head = strcmp(head->method, "HEAD") == 0;
    c->files = f;
    if (put_request(f->fd, head) < 0) {
        close(fds[1]);
        stop(c);
        return 404;
    }
    client_conn_become(c, CLIENT_CONN_ANSWERING);
    c->stage = &files_stage;
    adopt(shared, fds[1]);
    go_on(c);
    return 0;
}

/* The settings of docs/clients.md. */
static void fill_info(
    struct client_shared *shared, struct lws_context_creation_info *info)
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
    info->max_http_header_data = PATH_TEXT + 1024; /* and its own bytes */
    info->timeout_secs = PATIENCE;
    info->timeout_secs_ah_idle = PATIENCE;
    info->user = shared;
    info->pcontext = &shared->lws;
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

    lowered =
        getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > FILES_FDS_MAX;
    if (lowered) {
        lower = limit;
        lower.rlim_cur = FILES_FDS_MAX;
        setrlimit(RLIMIT_NOFILE, &lower);
    }
    lws = lws_create_context(info);
    if (lowered)
        setrlimit(RLIMIT_NOFILE, &limit);
    return lws;
}

static int find_www(struct client_shared *shared, char err[256])
{
    int e;

    shared->www = realpath(shared->conf->www, NULL);
    if (shared->www != NULL)
        return 0;
    e = errno;
    snprintf(err, 256, "www folder %s: %s", shared->conf->www, strerror(e));
    return -e;
}

int files_open(struct client_shared *shared, char err[256])
{
    struct lws_context_creation_info info;
    void *loops[1] = {shared->loop};
    int rc = find_www(shared, err);

    if (rc < 0)
        return rc;
    fill_info(shared, &info);
    info.foreign_loops = loops;
    lws_set_log_level(LLL_ERR | LLL_WARN | LLL_NOTICE, on_lws_log);
    shared->lws = create_context(&info);
    if (shared->lws == NULL) {
        snprintf(err, 256,
            "libwebsockets does not start; is libwebsockets-evlib-uv "
            "installed?");
        return -ENOTSUP;
    }
    shared->wake_fd = wake_fd(shared->loop);
    shared->vhost = lws_create_vhost(shared->lws, &info);
    if (shared->vhost == NULL) {
        snprintf(err, 256, "libwebsockets makes no vhost");
        return -ENOMEM;
    }
    return 0;
}

/* lws closes its wake descriptor at once, and once more by number when its
 * handle has closed. Keep the number ours until then, or the second close
 * hits whoever got it. */
void files_close(struct client_shared *shared)
{
    int placeholder;

    if (shared->lws == NULL)
        return;
    lws_context_destroy(shared->lws);
    if (shared->wake_fd < 0)
        return;
    placeholder = eventfd(0, EFD_CLOEXEC);
    if (placeholder < 0 || placeholder == shared->wake_fd)
        return;
    dup3(placeholder, shared->wake_fd, O_CLOEXEC);
    close(placeholder);
}

void files_end(struct client_shared *shared)
{
    if (shared->lws != NULL)
        lws_context_destroy(shared->lws);
}
