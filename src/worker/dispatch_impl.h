/* dispatch_impl.h - hands each client's events to the script, one at a time.
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

#include "worker/acks.h"
#include "worker/dispatch.h"
#include "worker/handlers.h"
#include "worker/mailboxes.h"
#include "worker/session_impl.h"
#include "worker/worker_conf.h"

/* Seconds of computing, about, in a turn of the loop that has others wait … */
#define DISPATCH_TURN 0.01
/* … and nanoseconds for them before the links are read again. */
#define DISPATCH_READY_NS (2 * 1000 * 1000)

struct dispatch {
    struct turn *turn;
    struct gateways *gateways;
    struct acks *acks;         /* borrowed; whom to tell of events */
    struct handlers *handlers; /* borrowed */
    struct vm *vm; /* borrowed; where new events run, NULL while none may */
    const struct event *running; /* that has not waited; NULL: none */
    struct mailboxes mailboxes;
    struct sessions sessions;
    struct list ready; /* mailboxes whose queue may go on, or whose client is
                          gone while a handler waits; who waited longest first
                        */
    struct turn_task ready_task;
    bool stopped;       /* the event links are paused, for good */
    uint64_t forgotten; /* never begun: their link was lost */
    uint64_t skipped;   /* not begun: they had begun elsewhere */
    uint64_t cut_off;   /* handlers that a reload did not wait for */
};

/* What there is to tell of a dispatch. */
struct dispatch_counts {
    size_t clients;                       /* with a mailbox */
    size_t queued;                        /* events in mailboxes */
    uint64_t forgotten, skipped, cut_off; /* as in struct dispatch */
};

/* Borrows turn, gateways and handlers, which outlive it. */
struct dispatch *dispatch_new(struct turn *turn, struct gateways *gateways,
    const struct worker_conf *conf, struct handlers *handlers);

/* After the vms are closed. */
void dispatch_free(struct dispatch *d);

/* New events run in vm from now on; NULL holds them. */
void dispatch_serve(struct dispatch *d, struct vm *vm);
/* Do they? */
bool dispatch_serves(const struct dispatch *d, const struct vm *vm);

/* An event frame came; its bytes are borrowed during the call. */
enum acks_event dispatch_event(
    struct dispatch *d, const struct frame *f, uint32_t link);

/* That gateway's link is lost: forget its events that have not begun. */
void dispatch_link_lost(struct dispatch *d, struct gateways_address from);

/* The same of one whose links live, and that has taken those back. */
void dispatch_revoked(struct dispatch *d, struct gateways_address from);

/* What is queued of that client may go on: acks_want(). */
void dispatch_granted(struct dispatch *d, const struct client_id *id);

/* The client's gateway is gone and will not send its ON_CLOSE; certain: it says
 * so itself. */
void dispatch_lost(
    struct dispatch *d, const struct client_id *id, bool certain);

/* Whoever gave the event that runs shall not give it to another worker: it does
 * not come back. For a signal handler that ends the process. */
void dispatch_tell_hanging(const struct dispatch *d);

/* Take no new events. */
void dispatch_stop(struct dispatch *d);

/* vm is about to close: forget its handlers. Their clients' next events run on
 * a later turn, in the serving vm. The number of handlers. */
size_t dispatch_abandon(struct dispatch *d, struct vm *vm);

/* The gateways are about to be closed: nothing begins or settles any more. */
void dispatch_leave(struct dispatch *d);

struct dispatch_counts dispatch_counts(const struct dispatch *d);

/* About once a second: forget what is due to be forgotten. */
void dispatch_tick(struct dispatch *d);

/* A SESSION frame about a client came; borrowed. */
void dispatch_session(
    struct dispatch *d, const struct client_id *id, const struct frame *f);

#endif /* GW_WORKER_DISPATCH_IMPL_H */
