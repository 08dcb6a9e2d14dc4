/* mailboxes.h - the clients that something is known of here, and their events.
 *
 * A client has a mailbox while an event of it runs or waits, or while something
 * is known of its session. Who has a turn is dispatch.c's to say.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_MAILBOXES_H
#define GW_WORKER_MAILBOXES_H

#include "util/buf.h"
#include "util/hash.h"
#include "util/list.h"
#include "wire/client_id.h"
#include "wire/frame.h"
#include "worker/backlogs.h"
#include "worker/coro.h"

#define MAILBOXES_SPARE_MAX 1024 /* kept for reuse */

struct session_record;
struct sessions;

/* Whether an event that was queued may begin, once it is the first one. */
enum event_leave {
    EVENT_MAY,
    EVENT_ASKS, /* not before its gateway grants it, which is to be asked, … */
    EVENT_ASKED /* … and has been */
};

/* One event: as it came, or (in a queue) with its bytes behind it. */
struct event {
    struct list node;
    struct frame f;
    uint32_t link;   /* that brought it; 0: none that is told about it */
    uint32_t number; /* of one that was queued: acks_number() */
    enum event_leave leave;
    bool lost;        /* ON_CLOSE made up because the gateway is gone, … */
    bool uncertain;   /* … or cannot be reached */
    uint64_t arrived; /* ns; 0: nobody measures */
    size_t size;      /* bytes counted for the queue limit */
    uint8_t data[];
};

struct mailboxes_key {
    uint32_t ip;
    uint32_t connection_id;
    uint32_t port; /* 32 bits: no padding in a hash key */
};

struct mailbox {
    UT_hash_handle hh;
    struct mailboxes *all; /* borrowed */
    struct mailboxes_key key;
    bool filed;                /* it can be found */
    bool starting;             /* inside coro_start() */
    uint8_t cmd;               /* of the running event */
    struct vm *vm;             /* where its handler runs or waits; NULL: idle */
    uint32_t link;             /* of the running event */
    uint64_t arrived;          /* as that of the running event … */
    uint64_t begun;            /* … and when it began; 0: nobody looks */
    const struct event *event; /* the running one; NULL after its first wait */
    struct coro_client client; /* of the running event */
    const uint8_t *session;    /* what the running event sees */
    size_t session_len;
    struct buf waiting_session;    /* keeps session over a wait */
    struct session_record *record; /* owned by session.c; NULL for most */
    struct list queue;             /* of struct event, waiting for their turn */
    struct list watches; /* of dispatch_watch; the running handler's */
    struct list node;    /* among the spare ones, or in dispatch->ready */
};

/* All of a worker. Embedded in its owner. */
struct mailboxes {
    struct mailbox *by_key;
    struct list spare;
    size_t nspare;
    struct backlogs backlogs;
    struct sessions *sessions; /* borrowed; of their clients */
    void (*handled)(struct mailbox *m, const char *error);
};

/* Borrows sessions and gateways. handled is told that the handler of m has
 * ended, as coro_done_cb. */
void mailboxes_init(struct mailboxes *all, struct sessions *sessions,
    struct gateways *gateways, size_t queue_max,
    void (*handled)(struct mailbox *m, const char *error));

/* After the session of each is forgotten. */
void mailboxes_fini(struct mailboxes *all);

/* The client's; NULL when it has none. */
struct mailbox *mailboxes_find(
    struct mailboxes *all, const struct client_id *id);

/* A new one, that cannot be found before it is filed. */
struct mailbox *mailboxes_take(
    struct mailboxes *all, const struct client_id *id);
void mailboxes_file(struct mailbox *m);

/* Nothing runs and nothing waits. */
static inline bool mailboxes_is_idle(const struct mailbox *m)
{
    return !m->vm && list_empty(&m->queue);
}

/* It is idle, and its session is forgotten. m may be freed. */
void mailboxes_release(struct mailbox *m);

/* Queue a copy of e, whose number that is. */
void mailboxes_enqueue(
    struct mailbox *m, const struct event *e, uint32_t number);

/* Take the event of that node, or the first one, out of m's queue; for free().
 */
struct event *mailboxes_unqueue(struct mailbox *m, struct list *node);
struct event *mailboxes_next(struct mailbox *m);

/* For coro_start(), with m: says it to handled. */
void mailboxes_on_done(const char *error, void *m);

/* The mailbox of the handler that runs; NULL in timers and the like. */
struct mailbox *mailboxes_of(lua_State *L);

#endif /* GW_WORKER_MAILBOXES_H */
