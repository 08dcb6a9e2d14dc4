#include "net/dialer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"

#define DIALER_WAIT_MIN_MS 100  /* longest first wait, then doubling */
#define DIALER_WAIT_MAX_MS 5000 /* longest wait there is */
#define DIALER_LASTING_MS  5000 /* a connection of this age resets the wait */
#define DIALER_TRY_MS      3000 /* a connect that takes longer has failed */

struct dialer_try;

struct dialer {
    uv_timer_t timer; /* the wait before a try, or the limit of one */
    union addr addr;
    dialer_connect_cb connect_cb;
    void *arg;             /* borrowed, handed to connect_cb */
    struct dialer_try *at; /* owned; NULL between tries */
    uint64_t wait_ms;      /* longest next wait */
    uint64_t limit_ms;     /* of wait_ms */
    uint64_t connected_at; /* ms, clock_now; the last success */
    bool complained;       /* since the last success */
};

/* A connect under way. libuv's poll handle cannot change its socket, so each
 * try has its own. */
struct dialer_try {
    uv_poll_t poll;
    struct dialer *dialer; /* borrowed; outlives the active poll */
};

static void on_wait_over(uv_timer_t *timer);

/* Evenly from 0 to max. */
static uint64_t jitter(uint64_t max)
{
    uint64_t random = 0;

    uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
    return random % (max + 1);
}

static void wait_and_try(struct dialer *d)
{
    uv_timer_start(&d->timer, on_wait_over, jitter(d->wait_ms), 0);
    d->wait_ms *= 2;
    if (d->wait_ms > d->limit_ms)
        d->wait_ms = d->limit_ms;
}

static void fail(struct dialer *d, int err)
{
    char text[ADDR_TEXT_SIZE];

    if (!d->complained)
        log_warn("cannot connect, trying on address=%s err=%s",
            addr_format(text, &d->addr), uv_strerror(err));
    d->complained = true;
    wait_and_try(d);
}

static void on_try_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Stop watching; the socket is the caller's now. */
static int end_try(struct dialer *d)
{
    struct dialer_try *at = d->at;
    uv_os_fd_t fd = -1;

    uv_fileno((uv_handle_t *)&at->poll, &fd);
    uv_close((uv_handle_t *)&at->poll, on_try_closed);
    d->at = NULL;
    return fd;
}

/* A local port without a listener can end up connected to itself. */
static bool is_self_connected(int fd)
{
    union addr ours = {.in = {0}};
    union addr theirs = {.in = {0}};
    socklen_t ours_len = sizeof(ours);
    socklen_t theirs_len = sizeof(theirs);

    return getsockname(fd, &ours.sa, &ours_len) == 0 &&
           getpeername(fd, &theirs.sa, &theirs_len) == 0 &&
           ours_len == theirs_len && memcmp(&ours, &theirs, ours_len) == 0;
}

/* The connect is decided: err 0 or -errno. */
static void finish(struct dialer *d, int fd, int err)
{
    uv_timer_stop(&d->timer);
    if (err == 0 && is_self_connected(fd))
        err = -ECONNREFUSED;
    if (err < 0) {
        close(fd);
        fail(d, err);
        return;
    }
    d->complained = false;
    d->connected_at = clock_now(d->timer.loop);
    d->connect_cb(d, fd, d->arg);
}

static void on_decided(uv_poll_t *poll, int status, int events)
{
    struct dialer_try *at = poll->data;
    struct dialer *d = at->dialer;
    int fd = end_try(d);
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    finish(d, fd, err != 0 ? -err : status);
}

static void on_try_timeout(uv_timer_t *timer)
{
    struct dialer *d = timer->data;

    finish(d, end_try(d), -ETIMEDOUT);
}

static int watch(struct dialer *d, int fd)
{
    struct dialer_try *at = xcalloc(1, sizeof(*at));
    int err = uv_poll_init(d->timer.loop, &at->poll, fd);

    if (err < 0) {
        free(at);
        return err;
    }
    at->poll.data = at;
    at->dialer = d;
    d->at = at;
    uv_poll_start(&at->poll, UV_WRITABLE, on_decided);
    uv_timer_start(&d->timer, on_try_timeout, DIALER_TRY_MS, 0);
    return 0;
}

static void on_wait_over(uv_timer_t *timer)
{
    struct dialer *d = timer->data;
    int fd = socket(
        d->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int err = 0;

    if (fd < 0) {
        fail(d, -errno);
        return;
    }
    if (connect(fd, &d->addr.sa, addr_len(&d->addr)) < 0)
        err = -errno;
    if (err == -EINPROGRESS)
        err = watch(d, fd);
    if (err < 0 || !d->at)
        finish(d, fd, err);
}

struct dialer *dialer_open(uv_loop_t *loop, const union addr *addr,
    dialer_connect_cb connect_cb, void *arg)
{
    struct dialer *d = xcalloc(1, sizeof(*d));

    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    d->addr = *addr;
    d->connect_cb = connect_cb;
    d->arg = arg;
    d->wait_ms = DIALER_WAIT_MIN_MS;
    d->limit_ms = DIALER_WAIT_MAX_MS;
    uv_timer_start(&d->timer, on_wait_over, 0, 0);
    return d;
}

bool dialer_has_failed(const struct dialer *d)
{
    return d->complained;
}

void dialer_limit_wait(struct dialer *d, uint64_t ms)
{
    d->limit_ms = ms;
}

void dialer_retry(struct dialer *d)
{
    if (d->at || uv_is_active((uv_handle_t *)&d->timer))
        return;
    if (clock_now(d->timer.loop) - d->connected_at >= DIALER_LASTING_MS)
        d->wait_ms = DIALER_WAIT_MIN_MS;
    wait_and_try(d);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void dialer_close(struct dialer *d)
{
    if (d->at)
        close(end_try(d));
    uv_close((uv_handle_t *)&d->timer, on_closed);
}
