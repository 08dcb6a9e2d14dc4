/* gateways.h - a worker's links to all gateways.
 *
 * Two TCP links per gateway: the event link (WORKER_CONNECT) only brings
 * events; commands and queries share the other one (GATEWAY_CLIENT_CONNECT), so
 * that a query never overtakes a command sent before it. Works the same with
 * GatewayWorker's gateways.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_GATEWAYS_H
#define GW_WORKER_GATEWAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/turn.h"
#include "wire/frame.h"
#include "worker/departures.h"
#include "worker/gateways_address.h"

struct gateways;

/* Send a command to the gateway at ip:port (f's local_ip and local_port are
 * filled in), which may be one of another cell. 0 taken; -ENOTCONN unknown or
 * not connected; -ENXIO no cell has it; -ENOBUFS its queue
 * is over the high-water mark; -ENOTSUP it does not take FRAME_FLAG_TYPES (then
 * nothing was taken). Counted. */
int gateways_send(
    struct gateways *g, uint32_t ip, uint16_t port, const struct frame *f);

/* Send it to every gateway, other cells' too. The number of our own that took
 * it; *missed (may be NULL) gets
 * the number of known gateways that did not. */
size_t gateways_send_all(
    struct gateways *g, const struct frame *f, size_t *missed);

/* The same, but of other cells' only those that have one of the names. */
size_t gateways_send_to_names(struct gateways *g, const struct frame *f,
    const struct departures_names *names, size_t *missed);

/* A login that leaves no other one. */
struct gateways_login {
    struct gateways_address at; /* the client's gateway, … */
    uint32_t connection;        /* … and its id there */
    const void *uid;            /* borrowed */
    size_t len;
    uint64_t time; /* nanoseconds since 1970 */
};

/* The client's gateway was sent the bind: once it has answered that the client
 * is there, tell the cell's other gateways (FRAME_ONLY). */
void gateways_log_in(struct gateways *g, const struct gateways_login *login);

/* Would the gateway do what the body of a join or bind demands? One of another
 * cell would. */
bool gateways_takes_demands(
    const struct gateways *g, struct gateways_address at);

/* Other cells: send a command to all their gateways, or to those that have one
 * of the names (NULL: all), but not to these. What is to be
 * known of them is that there is a cluster, and that it is away, so that what
 * is sent serves this cell only. */
void gateways_send_beyond(struct gateways *g, const struct frame *f,
    const struct departures_names *names, const struct gateways_address *but,
    size_t count);
bool gateways_has_beyond(const struct gateways *g);
bool gateways_are_alone(const struct gateways *g);

/* Tell the gateways now which events have begun. To be called before anything
 * leaves this process by another way than the end of the turn: should it die,
 * another worker would do the same once more. */
void gateways_acknowledge(struct gateways *g);

/* As above, and what this turn's handlers have sent so far leaves now, as far
 * as the sockets take it: the next one may not come back. */
void gateways_send_done(struct gateways *g);

/* The gateways connected at present, for loops over them. Borrowed, valid until
 * the loop runs. */
size_t gateways_list(
    const struct gateways *g, const struct gateways_address **out);

/* Bytes of a packet that may be sent, head and all. */
size_t gateways_packet_max(const struct gateways *g);

/* How many groups a client of that gateway may be in; 0: not known. */
unsigned gateways_groups_max(
    const struct gateways *g, struct gateways_address at);

/* A command for all goes to those: how many others there are, which miss it.
 * Counted. */
size_t gateways_miss(struct gateways *g);

/* The largest session that the gateway takes, bytes; 0: it has not said. */
size_t gateways_session_max(
    const struct gateways *g, uint32_t ip, uint16_t port);

/* The gateway's name in its configuration; NULL: it has not said (PHP's do
 * not). Borrowed until the loop runs. */
const char *gateways_name(const struct gateways *g, uint32_t ip, uint16_t port);

#endif /* GW_WORKER_GATEWAYS_H */
