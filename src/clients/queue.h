/* queue.h - what waits to be written to one client.
 *
 * A queue is embedded in its connection and starts as zeros; the memory that it
 * needs while something waits comes from a pool that all queues of a port
 * share, and goes back there.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_QUEUE_H
#define GW_CLIENTS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/blob.h"
#include "util/buf.h"

struct sock;
struct segments;

#define QUEUE_COPY_MAX   512         /* bytes; larger blobs are shared */
#define QUEUE_KEEP_BYTES (16 * 1024) /* buffer that spare segments keep */
#define QUEUE_SPARES_MAX 256         /* of a pool, kept for reuse */

struct queue {
    struct blob *single;       /* owned; the only thing queued, or NULL */
    struct segments *segments; /* owned; NULL while nothing is queued */
    size_t len;                /* bytes in single or segments */
    uint64_t sent;             /* bytes that have left, ever */
    uint32_t dropped;          /* messages that its client did not get */
};

/* Embedded in the port, which sets all but the spare ones. */
struct queue_pool {
    struct segments *spare; /* owned */
    size_t nspare;
    size_t *held;     /* borrowed; bytes of memory that wait in all queues */
    uint64_t *sent;   /* borrowed; bytes that have left all of them */
    size_t max;       /* bytes waiting for a client */
    size_t total_max; /* the same for all; 0: any */
};

void queue_pool_fini(struct queue_pool *pool);

/* Room for a message of len bytes more? clients: how many share the pool. */
bool queue_has_room(const struct queue *q, const struct queue_pool *pool,
    size_t len, size_t clients);

/* A message: append it to the buffer, then commit its length. */
struct buf *queue_begin(struct queue *q, struct queue_pool *pool);
void queue_commit(struct queue *q, struct queue_pool *pool, size_t len);

/* A message that others may get, too: takes a reference, or copies it. */
void queue_share_behind(
    struct queue *q, struct queue_pool *pool, struct blob *blob);
static inline void queue_share(
    struct queue *q, struct queue_pool *pool, struct blob *blob)
{
    if (q->single != NULL || q->segments != NULL) {
        queue_share_behind(q, pool, blob);
        return;
    }
    q->single = blob_ref(blob);
    q->len = blob->len;
}

/* Bytes that are no message: no limit holds them up, and nothing counts them as
 * dropped. */
void queue_bytes(
    struct queue *q, struct queue_pool *pool, const void *data, size_t len);

/* Write what the socket takes; the rest waits while it is blocked. 0, or
 * -EPIPE. */
int queue_flush(struct queue *q, struct queue_pool *pool, struct sock *sock);

/* len bytes have left beside the queue, which is empty. */
void queue_count(struct queue *q, struct queue_pool *pool, size_t len);

void queue_drop(struct queue *q, struct queue_pool *pool);
/* Drop all but the segment that its client may have begun to get. begun: the
 * socket did not take all the last time. */
void queue_drop_rest(struct queue *q, struct queue_pool *pool, bool begun);

#endif /* GW_CLIENTS_QUEUE_H */
