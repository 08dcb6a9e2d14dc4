/* client_shared.h - what the connections of a port have in common.
 *
 * It belongs to the port (port.c), which sets it up and ends it; what is below
 * the port knows its port by this struct only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_CLIENT_SHARED_H
#define GW_CLIENTS_CLIENT_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "clients/forwarded.h"
#include "clients/limits.h"
#include "clients/port_conf.h"
#include "clients/queue.h"
#include "net/turn.h"
#include "util/list.h"
#include "util/log.h"

struct access;
struct apigate;
struct client_conn_ops;
struct client_stage;

#define CLIENT_SHARED_PARTS 64 /* powers of two of a size_t */

struct client_shared {
    const struct port_conf *conf;      /* borrowed */
    const struct client_conn_ops *ops; /* borrowed */
    void *arg;                         /* borrowed, handed to ops */
    struct turn *turn;                 /* borrowed */
    uv_loop_t *loop;                   /* borrowed */
    const struct client_stage *stage;  /* that a connection begins in */
    struct list conns;                 /* all */
    /* Those that must get out of a state in time, the next one first. */
    struct list opening, receiving, closing, lingering;
    struct list bodies, calling, idle;      /* of requests, and between them */
    struct list streaming;                  /* event streams: to a comment */
    struct list parts[CLIENT_SHARED_PARTS]; /* unfinished, by size */
    struct queue_pool pool;
    struct forwarded_trust trust;
    struct limits limits;
    struct port_counters counters;
    size_t held; /* bytes of requests that no worker has begun, in unfinished */
    size_t most_taken;    /* bytes unfinished and queued, since the last trim */
    uv_timer_t sweep;     /* ends what is over its time … */
    uv_timer_cb on_sweep; /* … by this */
    int fd_max;           /* descriptors from here on are refused */
    size_t files_open;    /* descriptors of files that are being sent */
    char *www;            /* owned; resolved folder, or NULL */
    char *files;          /* the same, of those that scripts name */
    struct apigate *api;  /* owned; NULL: there is no push API */
    struct access *access; /* owned; NULL: there is no access log */
    struct log_share refusals, repairs, given_up, no_file, no_fd, handshakes;
    unsigned handshakes_left_out; /* refused ones, since the last line */
};

/* End what is over its time, again and again from now on. */
void client_shared_start_sweep(struct client_shared *shared);

#endif /* GW_CLIENTS_CLIENT_SHARED_H */
