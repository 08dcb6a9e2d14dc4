/* Connections from a trusted proxy, until the header of the PROXY protocol has
 * said whom they speak for. Only the header's bytes are taken from the socket;
 * everything behind it is for the connection that is made then. */

#include "clients/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/proxyhdr.h"

/* A connection whose header is not whole yet. */
struct proxied {
    struct list node; /* in proxy->waiting */
    uv_poll_t poll;
    struct proxy *proxy; /* borrowed */
    union addr peer;     /* the proxy */
    uint64_t due;        /* loop time in ms */
    size_t len;          /* bytes of header taken from the socket */
    int fd;              /* owned until it is handed on */
    uint8_t header[PROXYHDR_MAX];
};

/* Have nothing more to do with fd. */
static void let_go(struct proxied *p)
{
    list_remove(&p->node);
    handle_close(&p->poll, p);
}

static void drop(struct proxied *p, const char *why)
{
    struct proxy *proxy = p->proxy;
    union addr peer = p->peer;
    int fd = p->fd;

    let_go(p);
    proxy->on_end(fd, &peer, why, proxy->arg);
}

static union addr client_of(const struct proxied *p, const struct proxyhdr *h)
{
    union addr a = p->peer;

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
 * and nothing else: sock.c reads on. */
static ssize_t take_header(struct proxied *p, struct proxyhdr *h)
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
    struct proxied *p = poll->data;
    struct proxyhdr h = {0};
    ssize_t used = status < 0 ? status : take_header(p, &h);
    union addr client;
    struct proxy *proxy;
    int fd;

    if (used == 0 || used == -EAGAIN || used == -EINTR)
        return;
    if (used < 0) {
        drop(p, used == -EPROTO || used == -EMSGSIZE ? "PROXY header not valid"
                                                     : NULL);
        return;
    }
    client = client_of(p, &h);
    proxy = p->proxy;
    fd = p->fd;
    let_go(p); /* before sock.c watches fd */
    proxy->on_client(fd, &client, proxy->arg);
}

void proxy_init(struct proxy *p)
{
    list_init(&p->waiting);
}

int proxy_accept(struct proxy *p, int fd, const union addr *peer)
{
    struct proxied *one = xcalloc(1, sizeof(*one));
    int err = uv_poll_init(p->loop, &one->poll, fd);

    if (err < 0) {
        free(one);
        return err;
    }
    one->poll.data = one;
    one->proxy = p;
    one->peer = *peer;
    one->fd = fd;
    one->due = clock_now(p->loop) + p->patience;
    list_init(&one->node);
    list_push_back(&p->waiting, &one->node);
    uv_poll_start(&one->poll, UV_READABLE, on_readable);
    return 0;
}

void proxy_sweep(struct proxy *p, uint64_t now)
{
    while (!list_empty(&p->waiting)) {
        struct proxied *one = LIST_ENTRY(p->waiting.next, struct proxied, node);

        if (one->due > now)
            return;
        drop(one, "no PROXY header in time");
    }
}

void proxy_fini(struct proxy *p)
{
    while (!list_empty(&p->waiting))
        drop(LIST_ENTRY(p->waiting.next, struct proxied, node), NULL);
}
