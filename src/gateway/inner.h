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

#define INNER_LINKS_MAX    8192        /* connections; more are closed */
#define INNER_STRANGER_MAX (64 * 1024) /* bytes of a packet before the key */
#define INNER_AUTH_TIMEOUT 10.0        /* seconds until the key must be there */
#define INNER_PING         25.0        /* seconds between PINGs to workers */

/* Everything is borrowed. */
struct inner_conf {
    struct turn *turn;
    struct router *router;
    struct commands *commands;
    const char *secret_key; /* "" for none */
    size_t high_water;      /* bytes queued per link */
    bool ping_workers;
    /* A worker joined. */
    void (*on_worker)(void *arg);
    /* It has answered, or is gone; its serial is router_serial(). */
    void (*on_decision)(const struct frame *f, uint32_t serial, void *arg);
    void (*on_worker_gone)(uint32_t serial, void *arg);
    void *arg;
};

struct inner;

/* Listen on fd. Takes ownership of it on success. 0 or -errno. */
int inner_open(struct inner **out, int fd, const struct inner_conf *conf);

/* Asynchronous. The links end at once, what is queued is lost; the workers
 * leave the router. */
void inner_close(struct inner *in);

/* As above, but what is queued is still sent (conn_close_flushed()). */
void inner_close_flushed(struct inner *in);

#endif /* GW_GATEWAY_INNER_H */
