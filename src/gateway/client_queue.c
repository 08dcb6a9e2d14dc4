#include "gateway/client_io_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "wire/framing.h"

#define WS_FIN      0x80
#define WS_TEXT     0x1
#define WS_BINARY   0x2
#define WS_CLOSE    0x8
#define WS_PING     0x9
#define WS_HEAD_MAX 10

/* Bytes of small messages after which a write ends: the library keeps a copy of
 * all that the socket did not take, and does not tell how much that is. */
#define WRITE_ENOUGH (64 * 1024)

/* Where a write of copied bytes ends. Always between two messages: the library
 * may put a pong behind any write, and whoever drops the rest a Close. */
struct cut {
    struct blob *blob; /* owned reference, what leaves next, or NULL */
    size_t at;         /* bytes copied into the queue before it, ever */
};

struct client_queue {
    struct client_queue *next; /* among the spare ones */
    struct buf bytes;          /* small messages, copied */
    size_t taken;              /* bytes that have left */
    struct cut *cuts;          /* owned array */
    size_t first, count, cap;  /* cuts[first .. count) are waiting */
};

/* Write a websocket frame's head; returns its length. */
static size_t put_head(uint8_t *out, uint8_t opcode, size_t len)
{
    out[0] = WS_FIN | opcode;
    if (len < 126) {
        out[1] = (uint8_t)len;
        return 2;
    }
    if (len < 65536) {
        out[1] = 126;
        out[2] = (uint8_t)(len >> 8);
        out[3] = (uint8_t)len;
        return 4;
    }
    out[1] = 127;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
    return WS_HEAD_MAX;
}

/* Append a message in the form that the protocol has on the wire. */
static void put_message(const struct client_io *io, struct buf *out,
    const void *data, size_t len, bool raw)
{
    enum client_io_protocol protocol = raw ? CLIENT_IO_TCP : io->conf->protocol;
    uint8_t head[WS_HEAD_MAX];

    switch (protocol) {
    case CLIENT_IO_WEBSOCKET:
        buf_append(out, head,
            put_head(head, io->conf->send_binary ? WS_BINARY : WS_TEXT, len));
        buf_append(out, data, len);
        break;
    case CLIENT_IO_TEXT:
        framing_line_encode(out, data, len);
        break;
    case CLIENT_IO_FRAME:
        framing_prefix_encode(out, data, len);
        break;
    case CLIENT_IO_TCP:
        buf_append(out, data, len);
        break;
    }
}

struct blob *client_io_frame(
    const struct client_io *io, const void *data, size_t len, bool raw)
{
    struct buf framed = {0};
    struct blob *blob;

    put_message(io, &framed, data, len, raw);
    blob = blob_new(framed.len);
    if (framed.len > 0)
        memcpy(blob->data, framed.data, framed.len);
    buf_fini(&framed);
    return blob;
}

static struct client_queue *take_queue(struct client_io *io)
{
    struct client_queue *q = io->spare;

    if (q == NULL)
        return xcalloc(1, sizeof(*q));
    io->spare = q->next;
    io->nspare--;
    return q;
}

static void free_queue(struct client_queue *q)
{
    buf_fini(&q->bytes);
    free(q->cuts);
    free(q);
}

/* Give back a queue in which nothing is left. */
static void give_queue(struct client_io *io, struct client_queue *q)
{
    if (io->nspare >= CLIENT_SPARE_QUEUES) {
        free_queue(q);
        return;
    }
    buf_clear(&q->bytes);
    buf_shrink(&q->bytes, CLIENT_KEEP_BYTES);
    q->taken = 0;
    q->first = q->count = 0;
    q->next = io->spare;
    io->spare = q;
    io->nspare++;
}

void client_queue_free_spares(struct client_io *io)
{
    while (io->spare != NULL) {
        struct client_queue *q = io->spare;

        io->spare = q->next;
        free_queue(q);
    }
    io->nspare = 0;
}

/* End the write behind what is queued; blob, now owned, follows on its own. */
static void cut(struct client_queue *q, struct blob *blob)
{
    /* A queue that is never quite empty must not grow at its end for ever. */
    if (q->count == q->cap && q->first > 0 && q->first >= q->cap / 2) {
        q->count -= q->first;
        memmove(q->cuts, q->cuts + q->first, q->count * sizeof(*q->cuts));
        q->first = 0;
    }
    if (q->count == q->cap) {
        q->cap = q->cap == 0 ? 4 : q->cap * 2;
        q->cuts = xrealloc(q->cuts, q->cap * sizeof(*q->cuts));
    }
    q->cuts[q->count++] = (struct cut){blob, q->taken + q->bytes.len};
}

/* Small messages were copied: end the write if it is long enough. */
static void cut_if_long(struct client_queue *q)
{
    size_t begin = q->first < q->count ? q->cuts[q->count - 1].at : q->taken;

    if (q->taken + q->bytes.len - begin >= WRITE_ENOUGH)
        cut(q, NULL);
}

/* Small blobs are copied: many leave in one write then. */
static void queue_blob(struct client_queue *q, struct blob *blob)
{
    if (blob->len > CLIENT_COPY_MAX) {
        cut(q, blob_ref(blob));
        return;
    }
    buf_append(&q->bytes, blob->data, blob->len);
    cut_if_long(q);
}

/* The client's queue, with what was alone until now in front. */
static struct client_queue *need_queue(struct client_conn *c)
{
    if (c->queue == NULL)
        c->queue = take_queue(c->io);
    if (c->single != NULL) {
        queue_blob(c->queue, c->single);
        blob_unref(c->single);
        c->single = NULL;
    }
    return c->queue;
}

void client_queue_drop(struct client_conn *c)
{
    struct client_queue *q = c->queue;

    blob_unref(c->single);
    c->single = NULL;
    c->queued = 0;
    if (q == NULL)
        return;
    for (size_t i = q->first; i < q->count; i++)
        blob_unref(q->cuts[i].blob);
    c->queue = NULL;
    give_queue(c->io, q);
}

/* Hand bytes to the library and keep the books. 0, or -EPIPE. */
static int write_out(struct client_conn *c, const uint8_t *data, size_t len)
{
    if (client_lws_write(c, data, len) < 0)
        return -EPIPE;
    c->queued -= len;
    c->bytes_out += len;
    c->io->counters.bytes_out += len;
    c->in_socket = client_lws_busy(c) ? len : 0;
    return 0;
}

/* Write the next blob or the bytes before it. 0, or -EPIPE. */
static int write_next(struct client_conn *c)
{
    struct client_queue *q = c->queue;
    struct cut *next = q->first < q->count ? &q->cuts[q->first] : NULL;
    size_t len = next != NULL ? next->at - q->taken : q->bytes.len;

    if (len > 0) {
        if (write_out(c, q->bytes.data, len) < 0)
            return -EPIPE;
        buf_consume(&q->bytes, len);
        q->taken += len;
    } else if (next != NULL) {
        if (next->blob != NULL &&
            write_out(c, next->blob->data, next->blob->len) < 0)
            return -EPIPE;
        blob_unref(next->blob);
        q->first++;
    }
    return 0;
}

/* On the stream protocols the library spins while it has bytes to write and
 * the peer sends: do not read then. */
static void hold_reading(struct client_conn *c)
{
    bool hold = c->in_socket > 0;

    if (hold == c->held || c->io->conf->protocol == CLIENT_IO_WEBSOCKET)
        return;
    c->held = hold;
    if (!c->paused)
        client_lws_read(c, !hold);
}

int client_queue_flush(struct client_conn *c)
{
    if (!c->ready || c->state == CLIENT_DEAD)
        return 0;
    if (c->in_socket > 0 && !client_lws_busy(c))
        c->in_socket = 0;
    while (c->queued > 0 && !client_lws_busy(c)) {
        if (c->single != NULL) {
            if (write_out(c, c->single->data, c->single->len) < 0)
                return -EPIPE;
            blob_unref(c->single);
            c->single = NULL;
        } else if (write_next(c) < 0) {
            return -EPIPE;
        }
    }
    hold_reading(c);
    if (c->queued == 0) {
        c->pinged = false;
        if (c->queue != NULL)
            give_queue(c->io, c->queue);
        c->queue = NULL;
    }
    return 0;
}

bool client_queue_done(const struct client_conn *c)
{
    return c->queued == 0 && !client_lws_busy(c);
}

static bool has_room(const struct client_conn *c)
{
    return client_queued(c) < c->io->conf->queue_max;
}

/* Room for one more message? Else what the configuration wants happens. */
static int admit(struct client_conn *c)
{
    struct client_io *io = c->io;

    if (c->state != CLIENT_OPEN)
        return -ENOTCONN;
    if (has_room(c))
        return 0;
    /* Only what the socket does not take says that the client is slow: a burst
     * within one turn does not. */
    if (client_queue_flush(c) < 0) {
        client_destroy(c, "client");
        return -ENOTCONN;
    }
    if (has_room(c))
        return 0;
    if (io->conf->overflow == CLIENT_IO_OVERFLOW_DROP) {
        io->counters.overflow_dropped++;
        return -ENOBUFS;
    }
    io->counters.overflow_closed++;
    client_queue_drop(c);
    client_close(c, 1008, "overflow");
    return -ENOBUFS;
}

/* A message has been queued. */
static int queued(struct client_conn *c, size_t len)
{
    c->queued += len;
    c->io->counters.messages_out++;
    if (c->ready && c->in_socket == 0)
        client_conn_schedule(c);
    return 0;
}

int client_send(struct client_conn *c, const void *data, size_t len, bool raw)
{
    struct client_queue *q;
    size_t before;
    int err;

    if (len > CLIENT_COPY_MAX) {
        struct blob *blob = client_io_frame(c->io, data, len, raw);

        err = client_send_blob(c, blob);
        blob_unref(blob);
        return err;
    }
    err = admit(c);
    if (err < 0)
        return err;
    q = need_queue(c);
    before = q->bytes.len;
    put_message(c->io, &q->bytes, data, len, raw);
    cut_if_long(q);
    return queued(c, q->bytes.len - before);
}

int client_send_blob(struct client_conn *c, struct blob *framed)
{
    int err = admit(c);

    if (err < 0)
        return err;
    if (c->single == NULL && c->queue == NULL)
        c->single = blob_ref(framed);
    else
        queue_blob(need_queue(c), framed);
    return queued(c, framed->len);
}

/* A control frame behind everything queued; no limit holds it up. */
static void queue_control(
    struct client_conn *c, uint8_t opcode, const void *data, size_t len)
{
    struct client_queue *q = need_queue(c);
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = put_head(head, opcode, len);

    buf_append(&q->bytes, head, head_len);
    buf_append(&q->bytes, data, len);
    c->queued += head_len + len;
    client_conn_schedule(c);
}

void client_ping(struct client_conn *c)
{
    if (c->io->conf->protocol != CLIENT_IO_WEBSOCKET ||
        c->state != CLIENT_OPEN || c->pinged)
        return;
    /* One byte, for the library does not tell of an empty pong. */
    c->pinged = true;
    queue_control(c, WS_PING, "p", 1);
}

/* The text that fits a Close frame, cut between characters. */
static size_t close_text_len(const char *reason)
{
    size_t len = strnlen(reason, CLIENT_CLOSE_REASON);

    while (len > 0 && ((uint8_t)reason[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static void queue_close(struct client_conn *c, int code, const char *reason)
{
    uint8_t payload[2 + CLIENT_CLOSE_REASON];
    size_t len = close_text_len(reason);

    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    memcpy(payload + 2, reason, len);
    queue_control(c, WS_CLOSE, payload, 2 + len);
}

void client_close(struct client_conn *c, int code, const char *reason)
{
    if (c->state != CLIENT_OPEN)
        return;
    client_conn_blame(c, code, reason);
    client_recv_drop(c);
    if (c->io->conf->protocol == CLIENT_IO_WEBSOCKET)
        queue_close(c, code, reason);
    c->state = CLIENT_CLOSING;
    client_conn_expect(c, &c->io->closing, CLIENT_CLOSE_TIMEOUT);
    if (c->paused && c->ready && !c->held)
        client_lws_read(c, true); /* to see its answer */
    c->paused = false;
    client_conn_schedule(c);
}

void client_destroy(struct client_conn *c, const char *reason)
{
    if (c->state == CLIENT_DEAD)
        return;
    client_conn_blame(c, 1006, reason);
    client_queue_drop(c);
    client_recv_drop(c);
    c->state = CLIENT_CLOSING;
    c->kill = true;
    client_conn_schedule(c);
}

size_t client_queued(const struct client_conn *c)
{
    return c->queued + c->in_socket;
}

uint64_t client_bytes_in(const struct client_conn *c)
{
    return c->bytes_in;
}

uint64_t client_bytes_out(const struct client_conn *c)
{
    return c->bytes_out;
}
