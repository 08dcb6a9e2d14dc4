/* client_io.h - the clients' sockets: websocket, text, frame, tcp, each with or
 * without TLS, and the static files of a websocket port.
 *
 * One struct client_io per client port of a gateway. The sockets, requests and
 * frames are read here; OpenSSL does TLS, and libwebsockets answers requests
 * for files (client_files.c).
 *
 * A websocket connection becomes a client when its upgrade request has passed
 * the guard, just before the 101; a plain HTTP request never does. The other
 * protocols' connections are clients from their accept (TLS: from the end of
 * the TLS handshake) on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_CLIENT_IO_H
#define GW_GATEWAY_CLIENT_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/turn.h"
#include "util/blob.h"
#include "wire/httphead.h"

enum client_io_protocol {
    CLIENT_IO_WEBSOCKET,
    CLIENT_IO_TEXT,  /* lines */
    CLIENT_IO_FRAME, /* 4-byte length prefix */
    CLIENT_IO_TCP,   /* whatever arrives is a message */
};

/* What happens when a client's queue is over its limit. */
enum client_io_overflow {
    CLIENT_IO_OVERFLOW_CLOSE, /* close it, 1008 */
    CLIENT_IO_OVERFLOW_DROP,  /* drop the message, as PHP does */
};

#define CLIENT_IO_MESSAGE_MAX       (1024 * 1024) /* bytes; more closes, 1009 */
#define CLIENT_IO_QUEUE_MAX         (1024 * 1024) /* bytes waiting per client */
#define CLIENT_IO_QUEUE_TOTAL_MAX   ((size_t)1 << 30) /* bytes, per process */
#define CLIENT_IO_HANDSHAKE_TIMEOUT 10.0              /* seconds */
#define CLIENT_IO_MAX_CONNECTIONS   1000000           /* per gateway process */
#define CLIENT_IO_MAX_PER_IP        100000            /* per gateway process */
#define CLIENT_IO_ACCEPT_RATE       5000              /* the same, per second */

struct client_io_conf {
    enum client_io_protocol protocol;
    bool send_binary;     /* websocket: messages go out as binary frames */
    const char *tls_cert; /* PEM file; NULL: no TLS */
    const char *tls_key;  /* PEM file */
    const char *www;      /* folder served on a websocket port, or NULL */
    const char *const *allowed_origins; /* NULL-terminated; NULL: any */
    size_t message_max;
    size_t queue_max;
    size_t queue_total_max; /* of all clients; 0: any */
    enum client_io_overflow overflow;
    double handshake_timeout; /* seconds */
    size_t max_connections;
    size_t max_connections_per_ip;
    size_t max_accept_rate; /* per second; 0: any */
    /* Networks ("10.0.0.0/8", NULL-terminated, or NULL) of proxies whose word
     * about a client's address counts: X-Forwarded-For and X-Real-IP on a
     * websocket port, and the PROXY protocol's header. */
    const char *const *trusted_proxies;
    bool proxy_protocol; /* every connection begins with that header */
};

struct client_io;
struct client_conn; /* one client's socket */

/* The upgrade request of a websocket client; borrowed during the callback. */
struct client_io_request {
    const char *uri;   /* path and query as sent: "/chat?room=1" */
    const char *path;  /* "/chat" */
    const char *query; /* "room=1", "" when there is none */
    const struct httphead_field *headers; /* in order of arrival */
    size_t nheaders;
};

/* No callback runs inside a call of client_io_* on the same client, but
 * on_close() may run inside client_io_free(). */
struct client_io_ops {
    /* A new client. request is NULL unless the protocol is websocket. Returns
     * the owner's own pointer for it, or NULL to refuse (closed, no further
     * callback). */
    void *(*on_open)(struct client_conn *c, const union addr *peer,
        const struct client_io_request *request, void *arg);
    /* Whether upgrade requests are shown to the owner before anything is
     * answered; asked for each new connection. The three may be NULL. */
    bool (*asks)(void *arg);
    /* A websocket asks to be let in; client_answer() must follow, not inside
     * the call. peer is who stands behind trusted proxies. Returns the owner's
     * own pointer for it, or NULL: refused with 503. */
    void *(*on_ask)(struct client_conn *c, const union addr *peer,
        const struct client_io_request *request, void *arg);
    /* It has left or waited too long (handshake_timeout, 503): client_answer()
     * must not be called any more. */
    void (*on_ask_end)(void *ask, void *arg);
    /* One whole message; bytes borrowed. */
    void (*on_message)(
        void *client, const void *data, size_t len, bool binary, void *arg);
    /* A sign of life: bytes, a pong. For heartbeats; cheap. */
    void (*on_activity)(void *client, void *arg);
    /* It is gone, whoever closed it; exactly once per accepted on_open. code is
     * the websocket close code (1006 without one), reason a short static or
     * borrowed text: "client", "overflow", "too big", "kicked", … c must not
     * be used any more. */
    void (*on_close)(void *client, int code, const char *reason, void *arg);
};

struct client_io_counters {
    uint64_t accepted; /* sockets taken from the listening socket */
    uint64_t refused;  /* over a limit, or no valid start */
    uint64_t messages_in, messages_out;
    uint64_t bytes_in, bytes_out;
    uint64_t overflow_closed;  /* clients closed for a full queue */
    uint64_t overflow_dropped; /* messages dropped for a full queue */
    size_t connections;        /* open now, HTTP requests included */
    size_t queued;             /* bytes of memory that wait for clients now */
};

/* Prepare to serve; the listening socket fd is bound, not listening; ownership
 * passes on success. conf and what it points to must outlive it. 0, or -errno
 * with a line in err that names the file or setting at fault. With TLS the
 * process must ignore SIGPIPE. */
int client_io_new(struct client_io **out, struct turn *turn, int fd,
    const struct client_io_conf *conf, const struct client_io_ops *ops,
    void *arg, char err[256]);

/* Begin to accept. */
int client_io_listen(struct client_io *io);

/* No new connections from now on: they are refused, although the master holds
 * the socket, too. */
void client_io_stop_listening(struct client_io *io);

/* Serve a connected, non-blocking stream socket as if it had been accepted from
 * peer. Takes ownership of fd. */
void client_io_adopt(struct client_io *io, int fd, const union addr *peer);

/* Read the certificate and key again for new connections. 0 or -errno, then
 * the old ones stay. */
int client_io_reload_tls(struct client_io *io, char err[256]);

/* What TLS session tickets are sealed with, from now on and over reloads. The
 * same in several processes: a client may come back to any of them without a
 * whole handshake. */
#define CLIENT_IO_TICKET_KEY_LEN 80
void client_io_set_ticket_key(
    struct client_io *io, const uint8_t key[CLIENT_IO_TICKET_KEY_LEN]);

/* Close everything. Clients still there get on_close() inside the call. Its
 * loop handles close on the following turns. */
void client_io_free(struct client_io *io);

const struct client_io_counters *client_io_counters(const struct client_io *io);

/* Put a message in the form this protocol has on the wire, for many
 * client_send_blob() calls. raw: as it is. The caller drops its reference,
 * before it frees io. */
struct blob *client_io_frame(
    struct client_io *io, const void *data, size_t len, bool raw);

/* The owner's answer to on_ask(): status 0 lets it in, on_open() follows on a
 * later turn unless the request is not valid; otherwise it is refused with that
 * status (400 to 599) and the reason, a line of text, or NULL. */
void client_answer(struct client_conn *c, unsigned status, const char *reason);

/* Queue a message; it leaves at the end of this turn, or as soon as the socket
 * takes it; before the end of a handshake it waits for that. 0, or -ENOBUFS
 * when the queue is full (the client is then being closed, or the message was
 * dropped, as conf says; counted), or -ENOTCONN when it is closing. */
int client_send(struct client_conn *c, const void *data, size_t len, bool raw);
int client_send_blob(struct client_conn *c, struct blob *framed);

/* A websocket PING; nothing on the other protocols, or while the last one has
 * not left. */
void client_ping(struct client_conn *c);

/* Close after what is queued has been sent (at most 5 s): websocket with a
 * Close frame of this code and reason. on_close() follows on a later turn, with
 * code and reason. Further messages from it are not delivered. */
void client_close(struct client_conn *c, int code, const char *reason);

/* Close at once; what is queued is lost. on_close() follows on a later turn. */
void client_destroy(struct client_conn *c, const char *reason);

/* Stop and go on reading from it (TCP back-pressure). */
void client_pause(struct client_conn *c);
void client_resume(struct client_conn *c);

/* Bytes queued and not yet taken by the kernel; bytes so far. */
size_t client_queued(const struct client_conn *c);
uint64_t client_bytes_in(const struct client_conn *c);
uint64_t client_bytes_out(const struct client_conn *c);

#endif /* GW_GATEWAY_CLIENT_IO_H */
