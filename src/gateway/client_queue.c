#include "gateway/client_io_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "wire/framing.h"

/* Bytes of small messages after which a segment ends: what a client has begun
 * to get of one, it gets all of. */
#define SEGMENT_ENOUGH (64 * 1024)
#define WRITE_VECTORS  16 /* segments offered to the socket at once */

/* Where a segment of copied bytes ends, between two messages: whoever drops the
 * queue drops whole segments. A blob is one, too. */
struct cut {
    struct blob *blob; /* owned reference, the next segment, or NULL */
    size_t at;         /* bytes copied into the queue before it, ever */
};

struct client_queue {
    struct client_queue *next; /* among the spare ones */
    struct buf bytes;          /* small messages, copied */
    size_t taken;              /* bytes of them that have left */
    size_t blob_taken;         /* bytes of the blob in front that have left */
    struct cut *cuts;          /* owned array */
    size_t first, count, cap;  /* cuts[first .. count) are waiting */
};

/* Append a message in the form that the protocol has on the wire. */
static void put_message(const struct client_io *io, struct buf *out,
    const void *data, size_t len, bool raw)
{
    enum client_io_protocol protocol = raw ? CLIENT_IO_TCP : io->conf->protocol;
    uint8_t *at;

    switch (protocol) {
    case CLIENT_IO_WEBSOCKET:
        at = buf_reserve(out, WSFRAME_HEAD_MAX + len);
        buf_commit(out,
            wsframe_put_head(at,
                io->conf->send_binary ? WSFRAME_BINARY : WSFRAME_TEXT, len));
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
    struct client_io *io, const void *data, size_t len, bool raw)
{
    struct buf framed = {0};
    struct blob *blob;

    put_message(io, &framed, data, len, raw);
    blob = blob_new(framed.len, &io->counters.queued);
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
    q->taken = q->blob_taken = 0;
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

/* End the segment behind what is queued; blob, now owned, is the next. */
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

/* Small messages were copied: end the segment if it is long enough. */
static void cut_if_long(struct client_queue *q)
{
    size_t begin = q->first < q->count ? q->cuts[q->count - 1].at : q->taken;

    if (q->taken + q->bytes.len - begin >= SEGMENT_ENOUGH)
        cut(q, NULL);
}

/* Small blobs are copied: many leave in one write then. */
static void queue_blob(
    struct client_io *io, struct client_queue *q, struct blob *blob)
{
    if (blob->len > CLIENT_COPY_MAX) {
        cut(q, blob_ref(blob));
        return;
    }
    buf_append(&q->bytes, blob->data, blob->len);
    io->counters.queued += blob->len;
    cut_if_long(q);
}

/* The client's queue, with what was alone until now in front. */
static struct client_queue *need_queue(struct client_conn *c)
{
    if (c->queue == NULL)
        c->queue = take_queue(c->io);
    if (c->single != NULL) {
        queue_blob(c->io, c->queue, c->single);
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
    c->io->counters.queued -= q->bytes.len;
    c->queue = NULL;
    give_queue(c->io, q);
}

/* What the socket is offered: the segments in front. */
static int gather(const struct client_conn *c, struct iovec iov[WRITE_VECTORS])
{
    const struct client_queue *q = c->queue;
    size_t at, skip;
    int n = 0;

    if (c->single != NULL) {
        iov[0] = (struct iovec){c->single->data, c->single->len};
        return 1;
    }
    at = q->taken;
    skip = q->blob_taken;
    for (size_t i = q->first; i < q->count; i++) {
        const struct cut *next = &q->cuts[i];

        if (n + 2 > WRITE_VECTORS)
            return n;
        if (next->at > at)
            iov[n++] =
                (struct iovec){q->bytes.data + (at - q->taken), next->at - at};
        if (next->blob != NULL)
            iov[n++] =
                (struct iovec){next->blob->data + skip, next->blob->len - skip};
        skip = 0;
        at = next->at;
    }
    if (n < WRITE_VECTORS && q->taken + q->bytes.len > at)
        iov[n++] = (struct iovec){
            q->bytes.data + (at - q->taken), q->taken + q->bytes.len - at};
    return n;
}

/* n bytes of the queue have left. */
static void consume(struct client_io *io, struct client_queue *q, size_t n)
{
    for (;;) {
        struct cut *next = q->first < q->count ? &q->cuts[q->first] : NULL;
        size_t len = next != NULL ? next->at - q->taken : q->bytes.len;

        if (len > n)
            len = n;
        if (len > 0)
            buf_consume(&q->bytes, len);
        q->taken += len;
        io->counters.queued -= len;
        n -= len;
        if (next == NULL || q->taken < next->at)
            return;
        if (next->blob != NULL) {
            len = next->blob->len - q->blob_taken;
            if (len > n) {
                q->blob_taken += n;
                return;
            }
            n -= len;
            q->blob_taken = 0;
            blob_unref(next->blob);
        }
        q->first++;
    }
}

/* n bytes of what was gathered have left. */
static void note_sent(struct client_conn *c, size_t n)
{
    struct blob *single = c->single;

    if (single == NULL) {
        consume(c->io, c->queue, n);
    } else if (n == single->len) {
        blob_unref(single);
        c->single = NULL;
    } else {
        c->single = NULL;
        c->queue = take_queue(c->io);
        cut(c->queue, single);
        c->queue->blob_taken = n;
    }
    c->queued -= n;
    c->bytes_out += n;
    c->io->counters.bytes_out += n;
}

/* The socket has begun with the segment in front, or OpenSSL has and wants the
 * same again: let it have an end that stays. */
static void fix_front(struct client_queue *q)
{
    if (q->first == q->count)
        cut(q, NULL);
}

int client_queue_flush(struct client_conn *c)
{
    struct iovec iov[WRITE_VECTORS];

    while (c->queued > 0 && !c->blocked) {
        int count = gather(c, iov);
        ssize_t n = client_sock_write(c, iov, count);
        size_t offered = 0;

        if (n < 0)
            return -EPIPE;
        for (int i = 0; i < count; i++)
            offered += iov[i].iov_len;
        note_sent(c, (size_t)n);
        c->blocked = (size_t)n < offered;
    }
    if (c->blocked && c->queued > 0)
        fix_front(c->queue);
    if (c->queued == 0) {
        c->pinged = false;
        if (c->queue != NULL)
            give_queue(c->io, c->queue);
        c->queue = NULL;
    }
    return 0;
}

/* Drop all but the segment that its client may have begun to get. */
static void drop_rest(struct client_conn *c)
{
    struct client_queue *q = c->queue;
    struct cut *front;

    if (!c->blocked) {
        client_queue_drop(c);
        return;
    }
    front = &q->cuts[q->first];
    for (size_t i = q->first + 1; i < q->count; i++)
        blob_unref(q->cuts[i].blob);
    q->count = q->first + 1;
    c->io->counters.queued -= q->bytes.len - (front->at - q->taken);
    q->bytes.len = front->at - q->taken;
    if (q->bytes.len > 0) {
        blob_unref(front->blob);
        front->blob = NULL;
        c->queued = q->bytes.len;
    } else {
        c->queued = front->blob->len - q->blob_taken;
    }
}

/* Bytes of memory that the end of its queue would free. */
static size_t held_alone(const struct client_conn *c)
{
    const struct client_queue *q = c->queue;
    size_t sum;

    if (q == NULL)
        return c->single != NULL && c->single->refs == 1 ? c->single->len : 0;
    sum = q->bytes.len;
    for (size_t i = q->first; i < q->count; i++) {
        const struct blob *blob = q->cuts[i].blob;

        sum += blob != NULL && blob->refs == 1 ? blob->len : 0;
    }
    return sum;
}

/* When the process holds too much for all of them, those are slow that hold
 * more than their share of it. */
static bool has_room(const struct client_conn *c)
{
    const struct client_io *io = c->io;
    size_t total = io->conf->queue_total_max;

    if (c->queued >= io->conf->queue_max)
        return false;
    return total == 0 || io->counters.queued <= total || c->queued == 0 ||
           held_alone(c) < total / io->counters.connections;
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
    drop_rest(c);
    client_close(c, 1008, "overflow");
    return -ENOBUFS;
}

/* A message has been queued. */
static int queued(struct client_conn *c, size_t len)
{
    c->queued += len;
    c->io->counters.messages_out++;
    if (!c->blocked)
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
    c->io->counters.queued += q->bytes.len - before;
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
        queue_blob(c->io, need_queue(c), framed);
    return queued(c, framed->len);
}

void client_queue_bytes(struct client_conn *c, const void *data, size_t len)
{
    struct client_queue *q = need_queue(c);

    buf_append(&q->bytes, data, len);
    c->io->counters.queued += len;
    cut_if_long(q);
    c->queued += len;
    client_conn_schedule(c);
}

void client_queue_control(struct client_conn *c, enum wsframe_opcode opcode,
    const void *data, size_t len)
{
    uint8_t frame[WSFRAME_HEAD_MAX + WSFRAME_CONTROL_MAX];
    size_t head = wsframe_put_head(frame, opcode, len);

    if (len > 0)
        memcpy(frame + head, data, len);
    client_queue_bytes(c, frame, head + len);
}

void client_queue_pong(struct client_conn *c, const void *data, size_t len)
{
    if (has_room(c))
        client_queue_control(c, WSFRAME_PONG, data, len);
}

void client_ping(struct client_conn *c)
{
    if (c->io->conf->protocol != CLIENT_IO_WEBSOCKET ||
        c->state != CLIENT_OPEN || c->pinged)
        return;
    c->pinged = true;
    client_queue_control(c, WSFRAME_PING, NULL, 0);
}

/* The text that fits a Close frame, cut between characters. */
static size_t close_text_len(const char *reason)
{
    size_t len = strnlen(reason, WSFRAME_CONTROL_MAX - 2);

    while (len > 0 && ((uint8_t)reason[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static void queue_close(struct client_conn *c, int code, const char *reason)
{
    uint8_t payload[WSFRAME_CONTROL_MAX];
    size_t len = close_text_len(reason);

    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    memcpy(payload + 2, reason, len);
    client_queue_control(c, WSFRAME_CLOSE, payload, 2 + len);
}

void client_close(struct client_conn *c, int code, const char *reason)
{
    if (c->state != CLIENT_OPEN)
        return;
    client_conn_blame(c, code, reason);
    c->paused = false;
    if (c->io->conf->protocol != CLIENT_IO_WEBSOCKET) {
        client_conn_end(c);
        return;
    }
    queue_close(c, code, reason);
    c->state = CLIENT_CLOSING;
    client_conn_expect(c, &c->io->closing, CLIENT_CLOSE_TIMEOUT);
    client_conn_schedule(c);
}

void client_destroy(struct client_conn *c, const char *reason)
{
    if (c->state == CLIENT_DEAD)
        return;
    client_conn_blame(c, 1006, reason);
    client_queue_drop(c);
    client_conn_end(c);
    c->kill = true;
}

size_t client_queued(const struct client_conn *c)
{
    return c->queued;
}

uint64_t client_bytes_in(const struct client_conn *c)
{
    return c->bytes_in;
}

uint64_t client_bytes_out(const struct client_conn *c)
{
    return c->bytes_out;
}
