/* One socket, watched by us. What happens is noted, and the owner is told at
 * the end of the turn, so that nothing ends under the feet of a callback. The
 * descriptor and its watcher live until the stream has ended, the rest until
 * the owner has closed it and what waited has left. */
#include "upstream/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/connect.h"
#include "net/handle.h"
#include "net/tls.h"
#include "util/alloc.h"
#include "util/buf.h"

#define READ_MAX    (64 * 1024) /* bytes a turn; a TLS record and more */
#define WHY_SIZE    200         /* with the NUL; more is cut */
#define PROBE_AFTER 30          /* s without traffic, then TCP asks */
#define PROBE_EVERY 10          /* s between its questions */
#define PROBES_MAX  3           /* without an answer: -ETIMEDOUT */

_Static_assert(READ_MAX <= TURN_SCRATCH_SIZE, "reads go into the scratch");

struct socket {
    uv_timer_t timer; /* of connecting, TLS and leaving */
    struct turn_task task;
    struct turn *turn;       /* borrowed; NULL once leaving */
    enum socket_state state; /* as the owner knows it */
    socket_change_cb on_change;
    void *arg;               /* borrowed, handed to on_change */
    struct connect *connect; /* owned; NULL unless connecting */
    uv_poll_t *poll;         /* owned; NULL without a socket */
    int fd;                  /* owned; -1 without a socket */
    int events;              /* what poll watches for */
    struct ssl_st *ssl;      /* owned; NULL: no TLS */
    struct ssl_ctx_st *ctx;  /* borrowed; of TLS that is to begin */
    char *name;              /* owned; for that */
    struct buf in, out;
    size_t want, queue_max;
    int err; /* < 0: why it ended */
    char why[WHY_SIZE];
    bool changed; /* on_change is due */
    bool blocked; /* the socket took less than there was */
    bool stuck;   /* TLS goes on only when it has written */
    bool broken;  /* nothing can be sent any more */
    bool said;    /* that nothing more comes */
    bool drains;  /* it has ended, but its peer reads what waits */
};

/* ---- the end ---- */

static void drop_socket(struct socket *s)
{
    if (s->connect)
        connect_cancel(s->connect);
    s->connect = NULL;
    if (s->poll)
        handle_close(s->poll, s->poll);
    s->poll = NULL;
    tls_free(s->ssl);
    s->ssl = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void release(struct socket *s)
{
    drop_socket(s);
    buf_fini(&s->in);
    buf_fini(&s->out);
    free(s->name);
    handle_close(&s->timer, s);
}

static void note(struct socket *s)
{
    s->changed = true;
    turn_schedule(s->turn, &s->task);
}

static void on_time(uv_timer_t *timer);

/* err 0: the peer said so. */
static void end(struct socket *s, int err, const char *why)
{
    uv_timer_stop(&s->timer);
    drop_socket(s);
    buf_fini(&s->out);
    s->state = SOCKET_ENDED;
    s->err = err;
    snprintf(s->why, sizeof(s->why), "%s", why);
    note(s);
}

static void await_progress(struct socket *s)
{
    uv_update_time(s->timer.loop);
    uv_timer_start(&s->timer, on_time, SOCKET_LINGER_MS, 0);
}

/* The peer has said that nothing more comes. Whoever only says so reads on; TLS
 * has no such half. */
static void end_well(struct socket *s)
{
    static const char why[] = "the peer has closed the connection";

    if (s->ssl || s->broken || s->out.len == 0) {
        end(s, 0, why);
        return;
    }
    s->drains = true;
    s->state = SOCKET_ENDED;
    snprintf(s->why, sizeof(s->why), "%s", why);
    await_progress(s);
    note(s);
}

static void stop_draining(struct socket *s)
{
    s->drains = false;
    uv_timer_stop(&s->timer);
    drop_socket(s);
    buf_fini(&s->out);
}

/* ---- reading and writing ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static int wanted(const struct socket *s)
{
    int events = s->blocked || s->stuck ? UV_WRITABLE : 0;

    if (s->state == SOCKET_SHAKING)
        return !s->ssl || tls_wants_write(s->ssl) ? UV_WRITABLE : UV_READABLE;
    if (s->state == SOCKET_LEAVING)
        return s->said ? UV_READABLE : UV_WRITABLE;
    if (s->drains)
        return UV_WRITABLE;
    return !s->stuck && s->in.len < s->want ? events | UV_READABLE : events;
}

static void watch(struct socket *s)
{
    int events = s->poll ? wanted(s) : 0;

    if (!s->poll || events == s->events)
        return;
    s->events = events;
    if (events == 0)
        uv_poll_stop(s->poll);
    else
        uv_poll_start(s->poll, events, on_poll);
}

/* As recv(), with -errno. */
static ssize_t receive(struct socket *s, uint8_t *data, size_t len)
{
    ssize_t n;

    if (s->ssl)
        return tls_read(s->ssl, data, len);
    n = recv(s->fd, data, len, 0);
    return n < 0 ? (errno == EINTR ? -EAGAIN : -errno) : n;
}

static void end_lost(struct socket *s, int err)
{
    if (err == -ETIMEDOUT)
        end(s, err, "the peer's machine does not answer");
    else
        end(s, -ECONNRESET, "the connection was lost");
}

static void read_some(struct socket *s)
{
    uint8_t *data = turn_scratch(s->turn);
    ssize_t n = receive(s, data, READ_MAX);

    s->stuck = n == -EAGAIN && s->ssl && tls_wants_write(s->ssl);
    if (n == -EAGAIN)
        return;
    if (n == 0) {
        end_well(s);
    } else if (n < 0) {
        end_lost(s, (int)n);
    } else {
        buf_append(&s->in, data, (size_t)n);
        note(s);
    }
}

static ssize_t send_some(struct socket *s)
{
    ssize_t n;

    if (s->ssl)
        return tls_write(s->ssl, s->out.data, s->out.len);
    n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);
    return n < 0 ? (errno == EINTR ? -EAGAIN : -errno) : n;
}

/* What the peer sent before it went can still be read, and tells the end. */
static void flush(struct socket *s)
{
    s->blocked = false;
    while (s->out.len > 0 && !s->broken && !s->blocked) {
        ssize_t n = send_some(s);

        if (n > 0)
            buf_consume(&s->out, (size_t)n);
        else if (n == -EAGAIN)
            s->blocked = true;
        else
            s->broken = true;
    }
    if (s->broken)
        buf_clear(&s->out);
    buf_shrink(&s->out, 0);
}

static void drain(struct socket *s)
{
    size_t before = s->out.len;

    flush(s);
    if (s->out.len == 0)
        stop_draining(s);
    else if (s->out.len < before)
        await_progress(s);
}

/* ---- TLS ---- */

static void shake_hands(struct socket *s)
{
    int rc = tls_handshake(s->ssl);
    char why[WHY_SIZE];

    if (rc == -EAGAIN)
        return;
    if (rc == 0) {
        uv_timer_stop(&s->timer);
        s->state = SOCKET_OPEN;
        note(s);
    } else if (rc == -EKEYREJECTED) {
        snprintf(why, sizeof(why), "the certificate is not accepted: %s",
            tls_complaint(s->ssl));
        end(s, -EACCES, why);
    } else {
        end(s, -EPROTO, "TLS failed");
    }
}

/* Nothing is read before, and what waits leaves first. */
static void go_on_with_tls(struct socket *s)
{
    if (!s->ssl) {
        flush(s);
        if (s->broken)
            end_lost(s, -ECONNRESET);
        if (s->broken || s->out.len > 0)
            return;
        s->blocked = false;
        s->ssl = tls_connect(s->ctx, s->fd, s->name);
        if (!s->ssl) {
            end(s, -ENOMEM, "TLS does not start");
            return;
        }
    }
    shake_hands(s);
}

/* ---- leaving ---- */

static void leave(struct socket *s, int events)
{
    uint8_t scrap[4096];
    ssize_t n;

    if (!s->said) {
        flush(s);
        if (!s->broken && s->out.len > 0)
            return;
        if (!s->broken && s->ssl && tls_shutdown(s->ssl) == -EAGAIN)
            return;
        s->said = true;
        shutdown(s->fd, SHUT_WR);
    } else if (events & UV_READABLE) {
        /* closing with bytes unread would reset what is on its way */
        n = recv(s->fd, scrap, sizeof(scrap), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            s->broken = true;
    }
}

static void on_leave_event(struct socket *s, int events)
{
    leave(s, events);
    if (s->broken)
        release(s);
    else
        watch(s);
}

/* ---- the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct socket *s = poll->data;

    if (status < 0) { /* an error, and libuv has stopped watching */
        s->events = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (s->state == SOCKET_LEAVING) {
        on_leave_event(s, events);
        return;
    }
    if (s->state == SOCKET_SHAKING) {
        go_on_with_tls(s);
    } else if (s->drains) {
        drain(s);
    } else {
        if (events & UV_WRITABLE) {
            s->stuck = false;
            flush(s);
        }
        if (events & UV_READABLE)
            read_some(s);
    }
    watch(s);
}

static void on_time(uv_timer_t *timer)
{
    struct socket *s = timer->data;

    if (s->state == SOCKET_LEAVING)
        release(s);
    else if (s->drains)
        stop_draining(s);
    else if (s->state == SOCKET_CONNECTING)
        end(s, -ETIMEDOUT, "no connection within connect_timeout");
    else
        end(s, -ETIMEDOUT, "no TLS within connect_timeout");
}

/* The end of a turn in which something happened. */
static void settle(struct turn_task *task)
{
    struct socket *s = LIST_ENTRY(task, struct socket, task);

    if (s->state == SOCKET_OPEN)
        flush(s);
    watch(s);
    if (!s->changed)
        return;
    s->changed = false;
    s->on_change(s, s->arg);
}

static void set_socket_options(int fd)
{
    int on = 1, idle = PROBE_AFTER, every = PROBE_EVERY, probes = PROBES_MAX;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static void on_connected(int err, int fd, void *arg)
{
    struct socket *s = arg;

    s->connect = NULL;
    if (err < 0) {
        end(s, err,
            err == -ECONNREFUSED ? "nobody answers there" : uv_strerror(err));
        return;
    }
    s->fd = fd;
    set_socket_options(fd);
    s->poll = xcalloc(1, sizeof(*s->poll));
    s->poll->data = s;
    err = uv_poll_init(s->timer.loop, s->poll, fd);
    if (err < 0) {
        free(s->poll);
        s->poll = NULL;
        end(s, err, uv_strerror(err));
        return;
    }
    if (s->ctx) {
        s->state = SOCKET_SHAKING;
        go_on_with_tls(s);
    } else {
        uv_timer_stop(&s->timer);
        s->state = SOCKET_OPEN;
        note(s);
    }
    watch(s);
}

/* ---- for the owner ---- */

struct socket *socket_open(struct turn *turn,
    const struct socket_request *request, socket_change_cb on_change, void *arg)
{
    struct socket *s = xcalloc(1, sizeof(*s));
    struct connect_limit limit = {.ms = request->connect_ms};
    uv_loop_t *loop = turn_loop(turn);

    list_init(&s->task.node);
    s->task.run = settle;
    s->turn = turn;
    s->on_change = on_change;
    s->arg = arg;
    s->fd = -1;
    s->want = SOCKET_AHEAD;
    s->queue_max = request->queue_max;
    s->ctx = request->ctx;
    s->name = request->ctx ? xstrdup(request->name) : NULL;
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    uv_update_time(loop);
    uv_timer_start(&s->timer, on_time, request->connect_ms, 0);
    s->connect = connect_start(
        loop, request->host, request->port, limit, on_connected, s);
    return s;
}

void socket_close(struct socket *s)
{
    turn_cancel(&s->task);
    s->turn = NULL;
    if ((s->state != SOCKET_OPEN && !s->drains) || s->broken) {
        release(s);
        return;
    }
    s->state = SOCKET_LEAVING;
    uv_timer_start(&s->timer, on_time, SOCKET_LINGER_MS, 0);
    on_leave_event(s, 0);
}

enum socket_state socket_state(const struct socket *s)
{
    return s->state;
}

int socket_error(const struct socket *s, const char **why)
{
    *why = s->why;
    return s->err;
}

const uint8_t *socket_bytes(const struct socket *s, size_t *len)
{
    *len = s->in.len;
    return s->in.data;
}

void socket_take(struct socket *s, size_t n)
{
    buf_consume(&s->in, n);
    buf_shrink(&s->in, 0);
    turn_schedule(s->turn, &s->task);
}

void socket_want(struct socket *s, size_t n)
{
    s->want = n > SOCKET_AHEAD ? n : SOCKET_AHEAD;
    turn_schedule(s->turn, &s->task);
}

int socket_write(struct socket *s, const void *data, size_t len)
{
    if (s->state != SOCKET_OPEN || s->broken)
        return -ENOTCONN;
    if (len > s->queue_max || s->out.len > s->queue_max - len)
        return -ENOBUFS;
    buf_append(&s->out, data, len);
    turn_schedule(s->turn, &s->task);
    return 0;
}

int socket_start_tls(
    struct socket *s, struct ssl_ctx_st *ctx, const char *name, uint64_t ms)
{
    if (s->state != SOCKET_OPEN)
        return -ENOTCONN;
    if (s->ssl)
        return -EALREADY;
    if (s->in.len > 0)
        return -EPROTO;
    s->ctx = ctx;
    s->name = xstrdup(name);
    s->state = SOCKET_SHAKING;
    uv_update_time(s->timer.loop);
    uv_timer_start(&s->timer, on_time, ms, 0);
    turn_schedule(s->turn, &s->task); /* it is watched anew */
    return 0;
}
