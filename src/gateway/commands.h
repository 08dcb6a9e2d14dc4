/* commands.h - what workers and other programs can ask of a gateway.
 *
 * One table, one handler a command (docs/protocol.md). Source: GatewayWorker
 * src/Gateway.php, onWorkerMessage(). WORKER_CONNECT, GATEWAY_CLIENT_CONNECT
 * and PING are about the link itself and belong to inner.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_COMMANDS_H
#define GW_GATEWAY_COMMANDS_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/delivery.h"
#include "gateway/logins.h"
#include "gateway/picked.h"
#include "gateway/roster.h"
#include "gateway/router.h"
#include "util/buf.h"
#include "util/log.h"
#include "wire/demand.h"
#include "wire/frame.h"

/* Embedded in the gateway, which sets roster, router (both borrowed) and
 * delivery.port; the rest starts as zeros. */
struct commands {
    struct roster *roster;
    struct router *router;
    size_t packet_max; /* bytes of an answer; 0: FRAME_MAX_LEN */
    uint64_t run;      /* commands so far */
    uint64_t dropped;  /* messages for clients that were gone, and that nobody
                          may get; joins and the like of such clients */
    uint64_t refused;  /* commands not valid, answers too large */
    uint64_t groups_refused; /* joins over the groups of one client */
    uint64_t sessions_refused;
    struct delivery delivery;
    struct picked picked;       /* scratch of the handlers */
    struct router_worker *from; /* whose command it is; NULL: anybody's */
    struct logins logins;       /* of uids that only one may have */
    /* Other cells: NULL without. A join or bind with a demand was run (done) or
     * refused; and somebody was told of a login that is not the newest. */
    void (*on_demand)(const struct frame *f, const struct demand *demand,
        bool done, void *arg);
    void (*on_newer)(const void *uid, size_t len, uint64_t login, void *arg);
    void *arg; /* borrowed, handed to both */
    struct log_share faults, full;
};

void commands_fini(struct commands *cs);

/* Run one command. 1: answer holds a serialized value to reply with; 0: there
 * is no reply; -ENOSYS: no such command. What is wrong inside a command is
 * logged; a query is answered with an empty array then, so that replies stay
 * in step. */
int commands_run(
    struct commands *cs, const struct frame *f, struct buf *answer);

/* Close c, whom the operator wants gone, with this reason. */
void commands_expel(struct commands *cs, struct client *c, const char *reason);

#endif /* GW_GATEWAY_COMMANDS_H */
