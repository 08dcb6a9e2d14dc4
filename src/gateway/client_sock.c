#include "gateway/client_io_impl.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MAX (64 * 1024) /* bytes a turn; a TLS record and more */

_Static_assert(READ_MAX <= TURN_SCRATCH_SIZE, "reads go into the scratch");

static void read_some(struct client_conn *c)
{
    uint8_t *data = turn_scratch(c->io->turn);
    ssize_t n;

    if (c->ssl != NULL) {
        n = client_tls_read(c->ssl, data, READ_MAX);
    } else {
        n = recv(c->fd, data, READ_MAX, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            n = -EAGAIN;
    }
    if (n == -EAGAIN) {
        c->stuck = c->ssl != NULL && client_tls_wants_write(c->ssl);
        return;
    }
    if (n <= 0) {
        client_conn_kill(c);
        return;
    }
    if (c->state == CLIENT_DEAD)
        return;
    c->bytes_in += (size_t)n;
    c->io->counters.bytes_in += (size_t)n;
    if (c->state == CLIENT_HANDSHAKE)
        client_conn_open_stream(c);
    if (c->state == CLIENT_HANDSHAKE)
        client_request_recv(c, data, (size_t)n);
    else
        client_recv(c, data, (size_t)n);
}

/* What its peer says is of interest. */
static bool is_read(const struct client_conn *c)
{
    return !c->stuck && (c->state == CLIENT_DEAD || !c->secured ||
                            (!c->paused && !c->last && c->files == NULL));
}

static int wanted(const struct client_conn *c)
{
    int events = 0;

    /* What TLS has to say of itself goes with what comes next, or it is stuck.
     */
    if (c->blocked || c->stuck)
        events |= UV_WRITABLE;
    if (client_request_is_asking(c))
        return events | UV_DISCONNECT;
    return is_read(c) ? events | UV_READABLE : events;
}

/* The end of a step of the TLS handshake: a stream's client is there then, a
 * websocket's sends its request. */
static void secure(struct client_conn *c)
{
    int rc = client_tls_handshake(c);

    c->stuck = rc == -EAGAIN && client_tls_wants_write(c->ssl);
    if (rc == -EAGAIN)
        return;
    if (rc < 0) {
        client_conn_kill(c);
        return;
    }
    c->secured = true;
    if (c->io->conf->protocol != CLIENT_IO_WEBSOCKET)
        client_conn_schedule(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct client_conn *c = poll->data;

    if (status < 0) { /* an error, and libuv has stopped watching */
        c->events = 0;
        events = UV_WRITABLE | (is_read(c) ? UV_READABLE : 0);
    }
    if (client_request_is_asking(c)) {
        client_conn_kill(c);
        return;
    }
    if (!c->secured) {
        secure(c);
    } else {
        if (events & UV_READABLE)
            read_some(c);
        if (events & UV_WRITABLE && c->fd >= 0) {
            c->blocked = c->stuck = false;
            client_conn_schedule(c);
        }
    }
    client_sock_watch(c);
}

void client_sock_watch(struct client_conn *c)
{
    int events;

    if (c->fd < 0)
        return;
    events = wanted(c);
    if (events == c->events)
        return;
    c->events = (uint8_t)events;
    if (events == 0)
        uv_poll_stop(&c->poll);
    else
        uv_poll_start(&c->poll, events, on_poll);
}

int client_sock_open(struct client_conn *c, int fd)
{
    int err;

    c->secured = c->io->ssl_ctx == NULL;
    if (!c->secured) {
        c->ssl = client_tls_begin(c->io->ssl_ctx, fd);
        if (c->ssl == NULL)
            return -ENOMEM;
    }
    err = uv_poll_init(c->io->loop, &c->poll, fd);
    if (err < 0) {
        client_tls_end(c->ssl);
        return err;
    }
    c->poll.data = c;
    c->fd = fd;
    client_sock_watch(c);
    return 0;
}

/* TLS takes one buffer at a time, and of that a record. */
static ssize_t write_tls(
    struct client_conn *c, const struct iovec *iov, int count)
{
    size_t sum = 0;

    for (int i = 0; i < count; i++) {
        const uint8_t *data = iov[i].iov_base;
        size_t done = 0;

        while (done < iov[i].iov_len) {
            ssize_t n =
                client_tls_write(c->ssl, data + done, iov[i].iov_len - done);

            if (n == -EAGAIN)
                return (ssize_t)sum;
            if (n < 0)
                return -EPIPE;
            done += (size_t)n;
            sum += (size_t)n;
        }
    }
    return (ssize_t)sum;
}

ssize_t client_sock_write(
    struct client_conn *c, const struct iovec *iov, int count)
{
    struct msghdr message = {
        .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t n;

    if (c->ssl != NULL)
        return write_tls(c, iov, count);
    n = count == 1 ? send(c->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                   : sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
    return n;
}

int client_sock_shutdown(struct client_conn *c)
{
    if (c->ssl != NULL && client_tls_shutdown(c->ssl) == -EAGAIN) {
        c->blocked = true;
        return -EAGAIN;
    }
    shutdown(c->fd, SHUT_WR);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    client_conn_free(handle->data);
}

void client_sock_close(struct client_conn *c)
{
    if (c->fd < 0)
        return;
    uv_close((uv_handle_t *)&c->poll, on_closed);
    client_tls_end(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    c->fd = -1;
}
