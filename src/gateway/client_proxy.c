#include "gateway/client_io_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/proxyhdr.h"

/* A connection whose header is not whole yet. */
struct client_proxied {
    struct list node; /* in io->proxied */
    uv_poll_t poll;
    struct client_io *io; /* borrowed */
    union addr proxy;     /* the peer of fd */
    uint64_t due;         /* loop time in ms */
    size_t len;           /* bytes of header taken from the socket */
    int fd;               /* owned until it is handed on */
    uint8_t header[PROXYHDR_MAX];
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Have nothing more to do with fd. */
static void let_go(struct client_proxied *p)
{
    list_remove(&p->node);
    uv_close((uv_handle_t *)&p->poll, on_closed);
}

/* why NULL: it left by itself. */
static void drop(struct client_proxied *p, const char *why)
{
    client_limits_leave(&p->io->limits, NULL);
    let_go(p);
    if (why != NULL)
        client_io_refuse(p->io, p->fd, &p->proxy, why);
    else
        close(p->fd);
}

static union addr client_of(
    const struct client_proxied *p, const struct proxyhdr *h)
{
    union addr a = p->proxy;

    if (h->kind == PROXYHDR_TCP4) {
        memset(&a, 0, sizeof(a));
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(h->port);
        memcpy(&a.in.sin_addr, h->ip, 4);
    } else if (h->kind == PROXYHDR_TCP6) {
        memset(&a, 0, sizeof(a));
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(h->port);
        memcpy(&a.in6.sin6_addr, h->ip, 16);
        addr_unmap(&a);
    }
    return a;
}

/* Look at what has come, and take from the socket what belongs to the header
 * and nothing else: client_sock.c reads on. */
static ssize_t take_header(struct client_proxied *p, struct proxyhdr *h)
{
    uint8_t *next = p->header + p->len;
    ssize_t n = recv(p->fd, next, sizeof(p->header) - p->len, MSG_PEEK);
    ssize_t used;
    size_t mine;

    if (n <= 0)
        return n == 0 ? -ECONNRESET : -errno;
    used = proxyhdr_parse(h, p->header, p->len + (size_t)n);
    if (used < 0)
        return used;
    mine = used > 0 ? (size_t)used - p->len : (size_t)n;
    if (recv(p->fd, next, mine, 0) != (ssize_t)mine)
        return -ECONNRESET;
    p->len += mine;
    return used;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct client_proxied *p = poll->data;
    struct proxyhdr h = {0};
    ssize_t used = status < 0 ? status : take_header(p, &h);
    union addr client;

    if (used == 0 || used == -EAGAIN || used == -EINTR)
        return;
    if (used < 0) {
        drop(p, used == -EPROTO || used == -EMSGSIZE ? "PROXY header not valid"
                                                     : NULL);
        return;
    }
    client = client_of(p, &h);
    let_go(p); /* before client_sock.c watches fd */
    client_io_welcome(p->io, p->fd, &client);
}

void client_proxy_accept(struct client_io *io, int fd, const union addr *proxy)
{
    struct client_proxied *p = xcalloc(1, sizeof(*p));

    if (uv_poll_init(io->loop, &p->poll, fd) < 0) {
        free(p);
        client_limits_leave(&io->limits, NULL);
        client_io_refuse(io, fd, proxy, "cannot be watched");
        return;
    }
    p->poll.data = p;
    p->io = io;
    p->proxy = *proxy;
    p->fd = fd;
    p->due =
        clock_now(io->loop) + (uint64_t)(io->conf->handshake_timeout * 1000);
    list_init(&p->node);
    list_push_back(&io->proxied, &p->node);
    uv_poll_start(&p->poll, UV_READABLE, on_readable);
    client_conn_start_sweep(io);
}

void client_proxy_sweep(struct client_io *io, uint64_t now)
{
    while (!list_empty(&io->proxied)) {
        struct client_proxied *p =
            LIST_ENTRY(io->proxied.next, struct client_proxied, node);

        if (p->due > now)
            return;
        drop(p, "no PROXY header in time");
    }
}

void client_proxy_free(struct client_io *io)
{
    while (!list_empty(&io->proxied))
        drop(LIST_ENTRY(io->proxied.next, struct client_proxied, node), NULL);
}
