/* port_conf.h - what a client port is told, and what it counts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_PORT_CONF_H
#define GW_CLIENTS_PORT_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/access.h"
#include "clients/apigate.h"
#include "clients/certificates.h"

struct client_protocol;

/* What happens when a client's queue is over its limit. */
enum port_overflow {
    PORT_OVERFLOW_CLOSE, /* close it, 1008 */
    PORT_OVERFLOW_DROP,  /* drop the message, as PHP does */
};

#define PORT_MESSAGE_MAX       (1024 * 1024)     /* bytes; more closes, 1009 */
#define PORT_QUEUE_MAX         (1024 * 1024)     /* bytes waiting per client */
#define PORT_QUEUE_TOTAL_MAX   ((size_t)1 << 30) /* bytes, per process */
#define PORT_UNFINISHED_MAX    ((size_t)1 << 29) /* bytes, per process */
#define PORT_MESSAGE_TIMEOUT   120.0       /* seconds from first byte to last */
#define PORT_HEAD_MAX          (32 * 1024) /* bytes; more is 431 */
#define PORT_HEADERS_MAX       128         /* lines; more is 431 */
#define PORT_HANDSHAKE_TIMEOUT 10.0        /* seconds */
#define PORT_BODY_MAX          (1024 * 1024) /* bytes; more is 413 */
#define PORT_BODY_TIMEOUT      30.0          /* seconds; more is 408 */
#define PORT_REQUEST_TIMEOUT   30.0          /* seconds; more is 504 */
#define PORT_KEEPALIVE_TIMEOUT 60.0          /* seconds between requests */
#define PORT_CACHE_CONTROL     "no-cache"    /* asks each time: 304 mostly */
#define PORT_MAX_CONNECTIONS   1000000       /* per gateway process */
#define PORT_MAX_PER_IP        100000        /* per gateway process */
#define PORT_ACCEPT_RATE       5000          /* the same, per second */

struct port_conf {
    const struct client_protocol *protocol;
    bool send_binary; /* websocket: PROTOCOL_AS_USUAL means binary frames */
    struct certificates_pem tls;
    struct apigate_conf api;   /* of a port with requests */
    struct access_conf access; /* the same */
    const char *www;   /* folder served on a websocket or http port, or NULL */
    const char *files; /* folder of those that scripts answer with, or NULL */
    const char *cache_control;          /* header of the files of www */
    const char *const *allowed_origins; /* NULL-terminated; NULL: any */
    /* Subprotocols, best first, NULL-terminated: the first that a client offers
     * is chosen. NULL: the client's own first. */
    const char *const *protocols;
    size_t head_max;    /* bytes of a request's head */
    size_t headers_max; /* lines in it */
    size_t message_max;
    double message_timeout;      /* seconds to finish one; 0: any */
    size_t unfinished_total_max; /* bytes of all begun; 0: any */
    size_t queue_max;
    size_t queue_total_max; /* of all clients; 0: any */
    enum port_overflow overflow;
    double handshake_timeout; /* seconds */
    /* Of requests that the owner answers; seconds: */
    size_t body_max;          /* bytes */
    double body_timeout;      /* from the head's end to the body's */
    double request_timeout;   /* for the owner */
    double keepalive_timeout; /* to the next request */
    size_t max_connections;
    size_t max_connections_per_ip;
    size_t max_accept_rate; /* per second; 0: any */
    /* Networks ("10.0.0.0/8", NULL-terminated, or NULL) of proxies whose word
     * about a client's address counts: X-Forwarded-For and X-Real-IP on a
     * websocket port, and the PROXY protocol's header. */
    const char *const *trusted_proxies;
    bool proxy_protocol; /* every connection begins with that header */
};

struct port_counters {
    uint64_t accepted; /* sockets taken from the listening socket */
    uint64_t refused;  /* over a limit, or no valid start */
    uint64_t messages_in, messages_out;
    uint64_t bytes_in, bytes_out;
    uint64_t overflow_closed;    /* clients closed for a full queue */
    uint64_t overflow_dropped;   /* messages dropped for a full queue */
    uint64_t repaired;           /* messages that were not UTF-8 */
    uint64_t unfinished_closed;  /* clients closed, unfinished_total_max */
    uint64_t messages_timed_out; /* clients closed, message_timeout */
    uint64_t requests;           /* given to the owner */
    uint64_t requests_refused;   /* answered with 503, nobody takes them */
    uint64_t requests_timed_out; /* answered with 504, request_timeout */
    uint64_t bodies_timed_out;   /* answered with 408, body_timeout */
    uint64_t access_lost;        /* lines that its access log did not take */
    uint64_t files_refused;      /* answered with 503, no descriptor left */
    uint64_t streams;            /* clients that had an event stream */
    uint64_t binary_refused;     /* binary messages meant for such a client */
    uint64_t api_calls;          /* of the push API, given to the owner */
    uint64_t api_wrong_keys;     /* answered with 401 … */
    uint64_t api_throttled;      /* … and with 429 */
    size_t unfinished;           /* bytes of memory for what is not whole now */
    size_t connections;          /* open now, HTTP requests included */
    size_t queued;               /* bytes of memory that wait for clients now */
};

#endif /* GW_CLIENTS_PORT_CONF_H */
