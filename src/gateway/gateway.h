/* gateway.h - the role that holds clients' sockets, sessions, uids and groups.
 *
 * Client events go to workers, commands come from workers and other programs,
 * over the inner port (docs/protocol.md, wire/frame.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_GATEWAY_H
#define GW_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "gateway/client_io.h"
#include "wire/client_id.h"

#define GATEWAY_PING_INTERVAL 25.0 /* seconds */
#define GATEWAY_IDLE_TIMEOUT  60.0 /* seconds without a byte: dead */
/* bytes queued per link */
#define GATEWAY_WORKER_HIGH_WATER (10 * 1024 * 1024)
#define GATEWAY_NAME_MAX          255  /* bytes of a uid or group name */
#define GATEWAY_GROUPS_MAX        1024 /* groups of one client */

enum gateway_router {
    GATEWAY_ROUTER_LEAST, /* the worker with the fewest clients */
    GATEWAY_ROUTER_RANDOM,
    GATEWAY_ROUTER_HASH_IP,
    GATEWAY_ROUTER_HASH_UID,
    GATEWAY_ROUTER_FUNCTION, /* gateway_conf.choose */
};

/* A worker with room, and a client that is to be bound to one; both borrowed
 * for the time of the call. */
struct gateway_candidate {
    const char *key; /* "ip:name:index", as GatewayWorker writes it */
    size_t clients;  /* bound to it here */
};
struct gateway_newcomer {
    const char *remote_addr;
    uint16_t remote_port, gateway_port;
    const char *uid; /* NULL: none, as when the client is new */
    size_t uid_len;  /* bytes */
};

/* The place in workers of the one that client is bound to; anything else
 * leaves it to GATEWAY_ROUTER_LEAST. Must not call the gateway. */
typedef int (*gateway_choose_cb)(const struct gateway_candidate *workers,
    size_t count, const struct gateway_newcomer *client, void *arg);

/* One gateway group of the configuration. Borrowed; outlives the gateways. */
struct gateway_conf {
    const char *name;
    struct client_io_conf clients;
    const char *lan_ip;                    /* IPv4 announced to workers */
    uint16_t start_port;                   /* inner port of index 0 */
    const char *const *register_addresses; /* NULL-terminated */
    const char *secret_key;                /* "" for none */
    enum gateway_router router;
    gateway_choose_cb choose; /* with GATEWAY_ROUTER_FUNCTION, else NULL */
    void *choose_arg;
    size_t worker_high_water;
    /* Heartbeat. ping_data NULL: websocket PING every ping_interval. Not NULL,
     * or ping_not_response_limit > 0: as GatewayWorker's pingData and
     * pingNotResponseLimit. Dead after idle_timeout without a byte; negative:
     * GATEWAY_IDLE_TIMEOUT where PINGs leave, elsewhere never. 0 switches
     * off. */
    double ping_interval;
    double idle_timeout;
    unsigned ping_not_response_limit;
    const char *ping_data;
    bool accept_before_ready; /* listen for clients before a worker is there */
};

/* One gateway process of a group. */
struct gateway_slot {
    unsigned index; /* 0 …; its inner port is start_port + index */
    int client_fd;  /* bound sockets, not listening; ownership passes */
    int inner_fd;
    int ids_fd; /* file that remembers connection ids over restarts, or -1;
                   ownership passes */
};

struct gateway_events { /* each may be NULL */
    /* Clients can connect now (the first worker is ready). */
    void (*on_ready)(void *arg);
    /* After gateway_stop(): every client is closed. */
    void (*on_stopped)(void *arg);
};

struct gateway_status {
    const char *name;
    unsigned index;
    size_t clients, workers, groups, uids;
    size_t registers_missing; /* not connected */
    size_t clients_paused;    /* not read because their worker is behind */
    struct client_io_counters io;
    uint64_t events_out;     /* events given to workers */
    size_t events_held;      /* events that wait for a worker */
    size_t events_unbegun;   /* of those given, not begun as far as is known */
    uint64_t events_again;   /* given to a second worker: the first was lost */
    uint64_t events_cut_off; /* begun by a worker that was lost meanwhile */
    uint64_t events_dropped; /* events that no worker got */
    uint64_t commands_in;    /* commands from workers and other programs */
    uint64_t dropped;        /* sends to clients that were gone, by command */
};

struct gateway;

/* 0, or -errno with a line in err; then the caller still has the slot's
 * descriptors. */
int gateway_new(struct gateway **out, uv_loop_t *loop,
    const struct gateway_conf *conf, const struct gateway_slot *slot,
    const struct gateway_events *events, void *arg, char err[256]);

/* Accept nobody any more, tell every client goodbye (Close 1001), wait for
 * their queues to drain at most drain_time seconds, then on_stopped(). */
void gateway_stop(struct gateway *g, double drain_time);

/* graceful stop: as above, but wait for the clients to leave by themselves. */
void gateway_stop_when_empty(struct gateway *g);

/* Serve a connected, non-blocking stream socket as if it had been accepted from
 * peer, for tests. Takes ownership of fd on success; -EAGAIN when clients
 * cannot connect (yet). */
int gateway_adopt(struct gateway *g, int fd, const union addr *peer);

/* Read certificates again. 0 or -errno with a line in err. */
int gateway_reload_tls(struct gateway *g, char err[256]);

/* As client_io_set_ticket_key(). */
void gateway_set_ticket_key(
    struct gateway *g, const uint8_t key[CLIENT_IO_TICKET_KEY_LEN]);

/* At once. Not inside a callback of g. Its handles close on later turns. */
void gateway_free(struct gateway *g);

void gateway_status(const struct gateway *g, struct gateway_status *out);

/* The ids of all clients, for gateway_client_row(). The caller frees *ids. */
size_t gateway_client_ids(const struct gateway *g, uint32_t **ids);

struct gateway_client_row {
    char client_id[CLIENT_ID_LEN + 1];
    char peer[ADDR_TEXT_SIZE];
    const char *uid; /* borrowed until the next turn; "" when unbound */
    size_t groups, queued;
    uint64_t bytes_in, bytes_out;
    double idle;      /* seconds since its last byte */
    double connected; /* seconds since it came */
};
/* What there is to tell of one; false: it has left. */
bool gateway_client_row(
    const struct gateway *g, uint32_t id, struct gateway_client_row *out);

#endif /* GW_GATEWAY_GATEWAY_H */
