/* acks.h - who may begin an event, and what the gateway that gave it is told.
 *
 * Before the handler of an event begins acks_may_begin() is asked, or
 * acks_may_begin_queued(); behind it acks_ended() is told. An event belongs to
 * the link that brought it, which has a number; nothing is told of links that
 * have ended, nor of number 0, whose gateway does not want to know: their
 * events may begin.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_ACKS_H
#define GW_WORKER_ACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "net/conn.h"
#include "net/turn.h"
#include "proc/claims.h"
#include "util/buf.h"
#include "util/idmap.h"

/* What became of an event that was handed on. */
enum acks_event {
    ACKS_ENDED,  /* its handler is through */
    ACKS_RUNS,   /* … is not: acks_ended() follows */
    ACKS_QUEUED, /* acks_may_begin_queued() follows, then acks_ended(); or, if
                    it may not, nothing ever */
};

/* All links of a worker. Embedded in its owner. */
struct acks {
    struct turn *turn;     /* borrowed */
    struct turn_task task; /* runs at the end of a turn with something to tell,
                              before all commands leave */
    struct idmap links;    /* struct acks_link, borrowed; by number */
    uint32_t last_number;  /* of a link */
    struct buf scratch;    /* of one ACK */
    struct buf last_word;  /* a FRAME_HANGS without its number … */
    struct buf last_request; /* … and a FRAME_REQUEST_BEGUN, likewise */
};

/* What a gateway is told next. Embedded in its owner; all zeros is one that
 * does not want to know. */
struct acks_link {
    struct acks *all;      /* borrowed */
    struct conn *commands; /* borrowed; where it is told; NULL: it has ended */
    uint32_t number;       /* 0: nothing is told */
    struct claims *page;   /* owned; NULL: none, the gateway is told first */
    bool claimed;          /* the event taken last */
    int over; /* 0, or why the page lets nothing begin any more: another one is
                 to come (-ECANCELED), or the links are to be closed */
    uint32_t taken, ended;    /* events */
    uint32_t told;            /* events taken before that; a count for ever */
    struct buf waits, begins; /* as ack_put_number() writes them */
    struct buf requests;      /* numbers of those that began, likewise */
    uint32_t requests_begun;  /* on these links */
    bool windowed;            /* only what the gateway has let begins: … */
    uint32_t limit;           /* … events up to this one, by number, … */
    struct buf wants;    /* … and that waited of clients that are wanted */
    bool keeps;          /* acks_put_left() is wanted at the end: … */
    struct idmap queued; /* … the numbers of events that wait */
};

/* run: at the end of a turn, it calls acks_put_begun() and acks_put_ended(). */
void acks_open(
    struct acks *all, struct turn *turn, void (*run)(struct turn_task *task));
void acks_close(struct acks *all);

/* The gateway of l wants to be told, on its link with commands. */
void acks_begin(struct acks *all, struct acks_link *l, struct conn *commands);

/* Claim events of l from now on, before the first one: 0, or as
 * claims_open(). */
int acks_join(
    struct acks_link *l, const char *prefix, const void *name, size_t len);

/* The gateway of l lets events begin up to the one with this number, from the
 * first one on; and those that it grants. Then acks_want() is to be asked for
 * each that was queued before it begins. */
void acks_set_limit(struct acks_link *l, uint32_t limit);

/* Whether no event may be taken, until the limit is another one. */
static inline bool acks_is_full(const struct acks_link *l)
{
    return l->windowed && (int32_t)(l->limit - l->told - l->taken) <= 0;
}

/* The gateway has taken back what had not begun: go on with another page. What
 * there is to tell of the old one is told. 0, or as claims_open(). Nothing of
 * the old page may be queued any more. */
int acks_renew(
    struct acks_link *l, const char *prefix, const void *name, size_t len);

/* The link with commands has ended by itself; acks_end() follows. */
void acks_cut(struct acks_link *l);

/* The links are about to be closed: tell the rest. */
void acks_end(struct acks_link *l);

/* What is to be said of l once it has ended (wire/ack.h). To be asked before
 * acks_end(); from then on nothing of it begins. l->keeps is set since its
 * begin. */
void acks_put_left(
    const struct acks_link *l, const char *pair, struct buf *out);

/* Before an event of l is handed on … */
void acks_take(struct acks_link *l);
/* … and after. */
void acks_note(struct acks_link *l, enum acks_event became);

/* Whether the event that was just taken may begin. False: others have it, and
 * it became ACKS_QUEUED. */
bool acks_may_begin(struct acks *all, uint32_t link);

/* Whether an event that was queued may begin only when it is granted: then its
 * gateway is to be asked for that, of each client one at a time. */
bool acks_is_windowed(const struct acks *all, uint32_t link);
void acks_want(struct acks *all, uint32_t link, uint32_t connection_id);

/* Whether an event of that client that was queued may. number: acks_number()
 * when it was. */
bool acks_may_begin_queued(
    struct acks *all, uint32_t link, uint32_t number, uint32_t connection_id);
void acks_ended(struct acks *all, uint32_t link);

/* The number of the event that was taken last; 0: nobody is told about it. */
uint32_t acks_number(const struct acks *all, uint32_t link);

/* May this request begin, or be refused? Then the gateway is told before
 * anything else leaves. False: it has given it to another worker. To be asked
 * for each, in the order in which they came. */
bool acks_request_begins(struct acks_link *l, uint32_t number);

/* The event with that number (0: the one taken last) is running and will not
 * come to an end: whoever gave it shall not give it to another worker. For a
 * signal handler that ends the process. */
void acks_tell_hanging(const struct acks *all, uint32_t link, uint32_t number);
void acks_tell_hanging_request(const struct acks_link *l, uint32_t number);

/* Put what has begun in front of all commands, what has ended behind them. */
void acks_put_begun(struct acks_link *l);
void acks_put_ended(struct acks_link *l);

#endif /* GW_WORKER_ACKS_H */
