/* wsdial.h - opens websocket connections.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_WSDIAL_H
#define GW_UPSTREAM_WSDIAL_H

#include "net/turn.h"
#include "upstream/ws.h"

/* What 4.1.6 writes into fixed buffers must fit into them. */
#define WSDIAL_HOST_MAX      100  /* bytes of a name */
#define WSDIAL_PATH_MAX      2000 /* bytes with the query */
#define WSDIAL_PROTOCOLS_MAX 1000 /* bytes of all names, and the commas */
#define WSDIAL_HEADERS_MAX   8192 /* bytes of all lines */

struct wshub;

/* libwebsockets on that loop, for who will open many: it stays until
 * wsdial_let_go(), and not only as long as a connection needs it. NULL: it does
 * not start. */
struct wshub *wsdial_hold(uv_loop_t *loop);
void wsdial_let_go(struct wshub *hub);

/* Borrowed until wsdial_open() returns. All text has printable bytes only. */
struct wsdial_request {
    const char *host; /* a name or an address, without brackets */
    uint16_t port;
    bool tls;
    bool insecure;              /* any certificate will do */
    const char *path;           /* from the slash on, with the query */
    const char *protocols;      /* "a, b"; NULL: none */
    const char *const *headers; /* "Name: value" */
    size_t nheaders;
    const char *ca_file; /* NULL: the system's authorities */
    uint64_t connect_ms; /* for all until the connection is open */
    uint64_t ping_ms;    /* 0: none are sent */
    uint64_t idle_ms;    /* without a sign of life; 0: never too long */
    size_t message_max;  /* bytes; more is -EMSGSIZE and Close 1009 */
    size_t queue_max;    /* bytes to be sent; more is -ENOBUFS */
};

/* Begin to connect. 0, or -errno: -ENOBUFS, -ENOENT (ca_file cannot be read),
 * -ENOTSUP (libwebsockets does not start), -ENAMETOOLONG. turn is borrowed and
 * must live until ws_free(). */
int wsdial_open(struct ws **out, struct turn *turn,
    const struct wsdial_request *request, ws_change_cb on_change, void *arg);

#endif /* GW_UPSTREAM_WSDIAL_H */
