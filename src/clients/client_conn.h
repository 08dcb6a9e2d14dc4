/* client_conn.h - one connection of an end user, as its owner sees it.
 *
 * What the owner hears of it, and what it may do with it, whatever the
 * protocol. A client that its owner knows and the connection that it has are
 * two things: nothing here outlives the socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_CLIENT_CONN_H
#define GW_CLIENTS_CLIENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/protocol.h"
#include "net/addr.h"
#include "util/blob.h"
#include "wire/httpcall.h"
#include "wire/httphead.h"

struct answer;
struct client_conn; /* one client's socket */

/* The upgrade request of a websocket client; borrowed during the callback. */
struct client_conn_request {
    const char *uri;   /* path and query as sent: "/chat?room=1" */
    const char *path;  /* "/chat" */
    const char *query; /* "room=1", "" when there is none */
    const struct httphead_field *headers; /* in order of arrival */
    size_t nheaders;
    /* The subprotocol that was chosen, of conf's or by the owner; else NULL. */
    const char *subprotocol;
    /* In on_open(): what on_ask() returned; NULL: it was not asked. */
    void *ask;
};

/* Why a client ended. docs/scripts.md has the words for them. */
enum client_conn_cause {
    CLIENT_CONN_LEFT,           /* by itself */
    CLIENT_CONN_KICKED,         /* a script wanted it … */
    CLIENT_CONN_DESTROYED,      /* … at once */
    CLIENT_CONN_TIMEOUT,        /* it was silent, or too slow with something */
    CLIENT_CONN_OVERFLOW,       /* its queue was full */
    CLIENT_CONN_TOO_LARGE,      /* it sent a message over the limit */
    CLIENT_CONN_PROTOCOL_ERROR, /* it broke its protocol */
    CLIENT_CONN_BUSY,           /* too much waits: for workers, or unfinished */
    CLIENT_CONN_RESTART,        /* the gateway stops */
    CLIENT_CONN_EXPELLED,       /* the operator wanted it */
};

/* How a client ended. */
struct client_conn_end {
    enum client_conn_cause cause;
    int code;           /* of the Close frame; 1006 without one */
    const char *reason; /* of the same, UTF-8; or NULL */
    size_t dropped;     /* messages that it did not get */
};

/* No callback runs inside a call about the same client, but
 * on_close() may run inside port_free(), and on_stream() inside
 * exchange_reply(). */
struct client_conn_ops {
    /* A new client. request is NULL unless the protocol is websocket. Returns
     * the owner's own pointer for it, or NULL to refuse (closed, no further
     * callback). */
    void *(*on_open)(struct client_conn *c, const union addr *peer,
        const struct client_conn_request *request, void *arg);
    /* The same of one that has an event stream; said, borrowed, is the answer
     * that made it one. */
    void *(*on_stream)(struct client_conn *c, const union addr *peer,
        const struct answer *said, void *arg);
    /* Whether upgrade requests are shown to the owner before anything is
     * answered; asked for each new connection. The three may be NULL. */
    bool (*asks)(void *arg);
    /* A websocket asks to be let in; request_answer() must follow, not inside
     * the call. peer is who stands behind trusted proxies. Returns the owner's
     * own pointer for it, or NULL: refused with 503. */
    void *(*on_ask)(struct client_conn *c, const union addr *peer,
        const struct client_conn_request *request, void *arg);
    /* The ask is over, once for each: behind on_open(), or because it was
     * refused, has left or waited too long (handshake_timeout, 503).
     * request_answer() must not be called any more. */
    void (*on_ask_end)(void *ask, void *arg);
    /* Whether requests that do not want to become clients, and that no file of
     * www answers, are for the owner; the three may be NULL. */
    bool (*takes_requests)(void *arg);
    /* A whole request, borrowed; its remote_addr and ports are not set, peer is
     * who stands behind trusted proxies. rights: NULL, or it is a call of the
     * push API by who has these (apikeys.h). exchange_reply() must follow, not
     * inside the call. Returns the owner's own pointer for it, or NULL: 503. */
    void *(*on_request)(struct client_conn *c, const union addr *peer,
        struct httpcall *request, const char *rights, void *arg);
    /* It is over, once for each: answered, or its client has left or waited
     * too long (request_timeout, 504). */
    void (*on_request_end)(void *request, void *arg);
    /* One whole message; bytes borrowed. A text is UTF-8. */
    void (*on_message)(void *client, const void *data, size_t len,
        enum protocol_form form, void *arg);
    /* A sign of life: bytes, a pong. For heartbeats; cheap. */
    void (*on_activity)(void *client, void *arg);
    /* It is gone, whoever closed it; exactly once per accepted on_open. end is
     * borrowed; c must not be used any more. */
    void (*on_close)(
        void *client, const struct client_conn_end *end, void *arg);
    /* This message, borrowed, was not UTF-8 and has been repaired; for those
     * that are logged. Runs inside the send. May be NULL. */
    void (*on_repair)(const void *data, size_t len, void *arg);
};

/* Queue a message; it leaves at the end of this turn, or as soon as the socket
 * takes it; before the end of a handshake it waits for that. 0, or -ENOBUFS
 * when the queue is full (the client is then being closed, or the message was
 * dropped, as conf says; counted), or -ENOTCONN when it is closing. */
int client_conn_send(struct client_conn *c, const void *data, size_t len,
    enum protocol_form form);
int client_conn_send_blob(struct client_conn *c, struct blob *framed);

/* What it speaks: its port's protocol, or an event stream's. */
const struct client_protocol *client_conn_protocol(const struct client_conn *c);

/* A websocket PING; nothing on the other protocols, or while the last one has
 * not left. */
void client_conn_ping(struct client_conn *c);

/* Close after what is queued has been sent (at most 5 s): websocket with a
 * Close frame of this code and reason (NULL: none), cut to fit. on_close()
 * follows on a later turn, with all three. Further messages from it are not
 * delivered. */
void client_conn_close(struct client_conn *c, enum client_conn_cause cause,
    int code, const char *reason);

/* Close at once; what is queued is lost. on_close() follows on a later turn. */
void client_conn_destroy(struct client_conn *c, enum client_conn_cause cause);

/* Stop and go on reading from it (TCP back-pressure). */
void client_conn_pause(struct client_conn *c);
void client_conn_resume(struct client_conn *c);

/* How it ends, once client_conn_close() or client_conn_destroy() was called,
 * and borrowed: what was first counts. dropped: its queue was full, or it was
 * closing; once it is gone, also those that the kernel had not taken. */
struct client_conn_end client_conn_how_ended(const struct client_conn *c);

/* Bytes queued and not yet taken by the kernel; bytes so far. */
size_t client_conn_queued(const struct client_conn *c);
uint64_t client_conn_bytes_in(const struct client_conn *c);
int client_conn_fd(const struct client_conn *c); /* borrowed; -1 once closed */
uint64_t client_conn_bytes_out(const struct client_conn *c);

#endif /* GW_CLIENTS_CLIENT_CONN_H */
