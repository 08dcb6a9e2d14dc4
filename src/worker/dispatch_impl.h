/* dispatch_impl.h - hands each client's events to the script, one at a time.
 *
 * A client has a mailbox while an event of it runs or waits, or while something
 * is known of its session.
 *
 * Events run as they come, until the handlers have had the time of this turn of
 * the loop. Then they queue, and the clients take turns, with one event each,
 * so that nobody waits for all that another one has sent; the links are read
 * again in between.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_DISPATCH_IMPL_H
#define GW_WORKER_DISPATCH_IMPL_H

#include "util/buf.h"
#include "util/hash.h"
#include "util/list.h"
#include "wire/client_id.h"
#include "wire/frame.h"
#include "worker/coro_impl.h"
#include "worker/dispatch.h"
#include "worker/gateways_impl.h"
#include "worker/vm_impl.h"

#define DISPATCH_ERROR_LINES 100  /* logged per second; the rest is counted */
#define DISPATCH_SPARE_MAX   1024 /* mailboxes kept for reuse */
/* Seconds of computing, about, in a turn of the loop that has others wait … */
#define DISPATCH_TURN 0.01
/* … and nanoseconds for them before the links are read again. */
#define DISPATCH_READY_NS (2 * 1000 * 1000)
/* being decided about; more are refused with 503 */
#define DISPATCH_HANDSHAKES_MAX 10000
/* being answered; likewise */
#define DISPATCH_REQUESTS_MAX 10000

/* Sessions that GatewayWorker's gateways have not sent back yet: session.c. */
#define SESSION_STALE_MAX 8
#define SESSION_KEEP_MS   60000

/* What is known of a client's session beyond its events: see session.c. */
struct session_record {
    struct list node;        /* in dispatch->records, oldest first, or alone */
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

/* One event: as it came, or (in a queue) with its bytes behind it. */
struct event {
    struct list node;
    struct frame f;
    uint32_t link;   /* that brought it; 0: none that is told about it */
    uint32_t number; /* of one that was queued: acks_number() */
    bool lost;       /* ON_CLOSE made up because the gateway is gone */
    size_t size;     /* bytes counted for the queue limit */
    uint8_t data[];
};

struct mailbox_key {
    uint32_t ip;
    uint32_t connection_id;
    uint32_t port; /* 32 bits: no padding in a hash key */
};

struct mailbox {
    UT_hash_handle hh;
    struct dispatch *d; /* borrowed */
    struct mailbox_key key;
    bool filed;                /* in d->mailboxes */
    struct vm *vm;             /* where its handler runs or waits; NULL: idle */
    bool starting;             /* inside coro_start() */
    uint8_t cmd;               /* of the running event */
    uint32_t link;             /* of the running event */
    const struct event *event; /* the running one; NULL after its first wait */
    struct coro_client client; /* of the running event */
    const uint8_t *session;    /* what the running event sees */
    size_t session_len;
    struct buf waiting_session;    /* keeps session over a wait */
    struct session_record *record; /* owned; NULL for most */
    struct list queue;             /* of struct event, waiting for their turn */
    struct list watches; /* of dispatch_watch; the running handler's */
    struct list node;    /* in d->spare or d->ready */
};

struct dispatch_request;

struct dispatch {
    struct turn *turn;
    struct gateways *gateways;
    struct acks *acks; /* borrowed; whom to tell of events */
    const struct worker_conf *conf;
    struct vm *vm; /* borrowed; where new events run, NULL while none may */
    const struct event *running; /* that has not waited; NULL: none */
    struct mailbox *mailboxes;   /* by key */
    struct list spare;
    size_t nspare;
    struct list handshakes; /* that the script decides about just now */
    size_t nhandshakes;
    struct list requests; /* that the script answers just now; … */
    size_t nrequests;
    const struct dispatch_request *request; /* … and has not waited; or NULL */
    struct list ready; /* mailboxes whose queue may go on, or whose client is
                          gone while a handler waits; who waited longest first
                        */
    struct turn_task ready_task;
    struct list records;
    uint64_t last_session; /* number or version */
    uint8_t hash_key[16];
    size_t queued;        /* events in queues */
    struct list backlogs; /* struct backlog: of each gateway, what is queued */
    bool stopped;         /* the event links are paused, for good */
    uint64_t events;
    uint64_t forgotten; /* never begun: their link was lost */
    uint64_t skipped;   /* not begun: they had begun elsewhere */
    uint64_t cut_off;   /* handlers that a reload did not wait for */
    uint64_t errors;
    uint64_t error_second; /* loop time, s, of error_lines */
    unsigned error_lines;
    uint64_t suppressed;
};

/* What there is to tell of a dispatch. */
struct dispatch_counts {
    size_t clients;                      /* with a mailbox */
    size_t queued;                       /* events in mailboxes */
    uint64_t events, forgotten, skipped; /* as in struct dispatch */
    uint64_t cut_off, errors;            /* likewise */
};

/* Borrows all; conf and gateways outlive it. */
struct dispatch *dispatch_new(struct turn *turn, struct gateways *gateways,
    const struct worker_conf *conf);

/* After the vms are closed. */
void dispatch_free(struct dispatch *d);

/* New events run in vm from now on; NULL holds them. */
void dispatch_serve(struct dispatch *d, struct vm *vm);

/* An event frame came; its bytes are borrowed during the call. */
enum acks_event dispatch_event(
    struct dispatch *d, const struct frame *f, uint32_t link);

/* That gateway's link is lost: forget its events that have not begun. */
void dispatch_link_lost(struct dispatch *d, struct gateways_address from);

/* The client's gateway is gone and will not send its ON_CLOSE. */
void dispatch_lost(struct dispatch *d, const struct client_id *id);

/* Whoever gave the event that runs shall not give it to another worker: it does
 * not come back. For a signal handler that ends the process. */
void dispatch_tell_hanging(const struct dispatch *d);

/* Take no new events. */
void dispatch_stop(struct dispatch *d);

/* vm is about to close: forget its handlers. Their clients' next events run on
 * a later turn, in the serving vm. The number of handlers. */
size_t dispatch_abandon(struct dispatch *d, struct vm *vm);

struct dispatch_counts dispatch_counts(const struct dispatch *d);

/* A few times a second: write what is due to be written and forgotten. */
void dispatch_tick(struct dispatch *d);

/* backlogs.c: e is queued, or is not any more. */
void backlogs_add(struct dispatch *d, const struct event *e);
void backlogs_remove(struct dispatch *d, const struct event *e);

/* events.c: a coroutine's body: call the callback for the mailbox's event. */
int events_call(lua_State *L);

/* "onMessage" …, NULL when f is no client event. */
const char *events_callback(uint8_t cmd);

/* handshakes.c: ask the script about a request; gateways_answer() follows. */
void handshakes_ask(
    struct dispatch *d, struct gateways_address from, const struct frame *f);
/* handshakes.c: refuse what vm has not decided yet; its handlers are cut off.
 */
void handshakes_abandon(struct dispatch *d, const struct vm *vm);

/* requests.c: have the script answer one; gateways_answer() follows. */
void requests_take(
    struct dispatch *d, struct gateways_address from, const struct frame *f);
/* requests.c: answer for those that vm has not yet; its handlers are cut off.
 */
void requests_abandon(struct dispatch *d, const struct vm *vm);
/* requests.c: as dispatch_tell_hanging(). */
void requests_tell_hanging(const struct dispatch *d);

/* events.c: push what a gateway tells in serialized bytes; nil when there are
 * none. */
void events_push_info(lua_State *L, const uint8_t *data, size_t len);

/* Count a failure of a handler; true when it is to be logged. */
bool dispatch_count_failure(struct dispatch *d);

/* A SESSION frame about a client came; borrowed. */
void dispatch_session(
    struct dispatch *d, const struct client_id *id, const struct frame *f);

/* session.c */
void session_arrive(struct mailbox *m, const struct frame *f); /* an event */
void session_drop(struct mailbox *m, bool lost); /* at session_settle() */
void session_settle(struct mailbox *m); /* nothing runs and nothing waits */
void session_begin(struct mailbox *m);  /* find the bytes for m->event */
void session_keep(struct mailbox *m);   /* m->event's bytes go away */
void session_forget(struct mailbox *m); /* drop the record */
struct mailbox *dispatch_mailbox(lua_State *L); /* of the running code, NULL */

#endif /* GW_WORKER_DISPATCH_IMPL_H */
