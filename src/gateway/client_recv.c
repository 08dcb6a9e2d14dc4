#include "gateway/client_io_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "util/utf8.h"
#include "wire/framing.h"

static void deliver(
    struct client_conn *c, const void *data, size_t len, bool binary)
{
    struct client_io *io = c->io;

    io->counters.messages_in++;
    io->ops->on_message(c->owner, data, len, binary, io->arg);
}

static void count_bytes(struct client_conn *c, size_t len)
{
    c->bytes_in += len;
    c->io->counters.bytes_in += len;
    c->io->ops->on_activity(c->owner, c->io->arg);
}

static void refuse(struct client_conn *c, int code, const char *reason)
{
    char peer[ADDR_TEXT_SIZE];

    log_info("%s, closing peer=%s", reason, addr_format(peer, &c->peer));
    client_close(c, code, reason);
    client_conn_failed(c);
}

/* A whole websocket message. */
static void deliver_checked(
    struct client_conn *c, const uint8_t *data, size_t len, bool binary)
{
    if (binary || utf8_valid(data, len))
        deliver(c, data, len, binary);
    else
        refuse(c, 1007, "text is not UTF-8");
}

static struct buf *need_in(struct client_conn *c)
{
    if (c->in == NULL)
        c->in = xcalloc(1, sizeof(*c->in));
    return c->in;
}

void client_recv_drop(struct client_conn *c)
{
    c->in_message = false;
    c->fragments = 0;
    if (c->in == NULL)
        return;
    buf_fini(c->in);
    free(c->in);
    c->in = NULL;
}

/* Keep a piece of a message that is not whole yet. */
static void keep_piece(struct client_conn *c, const struct client_piece *p)
{
    if (!c->in_message) {
        c->in_message = true;
        c->binary = p->binary;
        c->fragments = 0;
    }
    if (p->len > 0)
        buf_append(need_in(c), p->data, p->len);
    if (p->frame_end && ++c->fragments >= CLIENT_FRAGMENTS_MAX)
        refuse(c, 1009, "too many fragments");
}

void client_recv_piece(struct client_conn *c, const struct client_piece *p)
{
    size_t kept = c->in != NULL ? c->in->len : 0;
    struct buf whole = {0};

    if (c->state != CLIENT_OPEN)
        return;
    count_bytes(c, p->len);
    if (p->rest > c->io->conf->message_max ||
        kept + p->len + p->rest > c->io->conf->message_max) {
        refuse(c, 1009, "message too big");
        return;
    }
    if (!p->final || !p->frame_end) {
        keep_piece(c, p);
        return;
    }
    if (!c->in_message) {
        deliver_checked(c, p->data, p->len, p->binary);
        return;
    }
    if (c->in != NULL)
        buf_swap(&whole, c->in);
    client_recv_drop(c);
    buf_append(&whole, p->data, p->len);
    deliver_checked(c, whole.data, whole.len, c->binary);
    buf_fini(&whole);
}

/* As the framing's measure functions. */
static ssize_t measure(
    const struct client_conn *c, const uint8_t *data, size_t len)
{
    size_t max = c->io->conf->message_max;

    switch (c->io->conf->protocol) {
    case CLIENT_IO_TEXT:
        return framing_line_measure(data, len, max);
    case CLIENT_IO_FRAME:
        return framing_prefix_measure(data, len, max);
    default:
        return (ssize_t)len;
    }
}

static void deliver_packet(
    struct client_conn *c, const uint8_t *packet, size_t len)
{
    struct framing_message m = {packet, len};

    if (c->io->conf->protocol == CLIENT_IO_TEXT)
        m = framing_line_message(packet, len);
    else if (c->io->conf->protocol == CLIENT_IO_FRAME)
        m = framing_prefix_message(packet, len);
    deliver(c, m.data, m.len, c->io->conf->protocol != CLIENT_IO_TEXT);
}

/* Deliver the whole packets at data; returns the bytes used. */
static size_t take_packets(
    struct client_conn *c, const uint8_t *data, size_t len)
{
    size_t used = 0;

    while (used < len && c->state == CLIENT_OPEN && !c->paused) {
        ssize_t n = measure(c, data + used, len - used);

        if (n < 0) {
            refuse(c, n == -EMSGSIZE ? 1009 : 1002,
                n == -EMSGSIZE ? "message too big" : "bad length");
            return len;
        }
        if (n == 0 || (size_t)n > len - used)
            break;
        deliver_packet(c, data + used, (size_t)n);
        used += (size_t)n;
    }
    return used;
}

/* Whether bytes behind an incomplete line cannot complete it either; spares
 * the search from its start for every few bytes. */
static bool line_goes_on(
    const struct client_conn *c, const uint8_t *data, size_t len)
{
    return c->io->conf->protocol == CLIENT_IO_TEXT && c->in_message &&
           c->in != NULL && c->in->len + len <= c->io->conf->message_max &&
           memchr(data, '\n', len) == NULL;
}

/* Deliver from what is kept. The messages' bytes must stay where they are
 * while the owner looks at them, so the buffer is taken off the client. */
static void drain_kept(struct client_conn *c)
{
    struct buf all = {0};
    size_t used;

    buf_swap(&all, c->in);
    client_recv_drop(c);
    used = take_packets(c, all.data, all.len);
    buf_consume(&all, used);
    if (c->state == CLIENT_OPEN && all.len > 0) {
        buf_swap(need_in(c), &all);
        c->in_message = !c->paused;
    }
    buf_fini(&all);
}

void client_recv_stream(struct client_conn *c, const uint8_t *data, size_t len)
{
    size_t used = 0;

    if (c->state != CLIENT_OPEN)
        return;
    count_bytes(c, len);
    if (c->in != NULL || c->paused) {
        bool search = !line_goes_on(c, data, len);

        buf_append(need_in(c), data, len);
        if (search && c->paused)
            c->in_message = false; /* to be searched once resumed */
        else if (search)
            drain_kept(c);
        return;
    }
    used = take_packets(c, data, len);
    if (c->state != CLIENT_OPEN || used == len)
        return;
    buf_append(need_in(c), data + used, len - used);
    c->in_message = !c->paused;
}

void client_recv_kept(struct client_conn *c)
{
    if (c->state == CLIENT_OPEN && c->in != NULL && !c->paused &&
        !c->in_message)
        drain_kept(c);
}

void client_pause(struct client_conn *c)
{
    if (c->paused || c->state != CLIENT_OPEN)
        return;
    c->paused = true;
    if (c->ready && !c->held)
        client_lws_read(c, false);
}

void client_resume(struct client_conn *c)
{
    if (!c->paused || c->state != CLIENT_OPEN)
        return;
    c->paused = false;
    if (!c->ready)
        return;
    if (!c->held)
        client_lws_read(c, true);
    if (c->in != NULL)
        client_conn_schedule(c);
}
