/* session_impl.h - what the dispatcher tells of a client's session.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_SESSION_IMPL_H
#define GW_WORKER_SESSION_IMPL_H

#include "net/turn.h"
#include "worker/mailboxes.h"
#include "worker/session.h"

/* Sessions that GatewayWorker's gateways have not sent back yet. */
#define SESSION_STALE_MAX 8
#define SESSION_KEEP_MS   60000

/* What is known of a client's session beyond its events. */
struct session_record {
    struct list node;        /* in sessions->records, oldest first, or alone */
    struct mailbox *mailbox; /* borrowed, owns this */
    uint8_t *data;           /* owned */
    size_t len;
    bool known;        /* the gateway says what becomes of it; else: */
    uint64_t saved_at; /* loop time, ms */
    size_t nstale;
    uint64_t stale[SESSION_STALE_MAX]; /* hashes of what it replaced */
    /* known */
    bool dropped; /* the gateway does not count on it any more … */
    bool lost;    /* … or is not there */
    uint64_t number, version; /* as in struct session_id */
    struct list changes;      /* that the gateway may not have yet */
};

/* Of all clients of a worker. Embedded in its owner. */
struct sessions {
    const uv_loop_t *loop;     /* borrowed */
    struct gateways *gateways; /* borrowed */
    struct list records;
    uint64_t last; /* number or version */
    uint8_t hash_key[16];
};

void sessions_init(
    struct sessions *s, const uv_loop_t *loop, struct gateways *gateways);

/* Forget the records that GatewayWorker's gateways have not sent back for so
 * long that they will not, of idle mailboxes; each is then settled. */
void sessions_sweep(struct sessions *s, void (*settle)(struct mailbox *m));

void session_arrive(struct mailbox *m, const struct frame *f); /* an event */
void session_drop(struct mailbox *m, bool lost); /* at session_settle() */
void session_settle(struct mailbox *m); /* nothing runs and nothing waits */
void session_begin(struct mailbox *m);  /* find the bytes for m->event */
void session_keep(struct mailbox *m);   /* m->event's bytes go away */
void session_forget(struct mailbox *m); /* drop the record */

#endif /* GW_WORKER_SESSION_IMPL_H */
