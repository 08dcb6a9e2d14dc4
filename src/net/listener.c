/* Connections are taken in batches, as fast as the rate allows, and not at all
 * while there is no descriptor left: nothing here spins and nothing is lost,
 * since the kernel keeps what is not taken. */
#include "net/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "util/log.h"

#define LISTENER_BATCH   64    /* accepts a turn; others get their turn too */
#define LISTENER_REST_MS 100   /* wait when there is no descriptor left */
#define LISTENER_LOG_MS  10000 /* one line about that in this time */
#define LISTENER_BURST   20    /* the rate's part that may come at once */

struct listener {
    uv_poll_t poll;
    uv_timer_t rest; /* active while none is accepted */
    int fd;          /* owned */
    listener_accept_cb accept_cb;
    void *arg;           /* borrowed, handed to accept_cb */
    double rate;         /* accepts per second; 0: no limit */
    double allowed;      /* accepts at allowed_at */
    uint64_t allowed_at; /* ms */
    struct log_share errors;
    bool closing;
};

static int new_socket(int domain)
{
    int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int listener_bind(const union addr *addr, bool share)
{
    int fd = new_socket(addr->sa.sa_family);
    int err;

    if (fd < 0)
        return fd;
    err = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == 0 && share)
        err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (err == 0 && addr->sa.sa_family == AF_INET6)
        err = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (err == 0 && bind(fd, &addr->sa, addr_len(addr)) < 0)
        err = -errno;
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

/* Remove a socket nobody listens on. 0, or -EADDRINUSE when somebody does or
 * path is something else. */
static int remove_stale(const struct sockaddr_un *sun)
{
    struct stat st;
    int fd;
    int err = 0;

    if (lstat(sun->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EADDRINUSE;
    fd = new_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ||
        errno != ECONNREFUSED)
        err = -EADDRINUSE;
    else if (unlink(sun->sun_path) < 0)
        err = -errno;
    close(fd);
    return err;
}

int listener_bind_unix(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd;
    int err;

    if (strlen(path) >= sizeof(sun.sun_path))
        return -ENAMETOOLONG;
    memcpy(sun.sun_path, path, strlen(path) + 1);
    err = remove_stale(&sun);
    if (err < 0)
        return err;
    fd = new_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    /* The mode of the descriptor is what bind() creates the file with. */
    if (fchmod(fd, 0600) < 0 ||
        bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0) {
        err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static void on_readable(uv_poll_t *handle, int status, int events);

static void watch(struct listener *l)
{
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_rested(uv_timer_t *timer)
{
    watch(timer->data);
}

/* The kernel keeps what we do not take; asking again at once would only spin.
 */
static void rest(struct listener *l, uint64_t ms)
{
    uv_poll_stop(&l->poll);
    uv_timer_start(&l->rest, on_rested, ms, 0);
}

static void rest_after_error(struct listener *l, int err)
{
    if (log_may(&l->errors, NULL, 1, LISTENER_LOG_MS))
        log_error(
            "cannot accept connections, they wait err=%s", uv_strerror(err));
    rest(l, LISTENER_REST_MS);
}

static double burst_of(const struct listener *l)
{
    return l->rate > LISTENER_BURST ? l->rate / LISTENER_BURST : 1;
}

/* Whether the rate lets one more in. If not, the listener rests until then. */
static bool is_allowed(struct listener *l)
{
    uint64_t now = clock_now(l->poll.loop);

    if (l->rate == 0)
        return true;
    l->allowed += (double)(now - l->allowed_at) * l->rate / 1000;
    l->allowed_at = now;
    if (l->allowed > burst_of(l))
        l->allowed = burst_of(l);
    if (l->allowed >= 1)
        return true;
    rest(l, (uint64_t)((1 - l->allowed) * 1000 / l->rate) + 1);
    return false;
}

static bool is_passing(int err)
{
    return err == -EINTR || err == -ECONNABORTED || err == -EPROTO ||
           err == -EPERM;
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct listener *l = handle->data;

    if (status < 0) { /* libuv has stopped watching */
        rest_after_error(l, status);
        return;
    }
    for (int i = 0; i < LISTENER_BATCH && !l->closing; i++) {
        union addr peer;
        socklen_t len = sizeof(peer);
        int fd;

        if (!is_allowed(l))
            return;
        memset(&peer, 0, sizeof(peer));
        fd = accept4(l->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0 && is_passing(-errno))
            continue;
        if (fd < 0) {
            rest_after_error(l, -errno);
            return;
        }
        addr_unmap(&peer);
        l->allowed--;
        l->accept_cb(l, fd, &peer, l->arg);
    }
}

int listener_open(struct listener **out, uv_loop_t *loop, int fd,
    listener_accept_cb accept_cb, void *arg)
{
    struct listener *l;
    int err;

    if (listen(fd, LISTENER_BACKLOG) < 0)
        return -errno;
    l = xcalloc(1, sizeof(*l));
    err = uv_poll_init(loop, &l->poll, fd);
    if (err < 0) {
        free(l);
        return err;
    }
    uv_timer_init(loop, &l->rest);
    l->poll.data = l;
    l->rest.data = l;
    l->fd = fd;
    l->accept_cb = accept_cb;
    l->arg = arg;
    watch(l);
    *out = l;
    return 0;
}

void listener_set_rate(struct listener *l, size_t per_second)
{
    l->rate = (double)per_second;
    l->allowed = burst_of(l);
    l->allowed_at = clock_now(l->poll.loop);
}

void listener_refund(struct listener *l)
{
    l->allowed += 0.9;
}

int listener_addr(const struct listener *l, union addr *out)
{
    socklen_t len = sizeof(*out);

    memset(out, 0, sizeof(*out));
    return getsockname(l->fd, &out->sa, &len) < 0 ? -errno : 0;
}

void listener_close(struct listener *l)
{
    l->closing = true;
    handle_close_both(&l->poll, &l->rest, l);
    close(l->fd);
}

/* Only of a socket that listens, as this one does: on any other one the kernel
 * remembers it, and connections that it accepts later have nothing to read. */
void listener_refuse(struct listener *l)
{
    shutdown(l->fd, SHUT_RD);
    listener_close(l);
}
