/* router_impl.h - what the router's own files know of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ROUTER_IMPL_H
#define GW_GATEWAY_ROUTER_IMPL_H

#include "gateway/given.h"
#include "gateway/router.h"
#include "gateway/unheard.h"
#include "util/buf.h"
#include "util/idmap.h"
#include "util/list.h"
#include "util/log.h"
#include "wire/client_id.h"

#define ROUTER_BEFORE_MAX 16

struct router_worker {
    struct list node;  /* in router->leaving, else alone */
    struct conn *conn; /* borrowed; NULL while it leaves */
    char *key;         /* owned */
    uint64_t key_hash; /* the same in every gateway */
    size_t clients;    /* bound to it */
    uint32_t serial;   /* tells it from others that had its slot */
    uint32_t before[ROUTER_BEFORE_MAX]; /* those of the same process on links
                                           before, the last ones; or 0 */
    uint16_t slot;
    struct router_features features;
    struct given *given; /* owned; NULL: it does not acknowledge, but is */
    struct unheard unheard;
    uint64_t running; /* events that it began and is not through with */
    /* router_stalled.c */
    struct idmap runs;      /* clients of which one of those may be … */
    bool runs_any;          /* … or any may */
    struct buf frozen;      /* struct router_frozen, of events that it had begun
                               when it was found stalled */
    bool stalled;           /* it does not move, … */
    bool renews;            /* … and what it had not begun was taken back */
    unsigned rest;          /* ticks without a move */
    unsigned stalled_ticks; /* that it is stalled */
    uint64_t pulse;         /* given_pulse() */
    struct list stuck; /* struct router_wait, of clients that only it may have:
                          it has no room, or leaves */
    /* router_sessions.c */
    struct list sessions;   /* struct client, used last at the end */
    size_t sessions_bytes;  /* counted for them */
    uint32_t changes;       /* of sessions that came from it … */
    uint32_t confirmed;     /* … and of which it knows that they came */
    size_t confirmed_bytes; /* of those since */
    bool behind;       /* it had more than it may; router_drained() is due */
    bool crowded;      /* an event did not fit; router_drained() is due, too */
    uint64_t arrived;  /* what it was told last of events behind that */
    bool hangs;        /* the event with the next number, it said at last */
    uint32_t hanging;  /* as given_drop() wants it */
    bool windowed;     /* it begins only what is granted, given_grant() */
    uint32_t requests; /* that it was given */
    struct buf left;   /* a FRAME_LEFT's body; empty: it has not said */
};

/* An event that had begun and was not to be told of any more. */
struct router_frozen {
    uint32_t number; /* as in given_drop() */
    struct client_id client;
    uint8_t cmd;
};

struct router_event {
    const void *body; /* borrowed */
    size_t len;
    uint64_t arrived; /* turn_woken(); 0: nobody asked, or it is not known */
    uint8_t cmd;
    uint8_t type; /* one of FRAME_FLAG_TYPES, or 0 */
    bool again;   /* was given to a worker that did not begin it */
};

/* An event that waits for a worker. */
struct router_held {
    struct list node;
    struct router_event event;
    uint8_t body[];
};

/* What waits of a client, which is not read from meanwhile. */
struct router_wait {
    struct list node;      /* in router->waiting, or its worker's stuck */
    struct client *client; /* kept alive by client->wait */
    struct list again; /* struct router_held, oldest first: given before, … */
    struct list events;    /* … and those behind them */
    size_t bytes;          /* of both */
    struct list same_size; /* in router->sizes, or alone */
    struct list due;       /* while router_acknowledge() runs, else alone */
};

#define ROUTER_WAIT_SIZES 64
#define ROUTER_UNBOUND    UINT32_MAX /* the serial of no worker */

struct router {
    struct router_conf conf;
    struct router_worker **workers; /* owned, and what it points to; by slot */
    size_t nslots, nworkers;
    uint32_t last_serial;
    struct list leaving; /* workers of which nobody knows yet what they began */
    struct list waiting; /* struct router_wait, oldest first; … */
    struct list sizes[ROUTER_WAIT_SIZES]; /* … and by the power of two of what
                                             they hold */
    size_t nheld, held_bytes, npaused, nover;
    size_t unbegun_bytes; /* of what workers were given */
    struct router_counters counters;
    struct log_share pageless; /* lines about workers without a page */
    unsigned callbacks;        /* of scripts, when there were workers last */
    bool timed;        /* there was a worker that asks when events came */
    size_t last_asked; /* slot */
    bool orphans;      /* there may be clients whose worker is gone; … */
    size_t orphans_at; /* … and in a pass those below this are to be seen */
    unsigned orphans_wait; /* ticks; it may be there again by then */
    uint64_t random;
    struct buf scratch, ends; /* of router_close(); the first one of others */
};

/* router_held.c: keep a copy behind what waits of c; e->again: behind all of
 * those and in front of the others. */
void router_hold(
    struct router *r, struct client *c, const struct router_event *e);
/* router_held.c: what of c is to go first, or NULL; it has gone. */
struct router_held *router_first_held(const struct client *c);
void router_unhold(
    struct router *r, struct router_wait *wait, struct router_held *h);
/* router_held.c: every event in wait is through, or lost. */
void router_end_wait(struct router *r, struct router_wait *wait);
/* router_held.c: clients stuck behind a worker wait for any worker again: there
 * are others now, or this one leaves, or is settled. */
void router_unstick(struct router *r);
/* router_held.c: for len bytes more of c: above ROUTER_HELD_MAX those are
 * closed of which most waits. False: that is c itself. */
bool router_make_room(struct router *r, const struct client *c, size_t len);
/* router.c: the living worker that c is bound to, or NULL. */
struct router_worker *router_bound_worker(
    const struct router *r, const struct client *c);

/* router.c: the worker that can take an event of c with len bytes now, or NULL.
 */
struct router_worker *router_ready_worker(
    struct router *r, const struct client *c, size_t len);

/* router.c: c is bound to w from now on, for an event cmd, and w told of it
 * where it is to be. */
void router_bind_for(
    struct router *r, struct router_worker *w, struct client *c, uint8_t cmd);

/* router_orphans.c: a worker is gone; a second has passed. */
void router_note_orphans(struct router *r);
void router_tick_orphans(struct router *r);

/* router_orphans.c: is w told of clients that it gets from others? */
bool router_wants_bound(const struct router_worker *w);

/* router_orphans.c: w, to which c is bound, hears so, behind all that it was
 * given. */
void router_tell_bound(
    struct router *r, struct router_worker *w, struct client *c);

/* router_stalled.c: an event of that client has begun, and not all handlers of
 * w are through in the same breath; now they are. */
void router_note_runs(struct router_worker *w, uint32_t connection_id);
void router_note_idle(struct router_worker *w);

/* router_stalled.c: whether a handler of that client may be running in w;
 * whether c, which is bound to w, may have another worker. */
bool router_may_run(const struct router_worker *w, uint32_t connection_id);
bool router_may_leave(const struct router_worker *w, const struct client *c);

/* router_settle.c: revoke the page of w, which goes on, and hold what it has
 * not begun for others. How many. */
size_t router_take_back(
    struct router *r, struct router_worker *w, const struct roster *roster);

/* router_workers.c: a page of claims for w, which is told its name. NULL: w
 * takes none, or there is none. */
struct claims *router_offer_page(struct router *r, struct router_worker *w);

/* router_workers.c: w is gone, and nothing is to be known of it. */
void router_free_worker(struct router_worker *w);

/* router_share.c: w was given len bytes of c, or will not begin them any more;
 * c is read from while they are within its share. */
void router_share_take(struct router *r, const struct router_worker *w,
    struct client *c, size_t len);
void router_share_leave(struct router *r, const struct router_worker *w,
    struct client *c, size_t len);

/* router_share.c: whether w, with what it has and has not begun, may be given
 * another len bytes of c. */
bool router_share_fits(const struct router *r, struct router_worker *w,
    const struct client *c, size_t len);

/* router_share.c: do not read from c, since its worker has no room; or read
 * again, unless c is over its share. */
void router_stall(struct router *r, struct client *c);
void router_unstall(struct router *r, struct client *c);

/* router_share.c: c has left. */
void router_share_end(struct router *r, struct client *c);

/* router_choose.c: a worker with room for a client that is bound to none, or
 * NULL. */
struct router_worker *router_choose(struct router *r, const struct client *c);
struct router_worker *router_least_busy(const struct router *r);

/* router_choose.c: the only worker that router_choose() may choose for c, which
 * may have no room; NULL: any may be. */
struct router_worker *router_destined(
    const struct router *r, const struct client *c);

/* router_choose.c: whether w takes more events. Of a worker that acknowledges
 * only what it has not even read counts, wherever that lies: events that it has
 * read wait for handlers of the same clients and hold up nobody else. */
bool router_has_room(const struct router *r, const struct router_worker *w);

/* router_sessions.c: before w's first event: what it may do with sessions. */
void router_begin_sessions(const struct router *r, struct router_worker *w);

/* router_sessions.c: put c's session into an event for w, to which c is bound,
 * unless w has it. */
void router_put_session(struct router *r, struct router_worker *w,
    struct client *c, struct frame *f);

/* router_sessions.c: c is bound to w no longer, w to nobody. */
void router_forget_session(
    const struct router *r, struct router_worker *w, struct client *c);
void router_forget_sessions(struct router_worker *w);

/* router_books.c: before w's first event: which books there are, or that there
 * is one. */
void router_begin_books(const struct router *r, struct router_worker *w);

/* router_books.c: a worker with far_book tells that it has begun this one. */
void router_note_begun(
    const struct router *r, const uint8_t *packet, size_t len);

/* router_books.c: c is w's no longer, which lives. */
void router_tell_left(
    const struct router *r, struct router_worker *w, const struct client *c);

/* router_books.c: c is bound to w; an event of c is about to leave for w. */
void router_book_worker(const struct router *r, const struct router_worker *w,
    const struct client *c);
void router_put_place(const struct router *r, const struct router_worker *w,
    const struct client *c, struct frame *f);

/* router_choose.c: a hash that all gateways share. */
uint64_t router_hash(const void *data, size_t len);

#endif /* GW_GATEWAY_ROUTER_IMPL_H */
