/* A name's addresses, or the only one, are tried in their order, each with a
 * socket of its own. Nothing is decided inside connect_start(): what has failed
 * by then fails on a later turn, by the timer. */
#include "net/connect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/handle.h"
#include "net/resolve.h"
#include "util/alloc.h"

struct connect {
    uv_timer_t timer; /* the limit; 0 ms when err is known already */
    struct connect_limit limit;
    struct resolve *lookup;      /* owned; NULL unless one is under way */
    struct addrinfo *list;       /* owned; what the lookup found */
    const struct addrinfo *next; /* to be tried next */
    uv_poll_t *poll;             /* owned; NULL between tries */
    int err;                     /* of the last try */
    connect_done_cb done;
    void *arg; /* borrowed, handed to done */
};

/* Stop watching the socket of the try; it is the caller's now. */
static int end_try(struct connect *c)
{
    uv_os_fd_t fd = -1;

    uv_fileno((uv_handle_t *)c->poll, &fd);
    handle_close(c->poll, c->poll);
    c->poll = NULL;
    return fd;
}

static void end(struct connect *c)
{
    if (c->poll)
        close(end_try(c));
    if (c->lookup)
        resolve_cancel(c->lookup);
    uv_freeaddrinfo(c->list);
    handle_close(&c->timer, c);
}

static void finish(struct connect *c, int err, int fd)
{
    connect_done_cb done = c->done;
    void *arg = c->arg;

    end(c);
    done(err, fd, arg);
}

static void on_timer(uv_timer_t *timer);
static void try_next(struct connect *c);

/* A local port without a listener can end up connected to itself. */
static bool is_self_connected(int fd)
{
    union addr ours = {.in = {0}};
    union addr theirs = {.in = {0}};
    socklen_t ours_len = sizeof(ours);
    socklen_t theirs_len = sizeof(theirs);

    return getsockname(fd, &ours.sa, &ours_len) == 0 &&
           ours.sa.sa_family != AF_UNIX &&
           getpeername(fd, &theirs.sa, &theirs_len) == 0 &&
           ours_len == theirs_len && memcmp(&ours, &theirs, ours_len) == 0;
}

static void on_decided(uv_poll_t *poll, int status, int events)
{
    struct connect *c = poll->data;
    int fd = end_try(c);
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    c->err = err != 0 ? -err : status;
    if (c->err == 0 && is_self_connected(fd))
        c->err = -ECONNREFUSED;
    if (c->err == 0) {
        finish(c, 0, fd);
        return;
    }
    close(fd);
    try_next(c);
}

/* Begin to connect. 0, or -errno when it failed at once. */
static int try_address(
    struct connect *c, const struct sockaddr *sa, socklen_t len)
{
    int fd =
        socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int err = 0;

    if (fd < 0)
        return -errno;
    if (connect(fd, sa, len) < 0 && errno != EINPROGRESS)
        err = -errno;
    if (err == 0) {
        c->poll = xcalloc(1, sizeof(*c->poll));
        c->poll->data = c;
        err = uv_poll_init(c->timer.loop, c->poll, fd);
        if (err < 0) {
            free(c->poll);
            c->poll = NULL;
        }
    }
    if (err < 0) {
        close(fd);
        return err;
    }
    if (c->limit.each)
        uv_timer_start(&c->timer, on_timer, c->limit.ms, 0);
    return uv_poll_start(c->poll, UV_WRITABLE, on_decided);
}

static void fail_soon(struct connect *c, int err)
{
    c->err = err;
    uv_timer_start(&c->timer, on_timer, 0, 0);
}

static void try_next(struct connect *c)
{
    while (c->next) {
        const struct addrinfo *ai = c->next;

        c->next = ai->ai_next;
        c->err = try_address(c, ai->ai_addr, ai->ai_addrlen);
        if (c->err == 0)
            return;
    }
    fail_soon(c, c->err);
}

static void on_timer(uv_timer_t *timer)
{
    struct connect *c = timer->data;

    if (c->limit.each && c->poll) {
        close(end_try(c));
        c->err = -ETIMEDOUT;
        try_next(c);
    } else {
        finish(c, c->err < 0 ? c->err : -ETIMEDOUT, -1);
    }
}

static void on_resolved(int err, struct addrinfo *found, void *arg)
{
    struct connect *c = arg;

    c->lookup = NULL;
    c->list = found;
    c->next = found;
    if (err < 0)
        finish(c, err, -1);
    else
        try_next(c);
}

static int try_path(struct connect *c, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path));
    return try_address(c, (const struct sockaddr *)&un, sizeof(un));
}

static int try_host(struct connect *c, const char *host, uint16_t port)
{
    union addr addr;

    if (strchr(host, '/'))
        return try_path(c, host);
    if (addr_parse_host(&addr, host) < 0)
        return resolve_start(
            &c->lookup, c->timer.loop, host, port, on_resolved, c);
    addr_set_port(&addr, port);
    return try_address(c, &addr.sa, addr_len(&addr));
}

struct connect *connect_start(uv_loop_t *loop, const char *host, uint16_t port,
    struct connect_limit limit, connect_done_cb done, void *arg)
{
    struct connect *c = xcalloc(1, sizeof(*c));
    int err;

    c->limit = limit;
    c->done = done;
    c->arg = arg;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    uv_update_time(loop);
    if (!limit.each)
        uv_timer_start(&c->timer, on_timer, limit.ms, 0);
    err = try_host(c, host, port);
    if (err < 0)
        fail_soon(c, err);
    return c;
}

void connect_cancel(struct connect *c)
{
    end(c);
}
