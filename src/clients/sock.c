/* The socket of one connection: reading, writing and watching it, with TLS or
 * without. Nothing here knows of messages. The descriptor is owned here and
 * closed once, on a later turn than the last event. */

#include "clients/sock.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MAX (64 * 1024) /* bytes a turn; a TLS record and more */

_Static_assert(READ_MAX <= TURN_SCRATCH_SIZE, "reads go into the scratch");

static void read_some(struct sock *s)
{
    uint8_t *data = turn_scratch(s->turn);
    ssize_t n;

    if (s->ssl != NULL) {
        n = tls_read(s->ssl, data, READ_MAX);
    } else {
        n = recv(s->fd, data, READ_MAX, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            n = -EAGAIN;
    }
    if (n == -EAGAIN)
        s->stuck = s->ssl != NULL && tls_wants_write(s->ssl);
    else if (n <= 0)
        s->ops->on_hangup(s);
    else
        s->ops->on_bytes(s, data, (size_t)n);
}

static int wanted(const struct sock *s)
{
    /* What TLS has to say of itself goes with what comes next, or it is stuck.
     */
    int events = s->blocked || s->stuck ? UV_WRITABLE : 0;

    if (s->interest == SOCK_HANGUP)
        return events | UV_DISCONNECT;
    return s->interest == SOCK_NOTHING || s->stuck ? events
                                                   : events | UV_READABLE;
}

/* A step of the TLS handshake. */
static void shake_hands(struct sock *s)
{
    int rc = tls_handshake(s->ssl);

    s->stuck = rc == -EAGAIN && tls_wants_write(s->ssl);
    if (rc != -EAGAIN)
        s->ops->on_handshake(s, rc);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct sock *s, int events)
{
    if (events == s->events)
        return;
    s->events = (uint8_t)events;
    if (events == 0)
        uv_poll_stop(&s->poll);
    else
        uv_poll_start(&s->poll, events, on_poll);
}

/* What its peer may say goes on being watched for when it is not wanted any
 * more, until it says so: mostly it is wanted again before, and each change
 * costs two calls of the kernel. */
void sock_watch(struct sock *s)
{
    if (s->interest == SOCK_BYTES && s->events == UV_READABLE && !s->blocked &&
        !s->stuck)
        return; /* as at the end of almost every turn */
    if (s->fd >= 0)
        watch(s, wanted(s) | (s->events & (UV_READABLE | UV_DISCONNECT)));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sock *s = poll->data;
    int unwanted = events & ~wanted(s);

    if (status < 0) { /* an error, and libuv has stopped watching */
        s->events = 0;
        events = UV_WRITABLE | UV_DISCONNECT | UV_READABLE;
    }
    if (s->interest == SOCK_HANGUP && events & UV_DISCONNECT) {
        s->ops->on_hangup(s);
    } else if (s->interest == SOCK_HANDSHAKE) {
        shake_hands(s);
    } else {
        if (events & wanted(s) & UV_READABLE)
            read_some(s);
        if (events & UV_WRITABLE && s->fd >= 0) {
            s->blocked = s->stuck = false;
            s->ops->on_writable(s);
        }
    }
    if (s->fd >= 0 && unwanted)
        watch(s, wanted(s)); /* or it would be told again and again */
    else
        sock_watch(s);
}

int sock_open(struct sock *s, struct turn *turn, int fd, struct ssl_ctx_st *ctx,
    const struct sock_ops *ops)
{
    int err;

    if (ctx != NULL) {
        s->ssl = tls_accept(ctx, fd);
        if (s->ssl == NULL)
            return -ENOMEM;
    }
    err = uv_poll_init(turn_loop(turn), &s->poll, fd);
    if (err < 0) {
        tls_free(s->ssl);
        s->ssl = NULL;
        return err;
    }
    s->poll.data = s;
    s->ops = ops;
    s->turn = turn;
    s->fd = fd;
    return 0;
}

/* TLS takes a record at a time. */
static ssize_t write_tls(struct sock *s, const uint8_t *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = tls_write(s->ssl, data + done, len - done);

        if (n == -EAGAIN)
            break;
        if (n < 0)
            return -EPIPE;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* What the kernel said to a write. */
static ssize_t taken(ssize_t n)
{
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
    return n;
}

ssize_t sock_write(struct sock *s, const void *data, size_t len)
{
    if (s->ssl != NULL)
        return write_tls(s, data, len);
    return taken(send(s->fd, data, len, MSG_NOSIGNAL));
}

/* TLS has no vectors. */
static ssize_t write_one_by_one(
    struct sock *s, const struct iovec *iov, int count)
{
    size_t sum = 0;

    for (int i = 0; i < count; i++) {
        ssize_t n = write_tls(s, iov[i].iov_base, iov[i].iov_len);

        if (n < 0)
            return n;
        sum += (size_t)n;
        if ((size_t)n < iov[i].iov_len)
            break;
    }
    return (ssize_t)sum;
}

ssize_t sock_write_vectors(struct sock *s, const struct iovec *iov, int count)
{
    const struct msghdr message = {
        .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};

    if (s->ssl != NULL)
        return write_one_by_one(s, iov, count);
    return taken(sendmsg(s->fd, &message, MSG_NOSIGNAL));
}

ssize_t sock_send_file(struct sock *s, int file, uint64_t at, size_t len)
{
    off_t offset = (off_t)at;
    ssize_t n = sendfile(s->fd, file, &offset, len);

    if (n == 0)
        return -EIO;
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return errno == EIO ? -EIO : -EPIPE;
    s->blocked = n < (ssize_t)len;
    return n < 0 ? 0 : n;
}

int sock_shutdown(struct sock *s)
{
    if (s->ssl != NULL && tls_shutdown(s->ssl) == -EAGAIN) {
        s->blocked = true;
        return -EAGAIN;
    }
    shutdown(s->fd, SHUT_WR);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct sock *s = handle->data;

    s->ops->on_closed(s);
}

void sock_close(struct sock *s)
{
    if (s->fd < 0)
        return;
    uv_close((uv_handle_t *)&s->poll, on_closed);
    tls_free(s->ssl);
    s->ssl = NULL;
    close(s->fd);
    s->fd = -1;
}
