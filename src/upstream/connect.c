#include "upstream/connect.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/alloc.h"

struct connect {
    uv_timer_t timer; /* the deadline; 0 ms when err is known already */
    uv_getaddrinfo_t lookup;
    bool looking_up;
    bool closed;                 /* the timer is closed */
    struct addrinfo *list;       /* owned; what the lookup found */
    const struct addrinfo *next; /* to be tried next */
    uv_poll_t *poll;             /* owned; NULL between tries */
    int err;                     /* of the last try */
    connect_done_cb done;        /* NULL: cancelled or done */
    void *arg;                   /* borrowed, handed to done */
};

static void on_freed(uv_handle_t *handle)
{
    free(handle);
}

static void free_unused(struct connect *c)
{
    if (!c->closed || c->looking_up)
        return;
    uv_freeaddrinfo(c->list);
    free(c);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct connect *c = handle->data;

    c->closed = true;
    free_unused(c);
}

/* Stop watching the socket of the try; it is the caller's now. */
static int end_try(struct connect *c)
{
    uv_os_fd_t fd = -1;

    uv_fileno((uv_handle_t *)c->poll, &fd);
    uv_close((uv_handle_t *)c->poll, on_freed);
    c->poll = NULL;
    return fd;
}

static void begin_close(struct connect *c)
{
    c->done = NULL;
    if (c->poll)
        close(end_try(c));
    if (c->looking_up)
        uv_cancel((uv_req_t *)&c->lookup); /* its callback still comes */
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void finish(struct connect *c, int err, int fd)
{
    connect_done_cb done = c->done;
    void *arg = c->arg;

    begin_close(c);
    done(err, fd, arg);
}

static void try_next(struct connect *c);

static void on_decided(uv_poll_t *poll, int status, int events)
{
    struct connect *c = poll->data;
    int fd = end_try(c);
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    c->err = err != 0 ? -err : status;
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
    return uv_poll_start(c->poll, UV_WRITABLE, on_decided);
}

static void on_timer(uv_timer_t *timer)
{
    struct connect *c = timer->data;

    finish(c, c->err < 0 ? c->err : -ETIMEDOUT, -1);
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

static void on_looked_up(
    uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct connect *c = req->data;

    c->looking_up = false;
    c->list = list;
    c->next = list;
    if (!c->done)
        free_unused(c);
    else if (status < 0)
        finish(c, status, -1);
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

static int look_up(struct connect *c, const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char service[8];
    int err;

    snprintf(service, sizeof(service), "%u", port);
    c->lookup.data = c;
    err = uv_getaddrinfo(
        c->timer.loop, &c->lookup, on_looked_up, host, service, &hints);
    c->looking_up = err == 0;
    return err;
}

struct connect *connect_start(uv_loop_t *loop, const char *host, uint16_t port,
    uint64_t ms, connect_done_cb done, void *arg)
{
    struct connect *c = xcalloc(1, sizeof(*c));
    int err;

    c->done = done;
    c->arg = arg;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    uv_update_time(loop);
    uv_timer_start(&c->timer, on_timer, ms, 0);
    err = *host == '/' ? try_path(c, host) : look_up(c, host, port);
    if (err < 0)
        fail_soon(c, err);
    return c;
}

void connect_cancel(struct connect *c)
{
    begin_close(c);
}
