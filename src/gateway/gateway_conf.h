/* gateway_conf.h - what the configuration says of a gateway group, and the
 * limits that hold where it says nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_GATEWAY_CONF_H
#define GW_GATEWAY_GATEWAY_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/port_conf.h"
#include "discovery/discovery.h"

#define GATEWAY_PING_INTERVAL 25.0 /* seconds */
#define GATEWAY_IDLE_TIMEOUT  60.0 /* seconds without a byte: dead */
/* Bytes that a worker was given and has not begun. */
#define GATEWAY_WORKER_HIGH_WATER (10 * 1024 * 1024)
#define GATEWAY_SESSION_MAX       (1024 * 1024) /* bytes; more is refused */
#define GATEWAY_CLIENT_SHARE      (64 * 1024) /* bytes of one client in that */
/* Events that a worker of another machine may have begun and not told. */
#define GATEWAY_BEGIN_WINDOW     256
#define GATEWAY_BEGIN_WINDOW_MIN 8
#define GATEWAY_BEGIN_WINDOW_MAX 65536
/* Bytes of sessions that one worker keeps; the others travel with each event.
 */
#define GATEWAY_SESSION_CACHE (64 * 1024 * 1024)
#define GATEWAY_BOOK_SESSION  1024 /* bytes of a session in the book */
#define GATEWAY_NAME_MAX      255  /* bytes of a uid or group name */
#define GATEWAY_GROUPS_MAX    1024 /* groups of one client, by default */
#define GATEWAY_RESPONSE_MAX  (8 * 1024 * 1024) /* bytes of a body */

struct engine_conf;

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

/* The index in workers of the one that client is bound to; anything else
 * leaves it to GATEWAY_ROUTER_LEAST. Must not call the gateway. */
typedef int (*gateway_choose_cb)(const struct gateway_candidate *workers,
    size_t count, const struct gateway_newcomer *client, void *arg);

/* One gateway group of the configuration. Borrowed; outlives the gateways. */
struct gateway_conf {
    const char *name;
    struct port_conf clients;
    const char *lan_ip;  /* IPv4 announced to workers */
    uint32_t id_ip;      /* in client ids; 0: lan_ip, too */
    uint16_t start_port; /* inner port of index 0 */
    struct discovery_conf discovery;
    const struct engine_conf *engine; /* the cluster; NULL: there is none */
    const char *secret_key;           /* "" for none */
    const char *secret_key_also;      /* that others may have; NULL: none */
    const char *machine; /* as in worker_conf; NULL: no worker is beside it */
    const char *claims;  /* likewise; NULL: it makes no pages of claims */
    const char *book_folder; /* for the book of clients; NULL: none is kept */
    size_t book_session;     /* bytes of a session that is kept in it */
    const char *workers; /* the name of those that get its clients' events, what
                            stands between host and number in their keys; NULL:
                            any. All may send it commands */
    enum gateway_router router;
    gateway_choose_cb choose; /* with GATEWAY_ROUTER_FUNCTION, else NULL */
    void *choose_arg;
    size_t worker_high_water;
    size_t session_max;    /* bytes of a client's; 0: GATEWAY_SESSION_MAX */
    size_t client_share;   /* bytes of that for one client; 0:
                              GATEWAY_CLIENT_SHARE */
    unsigned begin_window; /* events; 0: GATEWAY_BEGIN_WINDOW */
    size_t session_cache;  /* bytes */
    size_t packet_max;     /* bytes, from and to workers; 0: FRAME_MAX_LEN */
    unsigned groups_max;   /* groups of one client; 0: GATEWAY_GROUPS_MAX */
    size_t response_max;   /* bytes of the body that onRequest returns; 0:
                              GATEWAY_RESPONSE_MAX */
    /* Heartbeat. ping_data NULL: websocket PING every ping_interval. Not NULL,
     * or ping_not_response_limit > 0: as GatewayWorker's pingData and
     * pingNotResponseLimit. Dead after idle_timeout without a byte; negative:
     * GATEWAY_IDLE_TIMEOUT where PINGs leave, elsewhere never. 0 switches
     * off. */
    double ping_interval;
    double idle_timeout;
    unsigned ping_not_response_limit;
    const char *ping_data;
    /* A message of exactly this text is the client's own heartbeat: the gateway
     * answers client_pong (NULL: nothing) and forwards nothing. NULL: none. */
    const char *client_ping;
    const char *client_pong;
    bool accept_before_ready; /* listen for clients before a worker is there */
};

#endif /* GW_GATEWAY_GATEWAY_CONF_H */
