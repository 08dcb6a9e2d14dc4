/* Requests, as they were sent, before the library reads them.
 *
 * libwebsockets keeps the headers that it knows and no others, tidies up URLs,
 * and decides about an upgrade inside the call that reads the last byte of its
 * request. So at first it does not read: the request is looked at from outside,
 * in the socket or in OpenSSL, and left there. When it is whole, and the owner
 * has answered if it wants to be asked, the library is told to read, finds the
 * same bytes, and its guard finds the request and the answer. */
#include "gateway/client_io_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/log.h"
#include "wire/httphead.h"

enum hold_state {
    HOLD_READING,  /* the request is not whole */
    HOLD_ASKING,   /* the owner has it */
    HOLD_ANSWERED, /* the library goes on at the end of this turn */
    HOLD_OVER,     /* it has gone on */
};

struct client_hold {
    uv_poll_t poll;        /* on fd */
    struct client_conn *c; /* borrowed; NULL once it or the hold has ended */
    void *ssl;             /* borrowed SSL, or NULL */
    void *ask;             /* borrowed; what on_ask() returned */
    char *reason;          /* owned; of a refusal */
    int fd; /* owned; a second one of the socket: libuv lets only one handle
               watch a descriptor, and the library has that */
    enum hold_state state;
    bool asked;      /* the owner was */
    unsigned status; /* 0: let it in */
    size_t seen;     /* plain socket: bytes that the last look found */
    struct buf head;
    struct client_io_request request; /* points into head and headers */
    struct client_io_header headers[HTTPHEAD_FIELDS_MAX];
};

static void on_closed(uv_handle_t *handle)
{
    struct client_hold *h = handle->data;

    free(h->reason);
    buf_fini(&h->head);
    free(h);
}

void client_hold_end(struct client_conn *c)
{
    struct client_hold *h = c->hold;

    if (h == NULL)
        return;
    c->hold = NULL;
    h->c = NULL;
    if (h->state == HOLD_ASKING)
        c->io->ops->on_ask_end(h->ask, c->io->arg);
    h->state = HOLD_OVER;
    uv_close((uv_handle_t *)&h->poll, on_closed);
    close(h->fd);
}

/* Let the library read once. false: its connection is gone by now. */
static bool let_read(struct client_hold *h)
{
    client_lws_read(h->c, true);
    return client_lws_serve(h->c) && h->c != NULL;
}

static void set_low_water(const struct client_hold *h, int bytes)
{
    setsockopt(h->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/* The library goes on, for good. */
static void go_on(struct client_hold *h)
{
    h->state = HOLD_OVER;
    uv_poll_stop(&h->poll);
    if (h->ssl == NULL)
        set_low_water(h, 1);
    if (let_read(h))
        client_hold_end(h->c);
}

void client_hold_turn(struct client_conn *c)
{
    if (c->hold->state == HOLD_ANSWERED)
        go_on(c->hold);
}

/* More of the request, as it is: what the library has not read yet. > 0 bytes
 * are in head, 0 the end, -EAGAIN, -EIO. */
static ssize_t peek(struct client_hold *h)
{
    uint8_t *to;
    ssize_t n;

    if (h->ssl == NULL) /* nothing was read: all of it comes again */
        buf_clear(&h->head);
    to = buf_reserve(&h->head, CLIENT_HEADERS_MAX + 1);
    if (h->ssl != NULL)
        n = client_tls_peek(h->ssl, to, CLIENT_HEADERS_MAX + 1);
    else
        n = recv(h->fd, to, CLIENT_HEADERS_MAX + 1, MSG_PEEK);
    /* Woken for more, and there is none: nothing will come any more. */
    if (n > 0 && h->ssl == NULL && (size_t)n == h->seen)
        return 0;
    if (n > 0 && h->ssl == NULL)
        h->seen = (size_t)n;
    if (n > 0)
        buf_commit(&h->head, (size_t)n);
    else if (n < 0 && h->ssl == NULL)
        n = errno == EAGAIN || errno == EINTR ? -EAGAIN : -EIO;
    return n;
}

/* Wait for more than there is. True when to look again at once, false when
 * on_poll() will, or the connection is gone. */
static bool want_more(struct client_hold *h)
{
    if (h->ssl == NULL) {
        set_low_water(h, (int)h->head.len + 1);
        return false;
    }
    /* A record is read or not, so the library must take it to see the next
     * one; from a plain socket it would take what came in between, too. */
    if (!let_read(h))
        return false;
    client_lws_read(h->c, false);
    return true;
}

/* Point request into the parsed head. */
static void fill_request(struct client_hold *h, const struct httphead *head)
{
    const char *query = strchr(head->target, '?');
    size_t path_len = strcspn(head->target, "?");
    char *path;

    /* Its place behind the head is reserved: nothing moves. */
    path = (char *)buf_reserve(&h->head, path_len + 1);
    memcpy(path, head->target, path_len);
    path[path_len] = '\0';
    h->request = (struct client_io_request){
        .uri = head->target,
        .path = path,
        .query = query != NULL ? query + 1 : "",
        .headers = h->headers,
        .nheaders = head->nfields,
    };
    for (size_t i = 0; i < head->nfields; i++)
        h->headers[i] = (struct client_io_header){
            head->fields[i].name, head->fields[i].value};
}

union addr client_hold_peer(
    const struct client_conn *c, const struct client_io_request *request)
{
    const char *real_ip = "";
    union addr peer = c->peer;
    struct buf list = {0};

    if (!client_io_forwards(c->io, &peer))
        return peer;
    for (size_t i = 0; i < request->nheaders; i++) {
        const struct client_io_header *h = &request->headers[i];

        if (strcmp(h->name, "x-forwarded-for") == 0)
            buf_printf(&list, "%s%s", list.len > 0 ? "," : "", h->value);
        else if (strcmp(h->name, "x-real-ip") == 0 && real_ip[0] == '\0')
            real_ip = h->value;
    }
    buf_append_byte(&list, '\0');
    forwarded_find(&c->io->trust, &peer, (const char *)list.data, real_ip);
    buf_fini(&list);
    return peer;
}

/* One that may be shown: a NUL in a URL only ever means harm. */
static bool is_upgrade(const struct httphead *head)
{
    const char *upgrade = httphead_find(head, "upgrade");

    return upgrade != NULL && strcasecmp(upgrade, "websocket") == 0 &&
           strcmp(head->method, "GET") == 0 && head->target[0] == '/' &&
           strstr(head->target, "%00") == NULL;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static bool must_ask(const struct client_io *io)
{
    return io->ops->asks != NULL && io->ops->asks(io->arg);
}

static void ask(struct client_hold *h)
{
    struct client_conn *c = h->c;
    struct client_io *io = c->io;
    union addr peer = client_hold_peer(c, &h->request);

    h->asked = true;
    /* From now on only its end is of interest. */
    uv_poll_stop(&h->poll);
    uv_poll_start(&h->poll, UV_DISCONNECT, on_poll);
    client_conn_expect(
        c, &io->opening, (uint64_t)(io->conf->handshake_timeout * 1000));
    h->state = HOLD_ASKING;
    h->ask = io->ops->on_ask(c, &peer, &h->request, io->arg);
    if (h->ask == NULL)
        client_answer(c, 503, "nobody can decide now");
}

/* The library would not say whom it closes. */
static void refuse_large(struct client_hold *h)
{
    char peer[ADDR_TEXT_SIZE];

    h->c->io->counters.refused++;
    log_info("request refused, its head is longer than %d bytes peer=%s",
        CLIENT_HEADERS_MAX, addr_format(peer, &h->c->peer));
    uv_poll_stop(&h->poll);
    h->c->kill = true;
    client_conn_schedule(h->c);
}

/* Look at what has come so far. */
static void look(struct client_hold *h)
{
    struct httphead head;
    ssize_t n, len;

    for (;;) {
        n = peek(h);
        if (n == -EAGAIN)
            return;
        if (n <= 0)
            break; /* the library sees that as well */
        len = httphead_measure(h->head.data, h->head.len, CLIENT_HEADERS_MAX);
        if (len < 0) {
            refuse_large(h);
            return;
        }
        if (len == 0) {
            if (!want_more(h))
                return;
            continue;
        }
        h->head.len = (size_t)len;
        buf_reserve(&h->head, CLIENT_HEADERS_MAX); /* for fill_request() */
        if (httphead_parse(&head, (char *)h->head.data, (size_t)len) < 0 ||
            !is_upgrade(&head))
            break;
        fill_request(h, &head);
        if (!must_ask(h->c->io))
            break;
        ask(h);
        return;
    }
    go_on(h);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct client_hold *h = poll->data;

    if (h->state == HOLD_READING) {
        look(h);
    } else if (h->state == HOLD_ASKING) {
        uv_poll_stop(poll);
        h->c->kill = true;
        client_conn_schedule(h->c);
    }
}

static int open_hold(struct client_hold **out, struct client_conn *c, int fd)
{
    struct client_hold *h = xcalloc(1, sizeof(*h));
    int err = -EMFILE;

    h->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (h->fd < 0)
        goto fail;
    if (h->fd < c->io->fd_max)
        err = uv_poll_init(c->io->loop, &h->poll, h->fd);
    if (err < 0)
        goto fail_fd;
    h->poll.data = h;
    h->c = c;
    *out = h;
    return 0;

fail_fd:
    close(h->fd);
fail:
    free(h);
    return err;
}

void client_hold_begin(struct client_conn *c, int fd, void *ssl)
{
    if (c->io->conf->protocol != CLIENT_IO_WEBSOCKET)
        return;
    client_lws_read(c, false);
    if (open_hold(&c->hold, c, fd) < 0) {
        c->kill = true;
        client_conn_schedule(c);
        return;
    }
    c->hold->ssl = ssl;
    uv_poll_start(&c->hold->poll, UV_READABLE, on_poll);
}

void client_answer(struct client_conn *c, unsigned status, const char *reason)
{
    struct client_hold *h = c->hold;

    if (h == NULL || h->state != HOLD_ASKING)
        return;
    h->state = HOLD_ANSWERED;
    h->status = status;
    h->reason = status != 0 && reason != NULL ? xstrdup(reason) : NULL;
    client_conn_schedule(c);
}

bool client_hold_timeout(struct client_conn *c)
{
    struct client_io *io = c->io;
    char peer[ADDR_TEXT_SIZE];

    if (c->hold == NULL || c->hold->state != HOLD_ASKING)
        return false;
    log_warn("onHandshake did not answer in time, refusing peer=%s",
        addr_format(peer, &c->peer));
    io->ops->on_ask_end(c->hold->ask, io->arg);
    client_answer(c, 503, "no answer in time");
    client_conn_expect(
        c, &io->opening, (uint64_t)(io->conf->handshake_timeout * 1000));
    return true;
}

unsigned client_hold_verdict(const struct client_conn *c,
    const struct client_io_request **request, const char **reason)
{
    const struct client_hold *h = c->hold;

    *request = NULL;
    *reason = NULL;
    if (h == NULL || h->state != HOLD_OVER || h->request.uri == NULL)
        return 400; /* the library takes for a request what we do not */
    if (!h->asked && must_ask(c->io))
        return 503; /* a reload came in between */
    *request = &h->request;
    *reason = h->reason;
    return h->status;
}
