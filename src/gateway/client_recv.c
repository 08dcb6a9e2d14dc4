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

/* It broke the rules: nothing that it says matters any more. */
static void fail(struct client_conn *c, int code, const char *reason)
{
    char peer[ADDR_TEXT_SIZE];

    log_info("%s, closing peer=%s", reason, addr_format(peer, &c->peer));
    client_close(c, code, reason);
    client_conn_end(c);
}

static struct buf *need(struct buf **b)
{
    if (*b == NULL)
        *b = xcalloc(1, sizeof(**b));
    return *b;
}

static void drop(struct buf **b)
{
    if (*b == NULL)
        return;
    buf_fini(*b);
    free(*b);
    *b = NULL;
}

void client_recv_drop(struct client_conn *c)
{
    c->partial = false;
    c->in_message = false;
    drop(&c->in);
    drop(&c->message);
}

/* ---- websocket ---- */

static void deliver_checked(
    struct client_conn *c, const uint8_t *data, size_t len, bool binary)
{
    if (binary || utf8_valid(data, len))
        deliver(c, data, len, binary);
    else
        fail(c, 1007, "text is not UTF-8");
}

/* A data frame: a message, or a part of one. */
static void on_data(
    struct client_conn *c, const struct wsframe *f, const uint8_t *payload)
{
    struct buf whole = {0};

    if ((f->opcode == WSFRAME_CONTINUATION) != c->in_message) {
        fail(c, 1002, "fragments out of order");
        return;
    }
    if (f->final && !c->in_message) {
        deliver_checked(c, payload, f->len, f->opcode == WSFRAME_BINARY);
        return;
    }
    if (!c->in_message) {
        c->in_message = true;
        c->binary = f->opcode == WSFRAME_BINARY;
        c->fragments = 0;
    }
    buf_append(need(&c->message), payload, f->len);
    if (!f->final) {
        if (++c->fragments >= CLIENT_FRAGMENTS_MAX)
            fail(c, 1009, "too many fragments");
        return;
    }
    buf_swap(&whole, c->message);
    drop(&c->message);
    c->in_message = false;
    deliver_checked(c, whole.data, whole.len, c->binary);
    buf_fini(&whole);
}

/* Its Close: the answer to ours, or ours is the answer and says the same. */
static void on_close_frame(
    struct client_conn *c, const uint8_t *payload, size_t len)
{
    char text[WSFRAME_CONTROL_MAX + 1] = "client";
    unsigned code = len >= 2 ? (unsigned)(payload[0] << 8 | payload[1]) : 1005;

    if (c->state == CLIENT_CLOSING) {
        client_conn_end(c);
        return;
    }
    if (len == 1 || (len >= 2 && !wsframe_is_close_code(code))) {
        fail(c, 1002, "bad close code");
        return;
    }
    if (len > 2 && !utf8_valid(payload + 2, len - 2)) {
        fail(c, 1007, "close reason is not UTF-8");
        return;
    }
    if (len > 2) {
        memcpy(text, payload + 2, len - 2);
        text[len - 2] = '\0';
    }
    client_conn_blame(c, (int)code, text);
    client_queue_control(c, WSFRAME_CLOSE, payload, len);
    client_conn_end(c);
}

static void on_frame(
    struct client_conn *c, const struct wsframe *f, const uint8_t *payload)
{
    if (f->opcode == WSFRAME_CLOSE) {
        on_close_frame(c, payload, f->len);
    } else if (c->state == CLIENT_OPEN) {
        if (f->opcode == WSFRAME_PING)
            client_queue_pong(c, payload, f->len);
        else if (f->opcode != WSFRAME_PONG)
            on_data(c, f, payload);
    }
}

/* Of the messages that its frames announce, none may be over the limit. */
static bool is_too_big(const struct client_conn *c, const struct wsframe *f)
{
    size_t kept = c->message != NULL ? c->message->len : 0;

    return f->opcode < WSFRAME_CLOSE &&
           f->len > c->io->conf->message_max - kept;
}

/* Handle the whole frames at data, in place; returns the bytes used. */
static size_t take_frames(struct client_conn *c, uint8_t *data, size_t len)
{
    size_t used = 0;

    while (used < len && !c->last && !c->paused) {
        uint8_t *at = data + used;
        struct wsframe f;
        ssize_t head = wsframe_read(&f, at, len - used);

        if (head < 0) {
            fail(c, 1002, "protocol error");
            return len;
        }
        if (head == 0)
            break;
        if (is_too_big(c, &f)) {
            fail(c, 1009, "message too big");
            return len;
        }
        if (f.len > len - used - (size_t)head)
            break;
        wsframe_unmask(&f, at + head);
        on_frame(c, &f, at + head);
        used += (size_t)head + f.len;
    }
    return used;
}

/* ---- text, frame, tcp ---- */

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

    while (used < len && !c->last && !c->paused) {
        ssize_t n = measure(c, data + used, len - used);

        if (n < 0) {
            fail(c, n == -EMSGSIZE ? 1009 : 1002,
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
    return c->io->conf->protocol == CLIENT_IO_TEXT && c->partial &&
           c->in->len + len <= c->io->conf->message_max &&
           memchr(data, '\n', len) == NULL;
}

/* ---- all of them ---- */

static size_t take(struct client_conn *c, uint8_t *data, size_t len)
{
    return c->io->conf->protocol == CLIENT_IO_WEBSOCKET
               ? take_frames(c, data, len)
               : take_packets(c, data, len);
}

/* Deliver from what is kept. The messages' bytes must stay where they are
 * while the owner looks at them, so the buffer is taken off the client. */
static void drain_kept(struct client_conn *c)
{
    struct buf all = {0};

    buf_swap(&all, c->in);
    drop(&c->in);
    buf_consume(&all, take(c, all.data, all.len));
    if (!c->last && all.len > 0) {
        buf_swap(need(&c->in), &all);
        c->partial = !c->paused;
    }
    buf_fini(&all);
}

void client_recv(struct client_conn *c, uint8_t *data, size_t len)
{
    size_t used;
    bool search;

    if (c->last || len == 0)
        return;
    if (c->state == CLIENT_OPEN)
        c->io->ops->on_activity(c->owner, c->io->arg);
    if (c->in != NULL || c->paused) {
        search = c->paused || c->in == NULL || !line_goes_on(c, data, len);
        buf_append(need(&c->in), data, len);
        if (search && c->paused)
            c->partial = false; /* to be searched once resumed */
        else if (search)
            drain_kept(c);
        return;
    }
    used = take(c, data, len);
    if (c->last || used == len)
        return;
    buf_append(need(&c->in), data + used, len - used);
    c->partial = !c->paused;
}

void client_recv_kept(struct client_conn *c)
{
    if (c->in != NULL && !c->paused && !c->partial)
        drain_kept(c);
}

void client_pause(struct client_conn *c)
{
    if (c->paused || c->state != CLIENT_OPEN)
        return;
    c->paused = true;
    client_sock_watch(c);
}

void client_resume(struct client_conn *c)
{
    if (!c->paused || c->state != CLIENT_OPEN)
        return;
    c->paused = false;
    client_sock_watch(c);
    if (c->in != NULL)
        client_conn_schedule(c);
}
