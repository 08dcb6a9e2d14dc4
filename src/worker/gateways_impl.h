/* gateways_impl.h - what the worker's own files know of the gateway links.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_GATEWAYS_IMPL_H
#define GW_WORKER_GATEWAYS_IMPL_H

#include <uv.h>

#include "discovery/discovery.h"
#include "net/conn.h"
#include "net/dialer.h"
#include "net/reach.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/idmap.h"
#include "util/list.h"
#include "util/secret.h"
#include "wire/client_id.h"
#include "worker/acks.h"
#include "worker/departures.h"
#include "worker/gateways.h"
#include "worker/losses.h"
#include "worker/queries.h"
#include "worker/receipts.h"
#include "worker/worker_conf.h"

/* Bytes; a longer answer to a request would keep commands behind it waiting. */
#define GATEWAYS_SHORT (16 * 1024)

#define GATEWAYS_LOST_GRACE_MS 1500 /* a gateway may come back within it, … */
#define GATEWAYS_LISTED_GRACE_MS                                           \
    60000 /* … and while a register's last list has it, within this: the \
             network was away, or the register does not know yet */
#define GATEWAYS_LOST_SLICE   1000 /* onClose events made up in one go */
#define GATEWAYS_CENSUS_SLICE 4096 /* clients in one question about them */
#define GATEWAYS_SETTLED_MS   5000 /* a link of this age was a good one */
#define GATEWAYS_CUTS_MAX     3 /* times that a gateway ends our event link, … */
#define GATEWAYS_CUT_WAIT_MS  30000 /* … before this pause */
#define GATEWAYS_PING_MS      25000
#define GATEWAYS_RETRY_MS     1000  /* longest wait between tries to connect */
#define GATEWAYS_RENEW_MS     10000 /* for another page, at most */
#define GATEWAYS_TICK_MS      1000  /* between looks at the clock, idle … */
#define GATEWAYS_TICK_BUSY_MS 50    /* … and while a deadline runs */
#define GATEWAYS_TICK_JOIN_MS 5    /* … and until events are asked for, … */
#define GATEWAYS_JOIN_MS      1000 /* … this long after the first address */

struct gateways_ops {
    /* A frame of an event link; borrowed. link: to hand back. NULL: no event
     * links are made, the gateways see somebody who only sends commands. */
    enum acks_event (*on_event)(
        const struct frame *f, uint32_t link, void *arg);
    /* The links to a gateway that wants ACKs ended. Queued events of it must
     * not begin any more: if it lives it gives them to others. Of each ON_CLOSE
     * among them tell gateways_keep_client(). */
    void (*on_link_lost)(struct gateways_address from, void *arg);
    /* The gateway has taken back what had not begun; its links live. Queued
     * events as above. */
    void (*on_revoked)(struct gateways_address from, void *arg);
    /* The first event of this client that waits may begin: acks_want(). */
    void (*on_granted)(const struct client_id *id, void *arg);
    /* A client whose gateway is gone, so that no ON_CLOSE will come; certain:
     * the gateway is there, and does not have it. */
    void (*on_client_lost)(const struct client_id *id, bool certain, void *arg);
    /* The session of this client that waiting events must see (with
     * FRAME_FLAG_SESSION), or the gateway counts on none being kept. */
    void (*on_session)(
        const struct client_id *id, const struct frame *f, void *arg);
    /* Somebody wants to become a client of that gateway; f is borrowed. Ends
     * with gateways_answer(). */
    void (*on_handshake)(
        struct gateways_address from, const struct frame *f, void *arg);
    /* Somebody asks that gateway for something; f is borrowed. Ends with
     * gateways_reply(). */
    void (*on_request)(
        struct gateways_address from, const struct frame *f, void *arg);
};

/* How the sessions of a gateway's clients are saved there. */
struct gateways_sessions {
    size_t max;       /* bytes of one; 0: whole, as GatewayWorker wants them */
    uint32_t changes; /* sent on the links that there are now … */
    uint32_t confirmed; /* … and that the gateway has said to have */
};

/* What gateways must know of a script. */
enum gateways_callback {
    GATEWAYS_DECIDES = 1, /* it has onHandshake, … */
    GATEWAYS_ANSWERS = 2, /* … onRequest, … */
    GATEWAYS_BINDS = 4,   /* … and onClientBound */
};

/* One gateway: two links, dialed one after the other. */
struct peer {
    struct list node;  /* in gateways->peers … */
    UT_hash_handle hh; /* … and by_address */
    uint64_t key;      /* its address in one word */
    struct gateways *g;
    struct gateways_address at;
    char name[ADDR_TEXT_SIZE];
    bool listed;                  /* a register has it */
    struct dialer *dialer;        /* owned; for the command link */
    struct dialer *event_dialer;  /* owned; NULL without a command link */
    struct conn *commands;        /* NULL unless connected */
    struct conn *events;          /* NULL unless connected */
    char pair[SECRET_TOKEN_SIZE]; /* both say it: they belong together */
    uint64_t connected_at;        /* loop time, ms */
    uint64_t lost_at;             /* loop time, ms; 0: nothing was lost */
    uint64_t away_since;          /* loop time, ms; while not connected */
    unsigned cuts;                /* see cuts_note() */
    uint64_t events_after; /* loop time, ms; 0, or when the next event link
                            * may be dialed */
    bool held;             /* its event link is not read */
    bool loss_logged;
    bool gone_logged; /* since lost_at */
    bool address_logged;
    char *listener;      /* owned; what it says that it is called, or NULL */
    unsigned groups_max; /* of one client there; 0: it does not say */
    size_t session_max;  /* bytes, likewise */
    bool greets;         /* allowed_hear() has what comes */
    unsigned watches;    /* of enum gateways_callback, that it asked about */
    bool types;          /* it takes FRAME_FLAG_TYPES … */
    bool labels;         /* … and FRAME_FLAG_LABEL */
    bool demands;        /* … and what demand.h tells of */
    bool has_spoken;     /* its first event is here: what it takes is known */
    uint64_t arrived;    /* when its next events came to it; 0: not known */
    bool keeps_book;     /* so no onClose is made up for its clients … */
    bool marks_failed;   /* … but its books cannot be opened here */
    struct marks *marks; /* owned; NULL: it has told of none */
    uint64_t keeper; /* where its book is, if that cannot be asked; 0: nowhere,
                        as far as is known … */
    bool is_kept;    /* … which it has said on these links */
    struct idmap gone;      /* clients of another boot of its machine */
    struct idmap rebinding; /* clients of links before these, as long as p has
                               not told of all that this worker has */
    struct receipts receipts;
    struct acks_link acks; /* of its links */
    bool revoked;          /* nothing begins until there is another page */
    uint64_t revoked_at;   /* loop time, ms */
    bool wants_left;       /* it asks what was left of links that end … */
    struct list remains;   /* … which is here, of lost ones: remains.c */
    size_t nremains;
    struct gateways_sessions sessions;
    struct queries_link answers; /* to come */
    struct idmap clients;        /* that this worker has events of */
    struct query *census;        /* owned; NULL for most: see census.c */
    struct idmap census_ids;     /* that it is about, … */
    struct idmap census_left;    /* … and those to be asked for later */
};

struct gateways {
    struct turn *turn;
    const struct worker_conf *conf;
    const struct gateways_ops *ops;
    void *arg;
    char *worker_key;                /* owned */
    char process[SECRET_TOKEN_SIZE]; /* tells us from others of our name */
    struct discovery *discovery;     /* owned; NULL before gateways_join() */
    struct departures *departures;   /* owned; to other cells, NULL: none */
    const struct engine_tidings *tidings; /* borrowed; NULL: none are wanted */
    void *tidings_arg;                    /* borrowed */
    struct list peers;
    struct peer *by_address; /* the same, by key */
    struct acks acks;
    uint64_t arrived; /* ns, of uv_hrtime(): when the event that on_event() gets
                         came to its gateway; 0: not known */
    size_t npeers;
    struct gateways_address *connected; /* owned */
    size_t nconnected;
    size_t nseen;           /* of them, at the last look */
    size_t nlogged;         /* … and as the log has it */
    struct queries queries; /* not answered in full */
    struct list logins;     /* whose gateway has not answered */
    uv_timer_t tick;
    uint64_t tick_due;           /* loop time, ms */
    uint64_t pinged_at, beat_at; /* loop time, ms */
    uint64_t join_by;            /* loop time, ms; 0: no gateway is known yet */
    bool joined;                 /* events were asked for */
    bool stopped;                /* the event links are not read any more */
    unsigned callbacks;    /* of enum gateways_callback, that the script has */
    struct list uncounted; /* receipts.h: commands that gateways count */
    struct losses losses;
    struct keepers_begun *begun; /* owned; NULL: nothing; see keepers.c */
    bool lost_more;              /* made-up events wait for the next tick */
    uint64_t sends;
    uint64_t sends_failed;
    uint64_t sends_lost;
};

/* NULL: no such gateway. Borrowed. */
struct gateways_sessions *gateways_sessions(
    const struct gateways *g, uint32_t ip, uint16_t port);

/* What there is to tell of them. */
struct gateways_counts {
    size_t connected, known, silent, registers_missing;
    uint64_t sends, sends_failed, sends_lost;
    struct engine_counts engine;
};

struct gateways_counts gateways_counts(const struct gateways *g);

/* Whom to tell which events have begun and ended. Borrowed. */
struct acks *gateways_acks(struct gateways *g);

/* When the event that on_event() has came to its gateway, in ns of uv_hrtime();
 * 0: not known. */
uint64_t gateways_arrival(const struct gateways *g);

/* Nothing is dialed before gateways_join() or gateways_set_addresses(). */
struct gateways *gateways_new(struct turn *turn, const struct worker_conf *conf,
    unsigned index, const struct gateways_ops *ops, void *arg);

/* Ask the registers for gateways and connect to them. */
void gateways_join(struct gateways *g);

/* Has every register answered, and is every gateway connected that they named;
 * or has it failed at least once? */
bool gateways_are_settled(const struct gateways *g);

/* They are settled, without a single gateway: dial those of the registers' last
 * list. False: there are none, or they have been dialed. */
bool gateways_take_kept(struct gateways *g);

/* The gateways are these: "host:port" texts. */
void gateways_set_addresses(
    const char *const *addresses, size_t count, void *gateways);

/* Stop or go on reading events of one of them; of all, for good. */
void gateways_hold_events(
    struct gateways *g, struct gateways_address from, bool hold);
void gateways_stop_events(struct gateways *g);

/* watches.c: the script that serves from now on has these callbacks. */
void gateways_set_callbacks(struct gateways *g, unsigned callbacks);

/* watches.c: p asks, by f, whether it has one of them. */
void watches_take(struct peer *p, const struct frame *f);

/* The answer to on_handshake(), cmd being the frame's, its bytes; with
 * FRAME_FLAG_STRING a status, a space and a reason, else of wire/answer.h. Lost
 * when the gateway is. */
void gateways_answer(struct gateways *g, uint8_t cmd,
    struct gateways_address to, uint32_t number, uint8_t flag,
    const struct buf *answer);

/* The answer to on_request(). behind: the gateway takes a short one behind the
 * commands of this turn, so that one write brings all. Lost when the gateway
 * is. */
void gateways_reply(struct gateways *g, struct gateways_address to,
    uint32_t number, bool behind, const struct buf *answer);

/* Leave the system; commands already taken are sent. Asynchronous; no callback
 * runs any more, not even of queries. */
void gateways_close(struct gateways *g);

/* Look for p by address; NULL when unknown. */
struct peer *gateways_find(
    const struct gateways *g, uint32_t ip, uint16_t port);

/* sends.c: p can be found, or not any more. */
void peer_file(struct peer *p);
void peer_unfile(struct peer *p);

/* One of p's links is gone, or shall be: close both and dial again. p may be
 * freed. */
void peer_lose_links(struct peer *p, int err);

/* sends.c: the end of a turn in which there is something to tell gateways. */
void gateways_tell(struct turn_task *task);

/* This client of p ended without an ON_CLOSE: tell the script. */
void peer_lose_client(struct peer *p, uint32_t id, bool certain);

/* Tell it of some of them, the set gets fewer; the rest is due at the next
 * tick. */
void peer_lose_some(struct peer *p, struct idmap *ids);

/* Put f into p's command link, without a look at its queue. */
void peer_put(struct peer *p, const struct frame *f);

/* offers.c: the first frame on p's link c, cmd. */
void offers_put(struct peer *p, struct conn *c, uint8_t cmd);

/* Look at the clock again after at most ms. */
void gateways_tick_within(struct gateways *g, uint64_t ms);

/* allowed.c: what p allows, on its event link; or for a program, which begins
 * with a greeting, in front of the answer to that. */
void allowed_take(struct peer *p, const uint8_t *body, size_t len);
void allowed_greet(struct peer *p);
void allowed_hear(struct peer *p, const uint8_t *packet, size_t len);

/* As acks_request_begins(). */
bool gateways_request_begins(
    struct gateways *g, struct gateways_address from, uint32_t number);

/* The same of one that is running and will not come to an end. For a signal
 * handler that ends the process. */
void gateways_tell_hanging_request(
    const struct gateways *g, struct gateways_address from, uint32_t number);

/* peer.c: what hears the two links of a gateway. */
extern const struct conn_ops peer_command_ops, peer_event_ops;

/* marks.c: may that event of a client, which that link has brought, begin? Its
 * book says so, if there is one; to be asked once, right before it does. */
bool gateways_may_begin(
    struct gateways *g, const struct frame *f, uint32_t link);

/* marks.c: may p keep a book that this worker asks? Take one that it names; p's
 * links end, and it goes without, when that cannot be opened, or is not there
 * when an event needs it (marks_check(), below 0). Forget all. */
bool marks_may_be_asked(const struct peer *p);
void marks_take(struct peer *p, const struct frame *f);
int marks_check(struct peer *p, const struct frame *f);
void marks_drop(struct peer *p);

/* remains.c: p's links are about to end: keep what is to be said of them, and
 * say it where that is still possible; p asks for it on its next links; p is
 * about to be freed. */
void remains_end_acks(struct peer *p);
void remains_take(struct peer *p, const struct frame *f);
void remains_drop(struct peer *p);

/* The client of f, an ON_CLOSE that did not begin: its gateway gives it again.
 */
void gateways_keep_client(struct gateways *g, const struct frame *f);

/* keepers.c: p says where its book is, or whom this worker has no longer. */
void keepers_take(struct peer *p, const struct frame *f);

/* keepers.c: this worker does not have that client any more; p's links are
 * gone. */
void keepers_forget(struct peer *p, uint32_t id);
void keepers_lose_links(struct peer *p);

/* keepers.c: p has introduced itself; has it still a book? */
void keepers_settle(struct peer *p);

/* keepers.c: may f, which says where its client is in a book that cannot be
 * asked, begin? To be asked once, right before it does. */
bool keepers_may_begin(struct gateways *g, const struct frame *f);

/* keepers.c: p, which keeps a book, is away since lost_at. */
void keepers_check_lost(struct peer *p, uint64_t now);
void keepers_drop(struct peer *p);
void keepers_close(struct gateways *g);

/* beats.c: what is due about once a second. */
void beats_tick(struct gateways *g, uint64_t now);

/* beats.c: p has taken back what had not begun here; its FRAME_CLAIMS, with
 * which this worker goes on. */
void peer_revoke(struct peer *p);
void peer_renew(struct peer *p, const struct frame *f);

/* beats.c: how many gateways are connected and silent; each that is silent, or
 * away. */
size_t gateways_silent(const struct gateways *g);
void gateways_report(const struct gateways *g, reach_link_cb each, void *arg);

/* cuts.c: the event link of p has ended with err; whether there is a pause
 * before the next one (events_after). */
void cuts_note(struct peer *p, int err);

/* census.c: after a lost link is back: which clients are still there? */
void census_take(struct peer *p);
void census_drop(struct peer *p);

/* gateways_logins.c: no answers come any more. */
void gateways_free_logins(struct gateways *g);

#endif /* GW_WORKER_GATEWAYS_IMPL_H */
