/* router.h - which worker gets a client's events, and what happens to them
 * while no worker can take them.
 *
 * A client is bound to one worker while that worker lives; its first event
 * chooses it. When no worker is there, or the link is over its high-water
 * mark, the client is no longer read from and its events wait here, in order;
 * they go out, and reading goes on, when a worker comes or the link drains. An
 * ON_CLOSE always waits; others are refused above ROUTER_HELD_MAX.
 *
 * With GATEWAY_ROUTER_HASH_UID a client is routed by its address until a uid
 * is bound and by the uid from the next event on: that may be another worker,
 * and then what the first one has not run yet is not waited for.
 *
 * What a worker that acknowledges was given and has not begun is kept. When the
 * worker is lost, its clients' later events wait until it is certain what it
 * began; then the rest goes to others, in front of them.
 *
 * With GATEWAY_ROUTER_FUNCTION the configuration chooses: once for each binding
 * of a client, among the workers that have room.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ROUTER_H
#define GW_GATEWAY_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/clients.h"
#include "gateway/gateway.h"
#include "net/conn.h"
#include "wire/frame.h"

#define ROUTER_WORKERS_MAX 4096               /* more are refused */
#define ROUTER_HELD_MAX    (64 * 1024 * 1024) /* bytes that wait, all clients */

struct router_conf {
    enum gateway_router mode;
    gateway_choose_cb choose; /* GATEWAY_ROUTER_FUNCTION */
    void *choose_arg;
    uint32_t local_ip; /* host order; of the heads of all events */
    uint16_t local_port;
    uint16_t gateway_port;
    size_t high_water; /* bytes that a worker was given and has not begun */
};

/* What a worker understands beyond GatewayWorker's protocol. */
struct router_features {
    bool close_info;  /* the body of ON_CLOSE */
    bool client_addr; /* FRAME_FLAG_IPV6 */
    bool handshake;   /* FRAME_HANDSHAKE */
    bool decides;     /* its script decides about handshakes */
    bool acks;        /* FRAME_ACK; ends with router_settle() */
};

struct router_counters {
    uint64_t events;  /* given to workers' links */
    uint64_t refused; /* over ROUTER_HELD_MAX; the client was closed */
    uint64_t lost;    /* still waiting when the router ended, or given to a
                         worker of which nobody knows what it began */
    uint64_t again;   /* given to another worker than the first */
    uint64_t cut_off; /* begun by a worker that died before it was through */
};

struct router;
struct router_worker; /* a worker's link */

struct router *router_new(const struct router_conf *conf);

/* Events still waiting are lost and counted in the log. Their clients, and
 * those paused, must live. */
void router_free(struct router *r);

/* A worker joined. key names it ("ip:name:index"); conn is borrowed. A worker
 * with the same key goes on as this one, with its clients: *replaced gets the
 * conn that it had, else NULL. NULL above ROUTER_WORKERS_MAX. */
struct router_worker *router_add_worker(struct router *r, struct conn *conn,
    const char *key, struct router_features features, struct conn **replaced);

/* NULL when no such worker is there. */
struct router_worker *router_find_worker(
    const struct router *r, const char *key);

/* Its link is lost. Its clients find another worker at their next event; or,
 * if it acknowledges, after router_settle(). */
void router_remove_worker(struct router *r, struct router_worker *w);

/* What w says of its events (wire/ack.h). 0, or -EPROTO: it lies. */
int router_acknowledge(
    struct router *r, struct router_worker *w, const void *body, size_t len);

/* A worker that acknowledges was removed, and nothing more comes from it.
 * certain: what it said was all. w is gone after the call. */
void router_settle(struct router *r, struct router_worker *w,
    const struct clients *clients, bool certain);

/* A link has room again: give it what waits, read from its clients again. */
void router_drained(struct router *r);

/* Give an event of c to its worker, or let it wait. 0, or -ENOBUFS: too much
 * waits already, the event is dropped and the client must be closed. */
int router_forward(struct router *r, struct client *c, uint8_t cmd,
    const void *body, size_t len);

/* The last event of c, which is still in the indexes. Never refused; nothing of
 * c is forwarded afterwards. */
void router_close(
    struct router *r, struct client *c, int code, const char *reason);

/* A uid was bound to c. */
void router_uid_bound(struct router *r, struct client *c);

/* True when so much waits that no new client should be taken. */
bool router_is_full(const struct router *r);

/* The script of w decides about handshakes, or does not any more. */
void router_set_decides(struct router_worker *w, bool decides);

/* Whether a worker must be asked before a websocket is let in: some worker's
 * script decides, or, while there is no worker, one did before. */
bool router_asks(struct router *r);

/* Its script decides about handshakes and its link has room: take turns. NULL
 * when there is none. Borrowed until the loop runs. */
struct router_worker *router_pick_decider(struct router *r);

/* Send f to w with the address of this gateway. */
void router_put(
    const struct router *r, struct router_worker *w, struct frame *f);

/* Whether it says what it begins: then router_settle() ends it. */
bool router_acknowledges(const struct router_worker *w);

/* Tells w from all others that this router has had. */
uint32_t router_serial(const struct router_worker *w);

/* PING to every worker. */
void router_ping_workers(struct router *r);

size_t router_worker_count(const struct router *r);
size_t router_paused_count(const struct router *r);
size_t router_held_count(const struct router *r);

/* Events that workers were given and have not begun, as far as they tell. */
size_t router_unbegun_count(const struct router *r);

/* Bytes in the workers' links that the kernel has not taken yet. */
size_t router_queued(const struct router *r);

const struct router_counters *router_counters(const struct router *r);

#endif /* GW_GATEWAY_ROUTER_H */
