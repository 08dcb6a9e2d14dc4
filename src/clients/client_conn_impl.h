/* client_conn_impl.h - a connection, for those that have it in turn.
 *
 * Owners see client_conn.h and no field. The stages of a connection (request,
 * files, recv), the protocols and the port see this: its bytes lie in it, and
 * go through it without a call.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_CLIENT_CONN_IMPL_H
#define GW_CLIENTS_CLIENT_CONN_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/client_conn.h"
#include "clients/client_shared.h"
#include "clients/queue.h"
#include "clients/sock.h"

#define CLIENT_CONN_CLOSE_TIMEOUT 5000  /* ms from client_conn_close() on */
#define CLIENT_CONN_LINGER_MS     1000  /* for its peer to read the end */
#define CLIENT_CONN_COMMENT_MS    15000 /* between comments in event streams */

struct exchange;
struct part;
struct request;

/* In the order of a life; what may follow what stands in client_conn.c. */
enum client_conn_state {
    CLIENT_CONN_TLS,        /* the TLS handshake */
    CLIENT_CONN_REQUEST,    /* its request is awaited, if the port has any */
    CLIENT_CONN_ASKING,     /* the owner has the request */
    CLIENT_CONN_CALLING,    /* the same of one that it answers: exchange.c */
    CLIENT_CONN_ANSWERING,  /* a file or an answer is on its way to it */
    CLIENT_CONN_OPEN,       /* a client: on_open() was called */
    CLIENT_CONN_CLOSE_SENT, /* a client that has yet to answer our goodbye */
    CLIENT_CONN_LAST,       /* what is queued is the last; nothing is heard */
    CLIENT_CONN_DOOMED,     /* closed at the end of this turn */
    CLIENT_CONN_LINGER,     /* the owner knows; its peer reads the end */
    CLIENT_CONN_DEAD,       /* the socket is closed */
};
#define CLIENT_CONN_STATES 11

/* What has a connection, and gets its bytes: first a request, then perhaps an
 * answer to it, or a client. One may hand it on to the next by setting
 * c->stage. */
struct client_stage {
    /* Bytes, which may be changed. */
    void (*recv)(struct client_conn *c, uint8_t *data, size_t len);
    /* The end of a turn, before what is queued is written. */
    void (*turn)(struct client_conn *c);
    /* The same behind it, while it is ANSWERING. May be NULL. */
    void (*written)(struct client_conn *c);
    /* It must get out of this stage now. True: it gets more time. NULL: no. */
    bool (*late)(struct client_conn *c);
    /* All have begun too much, and this one most. */
    void (*crowded)(struct client_conn *c);
    /* Its peer says no more. True: it goes on. NULL: it does not. */
    bool (*hung_up)(struct client_conn *c);
    /* Nothing more is heard: let go of what is kept for it. Harmless twice. */
    void (*end)(struct client_conn *c);
};

struct client_conn {
    struct list node;     /* in shared->conns */
    struct list deadline; /* in one of shared's lists, or unlinked */
    struct turn_task task;
    struct client_shared *shared;     /* borrowed; outlives it */
    const struct client_stage *stage; /* borrowed */
    void *owner;         /* borrowed; what on_open() returned, or NULL */
    struct limit *limit; /* borrowed; NULL: its address counts nowhere */
    struct sock sock;
    struct queue queue;
    struct part *part;         /* owned by its stage; NULL: nothing is begun */
    struct request *request;   /* the same, of request.c */
    struct exchange *exchange; /* the same, of exchange.c */
    char *reason;              /* owned; of the Close frame, or NULL */
    uint64_t bytes_in;
    uint64_t due; /* loop time in ms at which deadline ends */
    union addr peer;
    uint16_t code;     /* of the Close frame; 0: it does not close */
    uint8_t cause;     /* enum client_conn_cause, with code */
    uint8_t state;     /* enum client_conn_state */
    bool pinged : 1;   /* a ping is queued */
    bool reused : 1;   /* it had a request before */
    bool upgrades : 1; /* its request wants to be a websocket */
    bool streams : 1;  /* it has an event stream, whatever its port speaks */
};

static inline const struct client_protocol *client_conn_speaks(
    const struct client_conn *c)
{
    return c->streams ? &proto_sse : c->shared->conf->protocol;
}

/* What its peer says is listened to, as a client's. */
static inline bool client_conn_is_heard(const struct client_conn *c)
{
    return c->state == CLIENT_CONN_OPEN || c->state == CLIENT_CONN_CLOSE_SENT;
}

/* The same, and the owner takes it now. */
static inline bool client_conn_is_taken(const struct client_conn *c)
{
    return client_conn_is_heard(c) && c->sock.interest == SOCK_BYTES;
}

struct client_conn *client_conn_new(
    struct client_shared *shared, const union addr *peer, struct limit *limit);
/* Begin with it: fd is a connected, non-blocking socket; TLS if ctx is not
 * NULL. 0, or -errno: fd is still the caller's, and c to be freed. */
int client_conn_start(struct client_conn *c, int fd, struct ssl_ctx_st *ctx);
void client_conn_free(struct client_conn *c);
/* Ask the owner. 0, or -EACCES: refused, and what was queued is dropped. */
int client_conn_open(
    struct client_conn *c, const struct client_conn_request *request);
/* The same for an event stream, which said makes it. */
int client_conn_open_stream(struct client_conn *c, const struct answer *said);
/* Whether the table has this transition. */
bool client_conn_may_become(
    enum client_conn_state from, enum client_conn_state to);
/* Every change of state goes through here, where the table is asserted. */
void client_conn_become(struct client_conn *c, enum client_conn_state state);
/* The peer has left or is not wanted: its socket is closed, and the owner
 * hears on_close() if it has not yet. */
void client_conn_kill(struct client_conn *c);
/* Remember why it closes, unless something else was first. reason may be NULL.
 */
void client_conn_blame(struct client_conn *c, enum client_conn_cause cause,
    int code, const char *reason);
/* Close once what is queued has left; nothing that it says matters any more. */
void client_conn_finish(struct client_conn *c);
/* Give it ms to get out of a state; always the same for a list. */
void client_conn_expect(struct client_conn *c, struct list *list, uint64_t ms);
void client_conn_schedule(struct client_conn *c);
/* Close it at the end of this turn, whatever is queued. */
void client_conn_doom(struct client_conn *c);
/* Queue bytes as they are; no limit holds them up, and nothing counts them. */
void client_conn_queue(struct client_conn *c, const void *data, size_t len);
/* Put a message in the form that it has on the wire, once for many. */
struct blob *client_conn_frame(struct client_shared *shared,
    const struct client_protocol *p, const struct protocol_message *what);
/* Room for a message of len bytes more? */
bool client_conn_has_room(const struct client_conn *c, size_t len);
/* End those that are over their time. */
void client_conn_sweep(struct client_shared *shared, uint64_t now);

#endif /* GW_CLIENTS_CLIENT_CONN_IMPL_H */
