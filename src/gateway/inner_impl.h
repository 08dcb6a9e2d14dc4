/* inner_impl.h - what the files behind the inner port share.
 *
 * inner.c: connections and what comes on them. introductions.c: who they are.
 * handled.c: which of their orders have been run. partings.c: workers that are
 * waited for, since only they know what they have begun.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_INNER_IMPL_H
#define GW_GATEWAY_INNER_IMPL_H

#include <uv.h>

#include "gateway/absent.h"
#include "gateway/inner.h"
#include "net/conn.h"
#include "net/listener.h"
#include "util/buf.h"
#include "util/list.h"
#include "util/log.h"
#include "wire/cmdjson.h"
#include "wire/receipt.h"

#define INNER_REFUSED_LOG 10000 /* ms; one line about refusals in it */

struct inner {
    struct inner_conf conf;
    struct listener *listener; /* owned */
    struct listener *local;    /* owned; NULL: none */
    uv_timer_t timer;
    uv_timer_t binds;  /* runs while clients are bound in batches */
    struct list links; /* struct link */
    size_t nlinks;
    struct list strangers; /* those of them, oldest first */
    size_t nstrangers;
    uint64_t refused;
    struct log_share refusals;
    struct log_share namesakes;
    struct list partings; /* struct parting: of workers that are waited for */
    struct buf answer;    /* of the command being run */
    uint64_t pinged;      /* ms, clock_now */
    bool ends;            /* all links end, and no worker is lost by that */
    struct absent absent;
};

struct link {
    struct list node;
    struct list stranger;         /* unlinked once it has said who it is */
    struct inner *in;             /* borrowed */
    struct conn *conn;            /* owned */
    struct router_worker *worker; /* owned by the router; NULL: no worker */
    /* Whose acknowledgements come here: owned by the router until this link
     * ends; NULL: nobody's. */
    struct router_worker *acking;
    unsigned alone; /* its worker's other link has ended: INNER_LAST_WORD */
    uint64_t since; /* ms, clock_now */
    bool is_told;   /* our limits, as a program */
    bool trusted;   /* the key was right, or there is none */
    bool aside;     /* of a worker of another kind: it gets no events */
    char *pair;     /* owned; what the other link of its worker says, too */
    struct receipt handled; /* commands that have been run on it … */
    uint32_t untold;        /* … and since its worker was told, … */
    bool receipts;          /* … if it wants to be */
    bool leaves; /* acking will say what it leaves; pair and process are here */
    /* Of a worker's link: */
    struct cmdjson_auth *waits; /* owned; its introduction, until the link with
                                   its commands is here; else NULL */
    uint64_t waits_since;       /* ms, clock_now */
    char *process;              /* owned; NULL: it did not say */
    unsigned handovers;    /* of its key, as far as they follow closely … */
    uint64_t handovers_at; /* … since then; ms, clock_now */
    bool kept;             /* its key goes to no other while it lives */
    uint64_t heard_bytes;  /* that had come when another wanted its key, … */
    uint64_t heard_at;     /* … and when that number was new; ms, clock_now */
};

uint64_t inner_now(const struct inner *in);

/* The link that brings w its events, or the one that brings what w says of
 * them; NULL when it has ended. */
struct link *inner_link_of(
    const struct inner *in, const struct router_worker *w, bool acking);

/* It has said who it is; or anything, where there is no key. */
void inner_know(struct link *l);

/* Forget it; its conn is closed by the caller or gone. certain: it brought all
 * that was sent. Of a worker that acknowledges the other link may bring more:
 * close that one too, unless it may still deliver acknowledgements. */
void inner_drop(struct link *l, bool certain);

/* Close it, counted, with a line in the log: why, and at which command. */
void inner_refuse(struct link *l, const char *why, uint8_t cmd);

/* WORKER_CONNECT or GATEWAY_CLIENT_CONNECT has come on l, which may be gone
 * after the call. */
void introductions_take(struct link *l, const struct frame *f);

/* Workers whose other link did not come in time join without. */
void introductions_expire(struct inner *in);

/* handled.c: the worker behind these links, which is about to get its first
 * event, wants to be told which orders were run; tell it what was
 * run on l; tell all that there is to tell. */
void handled_begin(struct link *commands, const struct link *events);
void handled_tell(struct link *l);
void handled_tell_all(struct inner *in);

/* partings.c: the worker behind these links, which is about to get its first
 * event, says what it leaves: ask it what it has left before. Settle what only
 * its predecessor, a process that is gone, could have told. */
void partings_join(struct link *commands, const struct link *events,
    const char *process, const char *key);

/* partings.c: l, whose worker acknowledges on it, is about to be freed: what is
 * to be known of both. NULL: nothing. When the worker has left the router it is
 * waited for, or settled. certain: as inner_drop() has it. */
struct parting *partings_take(struct link *l);
void partings_await(struct inner *in, struct parting *parting, bool certain);

/* partings.c: a FRAME_LEFT has come; a second has passed; all links end. */
void partings_hear(struct link *l, const struct frame *f);
void partings_tick(struct inner *in);
void partings_end(struct inner *in);

/* Nothing more comes from a worker that acknowledges and was removed. */
void inner_settle(struct inner *in, struct router_worker *w, bool certain);

/* What was said on l; it is about to be freed. */
void introductions_forget(struct link *l);

#endif /* GW_GATEWAY_INNER_IMPL_H */
