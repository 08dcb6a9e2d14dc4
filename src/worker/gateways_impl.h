/* gateways_impl.h - what the worker's own files know of the gateway links.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_GATEWAYS_IMPL_H
#define GW_WORKER_GATEWAYS_IMPL_H

#include <uv.h>

#include "net/conn.h"
#include "net/dialer.h"
#include "proc/reglink.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/list.h"
#include "wire/client_id.h"
#include "worker/gateways.h"
#include "worker/idset.h"
#include "worker/losses.h"
#include "worker/worker.h"

#define GATEWAYS_PENDING_MAX                                                  \
    65536                           /* queries in flight to one gateway; more \
                                       fail with -ENOBUFS */
#define GATEWAYS_LOST_GRACE_MS 1500 /* a gateway may come back within it */
#define GATEWAYS_LOST_SLICE    1000 /* onClose events made up in one go */
#define GATEWAYS_PING_MS       25000
#define GATEWAYS_TICK_MS       1000 /* between looks at the clock, idle … */
#define GATEWAYS_TICK_BUSY_MS  50   /* … and while a deadline runs */
#define GATEWAYS_TICK_JOIN_MS  5 /* … and until events are asked for, … */
#define GATEWAYS_JOIN_MS       1000 /* … this long after the first address */

/* What became of an event that was handed on. */
enum gateways_event {
    GATEWAYS_ENDED,  /* its handler is through */
    GATEWAYS_RUNS,   /* … is not: gateways_ended() follows */
    GATEWAYS_QUEUED, /* gateways_begins() follows, then gateways_ended() */
};

struct gateways_ops {
    /* A frame of an event link; borrowed. link: to hand back. NULL: no event
     * links are made, the gateways see somebody who only sends commands. */
    enum gateways_event (*on_event)(
        const struct frame *f, uint32_t link, void *arg);
    /* The links to a gateway that wants ACKs ended. Queued events of it must
     * not begin any more: if it lives it gives them to others. Of each ON_CLOSE
     * among them tell gateways_keep_client(). */
    void (*on_link_lost)(struct gateways_address from, void *arg);
    /* A client of a gateway that is gone for good: no ON_CLOSE will come. */
    void (*on_client_lost)(const struct client_id *id, void *arg);
    /* Somebody wants to become a client of that gateway; f is borrowed. Ends
     * with gateways_decide(). */
    void (*on_handshake)(
        struct gateways_address from, const struct frame *f, void *arg);
};

/* What the gateway is told next about the events that it gave. */
struct acks {
    uint32_t taken, ended;    /* events */
    struct buf waits, begins; /* as ack_put_number() writes them */
};

/* One gateway: two links, dialed one after the other. */
struct peer {
    struct list node; /* in gateways->peers */
    struct gateways *g;
    struct gateways_address at;
    char name[ADDR_TEXT_SIZE];
    bool listed;                 /* a register has it */
    struct dialer *dialer;       /* owned; for the command link */
    struct dialer *event_dialer; /* owned; NULL without a command link */
    struct conn *commands;       /* NULL unless connected */
    struct conn *events;         /* NULL unless connected */
    uint64_t connected_at;       /* loop time, ms */
    uint64_t lost_at;            /* loop time, ms; 0: nothing was lost */
    bool loss_logged;
    bool gone_logged; /* since lost_at */
    bool address_logged;
    bool watches;  /* it wants to know whether our script decides */
    uint32_t link; /* number of its event link; 0: it wants no ACK */
    struct acks acks;
    struct list pending; /* struct pending: answers to come, in this order */
    size_t npending;
    struct idset clients;          /* that this worker has events of */
    struct gateways_query *census; /* owned; NULL for most: see take_census() */
    struct idset census_ids;
};

struct gateways {
    struct turn *turn;
    const struct worker_conf *conf;
    const struct gateways_ops *ops;
    void *arg;
    char *worker_key;        /* owned */
    struct reglink *reglink; /* owned; NULL before gateways_join() */
    struct list peers;
    struct turn_task ack; /* at the end of the turn, before all commands */
    struct buf scratch;   /* of acks.c */
    uint32_t last_link;
    size_t npeers;
    struct gateways_address *connected; /* owned */
    size_t nconnected;
    size_t nseen;        /* of them, at the last look */
    size_t nlogged;      /* … and as the log has it */
    struct list queries; /* not answered in full */
    uv_timer_t tick;
    uint64_t tick_due; /* loop time, ms */
    uint64_t pinged_at;
    uint64_t join_by; /* loop time, ms; 0: no gateway is known yet */
    bool joined;      /* events were asked for */
    bool held;        /* the event links are not read */
    bool decides;     /* the script has onHandshake */
    struct losses losses;
    bool lost_more; /* made-up events wait for the next tick */
    uint64_t sends;
    uint64_t sends_failed;
};

/* Nothing is dialed before gateways_join() or gateways_set_addresses(). */
struct gateways *gateways_new(struct turn *turn, const struct worker_conf *conf,
    unsigned index, const struct gateways_ops *ops, void *arg);

/* Ask the registers for gateways and connect to them. */
void gateways_join(struct gateways *g);

/* Has every register answered, and is every gateway connected that they named;
 * or has it failed at least once? */
bool gateways_are_settled(const struct gateways *g);

/* The gateways are these: "host:port" texts. */
void gateways_set_addresses(
    const char *const *addresses, size_t count, void *gateways);

/* Stop or go on reading events. */
void gateways_hold_events(struct gateways *g, bool hold);

/* The script that serves from now on decides about handshakes, or not. */
void gateways_set_decides(struct gateways *g, bool decides);

/* The answer to on_handshake(): status 0 lets the client in; reason may be "".
 * Lost when the gateway is. */
void gateways_decide(struct gateways *g, struct gateways_address to,
    uint32_t number, unsigned status, const char *reason);

/* Leave the system; commands already taken are sent. Asynchronous; no callback
 * runs any more, not even of queries. */
void gateways_close(struct gateways *g);

/* Look for p by address; NULL when unknown. */
struct peer *gateways_find(
    const struct gateways *g, uint32_t ip, uint16_t port);

/* This client of p ended without an ON_CLOSE: tell the script. */
void peer_lose_client(struct peer *p, uint32_t id);

/* Put f into p's command link, without a look at its queue. */
void peer_put(struct peer *p, const struct frame *f);

/* Look at the clock again after at most ms. */
void gateways_tick_within(struct gateways *g, uint64_t ms);

/* queries.c */
void queries_answer(struct peer *p, const uint8_t *packet, size_t len);
void queries_fail_all(struct peer *p, int err);
void queries_expire(struct gateways *g, uint64_t now);
void queries_free_all(struct gateways *g);

/* acks.c: tell the gateways which events begin, in case that this process dies:
 * at the end of each turn and before anything else leaves. An event belongs to
 * the link that brought it; nothing is told once that has ended, nor of 0. */
void acks_open(struct gateways *g);
void acks_close(struct gateways *g);
void acks_begin(struct peer *p); /* p wants to be told */
void acks_end(struct peer *p);   /* its links are about to be closed */
void acks_take(struct peer *p);  /* before an event of it is handed on … */
void acks_note(struct peer *p, enum gateways_event became); /* … and after */
void gateways_begins(
    struct gateways *g, const struct client_id *id, uint32_t link);
void gateways_ended(
    struct gateways *g, const struct client_id *id, uint32_t link);

/* This client of p ended, but nobody knows it: that is for p to tell. */
void gateways_keep_client(struct gateways *g, const struct client_id *id);

/* census.c: after a lost link is back: which clients are still there? */
void census_take(struct peer *p);
void census_drop(struct peer *p);

#endif /* GW_WORKER_GATEWAYS_IMPL_H */
