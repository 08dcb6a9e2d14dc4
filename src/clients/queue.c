/* What waits to be written to one client: frames, in segments that leave whole
 * or not at all. Small messages are copied together, large ones shared between
 * clients (blobs). A client whose socket takes everything at once has no
 * queue, and a queue that is empty again is kept for the next. */

#include "clients/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/sock.h"
#include "util/alloc.h"
#include "util/blob.h"

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

struct segments {
    struct segments *next;    /* among the spare ones */
    struct buf bytes;         /* small messages, copied */
    size_t taken;             /* bytes of them that have left */
    size_t blob_taken;        /* bytes of the blob in front that have left */
    struct cut *cuts;         /* owned array */
    size_t first, count, cap; /* cuts[first .. count) are waiting */
    /* Where messages end, in bytes that have ever left for the client, modulo
     * 2^32: of more than 2 GiB the count is wrong. Some may have left. */
    uint32_t *ends; /* owned array */
    uint32_t nends, ends_cap;
    bool open; /* the last thing in it is a message, whose end is not noted */
};

static struct segments *take_segments(struct queue_pool *pool)
{
    struct segments *s = pool->spare;

    if (s == NULL)
        return xcalloc(1, sizeof(*s));
    pool->spare = s->next;
    pool->nspare--;
    return s;
}

static void free_segments(struct segments *s)
{
    buf_fini(&s->bytes);
    free(s->cuts);
    free(s->ends);
    free(s);
}

/* Give back a queue in which nothing is left. */
static void give_segments(struct queue_pool *pool, struct segments *s)
{
    if (pool->nspare >= QUEUE_SPARES_MAX) {
        free_segments(s);
        return;
    }
    buf_clear(&s->bytes);
    buf_shrink(&s->bytes, QUEUE_KEEP_BYTES);
    s->taken = s->blob_taken = 0;
    s->first = s->count = 0;
    s->open = false;
    s->nends = 0;
    if (s->ends_cap > QUEUE_KEEP_BYTES / sizeof(*s->ends)) {
        free(s->ends);
        s->ends = NULL;
        s->ends_cap = 0;
    }
    s->next = pool->spare;
    pool->spare = s;
    pool->nspare++;
}

void queue_pool_fini(struct queue_pool *pool)
{
    while (pool->spare != NULL) {
        struct segments *s = pool->spare;

        pool->spare = s->next;
        free_segments(s);
    }
    pool->nspare = 0;
}

/* End the segment behind what is queued; blob, now owned, is the next. */
static void cut(struct segments *s, struct blob *blob)
{
    /* A queue that is never quite empty must not grow at its end for ever. */
    if (s->count == s->cap && s->first > 0 && s->first >= s->cap / 2) {
        s->count -= s->first;
        memmove(s->cuts, s->cuts + s->first, s->count * sizeof(*s->cuts));
        s->first = 0;
    }
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 4 : s->cap * 2;
        s->cuts = xrealloc(s->cuts, s->cap * sizeof(*s->cuts));
    }
    s->cuts[s->count++] = (struct cut){blob, s->taken + s->bytes.len};
}

/* Small messages were copied: end the segment if it is long enough. */
static void cut_if_long(struct segments *s)
{
    size_t begin = s->first < s->count ? s->cuts[s->count - 1].at : s->taken;

    if (s->taken + s->bytes.len - begin >= SEGMENT_ENOUGH)
        cut(s, NULL);
}

/* Small blobs are copied: many leave in one write then. */
static void append_blob(
    struct queue_pool *pool, struct segments *s, struct blob *blob)
{
    if (blob->len > QUEUE_COPY_MAX) {
        cut(s, blob_ref(blob));
        return;
    }
    buf_append(&s->bytes, blob->data, blob->len);
    *pool->held += blob->len;
    cut_if_long(s);
}

/* ---- which messages a client did not get ---- */

/* How many of those whose end is noted end before this place, or there. */
static uint32_t count_ended(const struct segments *s, uint64_t place)
{
    uint32_t n = 0;

    while (n < s->nends && (int32_t)(s->ends[n] - (uint32_t)place) <= 0)
        n++;
    return n;
}

/* A queue that is never quite empty must not grow at its end for ever. */
static void make_room_for_end(struct queue *q)
{
    struct segments *s = q->segments;
    uint32_t gone = count_ended(s, q->sent);

    if (gone > s->ends_cap / 2) {
        s->nends -= gone;
        memmove(s->ends, s->ends + gone, s->nends * sizeof(*s->ends));
        return;
    }
    s->ends_cap = s->ends_cap == 0 ? 16 : s->ends_cap * 2;
    s->ends = xrealloc(s->ends, s->ends_cap * sizeof(*s->ends));
}

/* What is queued ends with a message, and more is to come behind it. */
static void note_end(struct queue *q)
{
    struct segments *s = q->segments;

    if (s->nends == s->ends_cap)
        make_room_for_end(q);
    s->ends[s->nends++] = (uint32_t)(q->sent + q->len);
    s->open = false;
}

/* All is dropped but the first left bytes of what is queued. */
static void count_dropped(struct queue *q, size_t left)
{
    struct segments *s = q->segments;
    uint32_t kept = count_ended(s, q->sent + left);

    q->dropped += s->nends - kept;
    s->nends = kept;
    if (s->open && left < q->len) {
        q->dropped++;
        s->open = false;
    }
}

/* ---- the queue ---- */

/* The client's queue, with what was alone until now in front. */
static struct segments *need_segments(struct queue *q, struct queue_pool *pool)
{
    if (q->segments == NULL)
        q->segments = take_segments(pool);
    if (q->single != NULL) {
        append_blob(pool, q->segments, q->single);
        blob_unref(q->single);
        q->single = NULL;
        q->segments->open = true;
    }
    return q->segments;
}

void queue_drop(struct queue *q, struct queue_pool *pool)
{
    struct segments *s = q->segments;

    q->dropped += q->single != NULL;
    blob_unref(q->single);
    q->single = NULL;
    if (s == NULL) {
        q->len = 0;
        return;
    }
    count_dropped(q, 0);
    q->len = 0;
    for (size_t i = s->first; i < s->count; i++)
        blob_unref(s->cuts[i].blob);
    *pool->held -= s->bytes.len;
    q->segments = NULL;
    give_segments(pool, s);
}

/* What the socket is offered: the segments in front. */
static int gather(const struct segments *s, struct iovec iov[WRITE_VECTORS])
{
    size_t at = s->taken;
    size_t skip = s->blob_taken;
    int n = 0;

    for (size_t i = s->first; i < s->count; i++) {
        const struct cut *next = &s->cuts[i];

        if (n + 2 > WRITE_VECTORS)
            return n;
        if (next->at > at)
            iov[n++] =
                (struct iovec){s->bytes.data + (at - s->taken), next->at - at};
        if (next->blob != NULL)
            iov[n++] =
                (struct iovec){next->blob->data + skip, next->blob->len - skip};
        skip = 0;
        at = next->at;
    }
    if (n < WRITE_VECTORS && s->taken + s->bytes.len > at)
        iov[n++] = (struct iovec){
            s->bytes.data + (at - s->taken), s->taken + s->bytes.len - at};
    return n;
}

/* n bytes of the queue have left. */
static void consume(struct queue_pool *pool, struct segments *s, size_t n)
{
    for (;;) {
        struct cut *next = s->first < s->count ? &s->cuts[s->first] : NULL;
        size_t len = next != NULL ? next->at - s->taken : s->bytes.len;

        if (len > n)
            len = n;
        if (len > 0)
            buf_consume(&s->bytes, len);
        s->taken += len;
        *pool->held -= len;
        n -= len;
        if (next == NULL || s->taken < next->at)
            return;
        if (next->blob != NULL) {
            len = next->blob->len - s->blob_taken;
            if (len > n) {
                s->blob_taken += n;
                return;
            }
            n -= len;
            s->blob_taken = 0;
            blob_unref(next->blob);
        }
        s->first++;
    }
}

/* n bytes of a message that is alone have left. */
static void consume_single(struct queue *q, struct queue_pool *pool, size_t n)
{
    struct blob *single = q->single;

    q->single = NULL;
    if (n == single->len) {
        blob_unref(single);
        return;
    }
    q->segments = take_segments(pool);
    cut(q->segments, single);
    q->segments->blob_taken = n;
    q->segments->open = true;
}

/* n bytes of what the socket was offered have left. */
static void note_sent(struct queue *q, struct queue_pool *pool, size_t n)
{
    if (q->single != NULL)
        consume_single(q, pool, n);
    else
        consume(pool, q->segments, n);
    q->len -= n;
    q->sent += n;
    *pool->sent += n;
}

/* The same, and nothing else was there. */
static inline void note_all_sent(struct queue *q, struct queue_pool *pool)
{
    q->sent += q->len;
    *pool->sent += q->len;
    q->len = 0;
    if (q->single == NULL) {
        *pool->held -= q->segments->bytes.len;
        return; /* queue_flush() gives them back */
    }
    blob_unref(q->single);
    q->single = NULL;
}

/* Write the bytes at data, which are all that waits. */
static inline int write_piece(struct queue *q, struct queue_pool *pool,
    struct sock *sock, const uint8_t *data)
{
    ssize_t n = sock_write(sock, data, q->len);

    if (n < 0)
        return -EPIPE;
    if ((size_t)n == q->len) {
        note_all_sent(q, pool);
        return 0;
    }
    sock->blocked = true;
    note_sent(q, pool, (size_t)n);
    return 0;
}

/* Write segments while the socket takes all that it is offered. Out of the way
 * of those that lie in one piece. */
__attribute__((noinline)) static int write_segments(
    struct queue *q, struct queue_pool *pool, struct sock *sock)
{
    struct iovec iov[WRITE_VECTORS];

    while (q->len > 0 && !sock->blocked) {
        int count = gather(q->segments, iov);
        ssize_t n = sock_write_vectors(sock, iov, count);
        size_t offered = 0;

        if (n < 0)
            return -EPIPE;
        for (int i = 0; i < count; i++)
            offered += iov[i].iov_len;
        note_sent(q, pool, (size_t)n);
        sock->blocked = (size_t)n < offered;
    }
    return 0;
}

/* Almost always all that waits lies in one piece. */
static int write_some(
    struct queue *q, struct queue_pool *pool, struct sock *sock)
{
    if (q->single != NULL)
        return write_piece(q, pool, sock, q->single->data);
    if (q->segments->first == q->segments->count)
        return write_piece(q, pool, sock, q->segments->bytes.data);
    return write_segments(q, pool, sock);
}

/* The socket has begun with the segment in front, or OpenSSL has and wants the
 * same again: let it have an end that stays. */
static void fix_front(struct segments *s)
{
    if (s->first == s->count)
        cut(s, NULL);
}

int queue_flush(struct queue *q, struct queue_pool *pool, struct sock *sock)
{
    struct segments *s;

    if (q->len > 0 && !sock->blocked && write_some(q, pool, sock) < 0)
        return -EPIPE;
    s = q->segments;
    if (s == NULL)
        return 0;
    if (q->len == 0) {
        q->segments = NULL;
        give_segments(pool, s);
    } else if (sock->blocked) {
        fix_front(s);
    }
    return 0;
}

void queue_count(struct queue *q, struct queue_pool *pool, size_t len)
{
    q->sent += len;
    *pool->sent += len;
}

void queue_drop_rest(struct queue *q, struct queue_pool *pool, bool begun)
{
    struct segments *s = q->segments;
    struct cut *front;
    size_t left;

    if (!begun) {
        queue_drop(q, pool);
        return;
    }
    front = &s->cuts[s->first];
    for (size_t i = s->first + 1; i < s->count; i++)
        blob_unref(s->cuts[i].blob);
    s->count = s->first + 1;
    *pool->held -= s->bytes.len - (front->at - s->taken);
    s->bytes.len = front->at - s->taken;
    if (s->bytes.len > 0) {
        blob_unref(front->blob);
        front->blob = NULL;
        left = s->bytes.len;
    } else {
        left = front->blob->len - s->blob_taken;
    }
    count_dropped(q, left);
    q->len = left;
}

/* Bytes of memory that the end of its queue would free. */
static size_t held_alone(const struct queue *q)
{
    const struct segments *s = q->segments;
    size_t sum;

    if (s == NULL)
        return q->single != NULL && q->single->refs == 1 ? q->single->len : 0;
    sum = s->bytes.len;
    for (size_t i = s->first; i < s->count; i++) {
        const struct blob *blob = s->cuts[i].blob;

        sum += blob != NULL && blob->refs == 1 ? blob->len : 0;
    }
    return sum;
}

/* Bytes left of the message that leaves now, if it is a large one. */
static size_t leaving(const struct queue *q)
{
    const struct segments *s = q->segments;
    const struct cut *front;

    if (s == NULL)
        return q->len; /* it is alone */
    front = s->first < s->count ? &s->cuts[s->first] : NULL;
    if (front == NULL || front->blob == NULL || front->at > s->taken)
        return 0;
    return front->blob->len - s->blob_taken;
}

/* What waits is limited, and a message that is larger
 * than the limit does not count while it leaves: so the queue never holds more
 * than the limit and one message. When the process holds too much for all of
 * them, those are slow that hold more than their share of it. */
bool queue_has_room(const struct queue *q, const struct queue_pool *pool,
    size_t len, size_t clients)
{
    if (q->len == 0)
        return true;
    if (q->len >= pool->max && q->len - leaving(q) + len > pool->max)
        return false;
    return pool->total_max == 0 || *pool->held <= pool->total_max ||
           held_alone(q) < pool->total_max / clients;
}

struct buf *queue_begin(struct queue *q, struct queue_pool *pool)
{
    struct segments *s = need_segments(q, pool);

    if (s->open)
        note_end(q);
    s->open = true;
    return &s->bytes;
}

void queue_commit(struct queue *q, struct queue_pool *pool, size_t len)
{
    *pool->held += len;
    q->len += len;
    cut_if_long(q->segments);
}

void queue_share_behind(
    struct queue *q, struct queue_pool *pool, struct blob *blob)
{
    queue_begin(q, pool);
    append_blob(pool, q->segments, blob);
    q->len += blob->len;
}

void queue_bytes(
    struct queue *q, struct queue_pool *pool, const void *data, size_t len)
{
    struct segments *s = need_segments(q, pool);

    if (s->open)
        note_end(q);
    buf_append(&s->bytes, data, len);
    queue_commit(q, pool, len);
}
