/* inner.h - the inner port of a gateway: workers and other programs connect,
 * prove who they are, and send commands (docs/protocol.md).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_INNER_H
#define GW_GATEWAY_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/commands.h"
#include "gateway/router.h"
#include "net/turn.h"

#define INNER_LINKS_MAX 8192 /* connections; more are closed */
#define INNER_STRANGERS_MAX                                                  \
    256 /* connections that have not said who they are; the oldest is closed \
           for one more. Several turns of accepting, so that each is heard */
#define INNER_STRANGER_MAX (64 * 1024) /* bytes of a packet before the key */
#define INNER_AUTH_TIMEOUT 10.0        /* seconds to say who one is */
#define INNER_PING         25.0        /* seconds between PINGs to workers */
#define INNER_RECEIPT_ORDERS \
    256 /* commands of a worker at most until it is told that they were run */
#define INNER_PAIR_TIMEOUT                                                     \
    2.0 /* seconds that a worker's links may come apart; then it joins without \
           acknowledgements */
#define INNER_LAST_WORD                                                        \
    3 /* seconds, about, that a worker with a page of claims may keep one link \
         when the other one has ended; then others get its events */

#define INNER_PARTING                                                          \
    5 /* seconds, about, that a worker of another machine whose links are lost \
         is waited for, since it can tell what it has begun */

/* When two links want one key (see may_replace() in inner.c): */
#define INNER_HANDOVERS     3    /* times that it would change hands … */
#define INNER_HANDOVER_TIME 10.0 /* … in this time, seconds: it stays, */
#define INNER_SILENCE       30.0 /* until its link is silent so long, seconds */

/* Everything is borrowed. */
struct inner_conf {
    struct turn *turn;
    struct router *router;
    struct commands *commands;
    const char *name;            /* for the workers; NULL: it has none */
    const char *workers;         /* of that name get events; NULL: all do */
    const char *secret_key;      /* "" for none */
    const char *secret_key_also; /* that others may have; NULL: none */
    const char *machine;         /* what the workers started beside us say, too;
                                    NULL: there are none */
    uint32_t local_ip;           /* what peers behind local_fd are called by */
    size_t high_water;           /* bytes queued per link */
    size_t packet_max;           /* bytes; 0: FRAME_MAX_LEN */
    size_t session_max;          /* bytes, and … */
    unsigned groups_max;         /* … told to workers and programs */
    bool ping_workers;
    /* A worker joined. */
    void (*on_worker)(void *arg);
    /* It has answered, or is gone; its serial is router_serial(). */
    void (*on_decision)(const struct frame *f, uint32_t serial, void *arg);
    void (*on_worker_gone)(uint32_t serial, void *arg);
    /* It has answered a request; has begun some, whose numbers are the body; or
     * is gone, and nothing more comes: w is there until this returns. */
    void (*on_reply)(const struct frame *f, uint32_t serial, void *arg);
    void (*on_request_begun)(const struct frame *f, uint32_t serial, void *arg);
    void (*on_worker_settled)(const struct router_worker *w, void *arg);
    void *arg;
};

struct inner;

/* Listen on fd, and on local_fd, a unix socket for workers of this machine; 0:
 * there is none. Takes ownership of both on success. 0 or -errno; a
 * local_fd that cannot be used is a line in the log. */
int inner_open(
    struct inner **out, int fd, int local_fd, const struct inner_conf *conf);

/* Asynchronous. The links end at once, what is queued is lost; the workers
 * leave the router. */
void inner_close(struct inner *in);

/* As above, but what is queued is still sent (conn_close_flushed()). */
void inner_close_flushed(struct inner *in);

/* Connections refused, or closed for what they said or did not say. */
uint64_t inner_refused(const struct inner *in);

/* Each worker that is not as it should be, or not there any more. */
void inner_report(struct inner *in, reach_link_cb each, void *arg);

#endif /* GW_GATEWAY_INNER_H */
