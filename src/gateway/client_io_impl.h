/* client_io_impl.h - what the files behind client_io.h share.
 *
 *   client_io.c       the port: accept, limits, begin and end
 *   client_sock.c     the socket of a connection, with or without TLS
 *   client_tls.c      certificates, and what OpenSSL does with a socket
 *   client_request.c  the HTTP request: guard, on_ask(), 101, refusals
 *   client_files.c    requests for files of www: libwebsockets answers them
 *   client_conn.c     one connection: its states, from accept to on_close
 *   client_recv.c     inward: frames and bytes to messages, pausing
 *   client_queue.c    outward: frames, the queue, flushing, closing
 *   client_limits.c   connections in all and per address
 *   client_proxy.c    the PROXY protocol's header, before everything else
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_CLIENT_IO_IMPL_H
#define GW_GATEWAY_CLIENT_IO_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include "gateway/client_io.h"
#include "gateway/forwarded.h"
#include "net/listener.h"
#include "util/buf.h"
#include "util/list.h"
#include "util/log.h"
#include "wire/httphead.h"
#include "wire/wsframe.h"

#define CLIENT_FRAGMENTS_MAX 1024        /* frames of a message; more closes */
#define CLIENT_HEADERS_MAX   (8 * 1024)  /* bytes of a request's head */
#define CLIENT_CLOSE_TIMEOUT 5000        /* ms from client_close() to the end */
#define CLIENT_LINGER        1000        /* ms for its peer to read the end */
#define CLIENT_COPY_MAX      512         /* bytes; larger blobs are shared */
#define CLIENT_KEEP_BYTES    (16 * 1024) /* buffer a spare queue keeps */
#define CLIENT_SPARE_QUEUES  256         /* emptied queues kept for reuse */
#define CLIENT_FDS_MAX       2000000 /* libwebsockets' tables are made for */
#define CLIENT_FD_RESERVE    64      /* descriptors left for links, logs */

struct client_files;
struct client_limit;
struct client_queue;
struct client_request;
struct lws_context;
struct lws_vhost;

enum client_state {
    CLIENT_HANDSHAKE, /* TLS or the HTTP request: not a client yet */
    CLIENT_OPEN,      /* on_open() was called */
    CLIENT_CLOSING,   /* what is queued still leaves */
    CLIENT_DEAD,      /* nothing is written or delivered any more */
};

struct client_conn {
    struct list node;     /* in io->conns */
    struct list deadline; /* in io->opening, closing, lingering, or unlinked */
    struct turn_task task;
    struct client_io *io;       /* borrowed; outlives it */
    void *owner;                /* borrowed; what on_open() returned */
    uv_poll_t poll;             /* on fd */
    void *ssl;                  /* owned SSL; NULL: no TLS */
    struct client_limit *limit; /* borrowed; NULL: its address counts nowhere */
    struct blob *single;        /* owned; the only thing queued, or NULL */
    struct client_queue *queue; /* owned; NULL while nothing is queued */
    struct buf *in;      /* owned; bytes not looked at or a part, or NULL */
    struct buf *message; /* owned; fragments of a websocket message, or NULL */
    struct client_request *request; /* owned; NULL once it is a client */
    struct client_files *files;     /* owned; NULL but for a request of www */
    char *reason;                   /* owned; set by the first who closes */
    uint64_t bytes_in, bytes_out;
    uint64_t due;  /* loop time in ms at which deadline ends */
    size_t queued; /* bytes in single or queue */
    union addr peer;
    int fd;              /* owned; -1 once closed */
    uint16_t fragments;  /* of the incomplete websocket message */
    uint16_t code;       /* why it closes; 0 not known */
    uint8_t state;       /* enum client_state */
    uint8_t events;      /* what poll watches for */
    bool secured : 1;    /* the TLS handshake is over, or there is none */
    bool blocked : 1;    /* the socket took less than there was */
    bool stuck : 1;      /* TLS reads on only when it has written */
    bool paused : 1;     /* by the owner */
    bool last : 1;       /* what is queued is the last; nothing is heard */
    bool kill : 1;       /* close it at the end of this turn */
    bool pinged : 1;     /* a ping is queued */
    bool partial : 1;    /* in begins with a packet that is not whole */
    bool in_message : 1; /* a websocket message is incomplete */
    bool binary : 1;     /* it is a binary one */
};

struct client_limits {
    struct client_limit *map; /* owned; by address */
    size_t total, max;
    size_t max_per_ip; /* 0: addresses do not count */
};

struct client_io {
    const struct client_io_conf *conf; /* borrowed */
    const struct client_io_ops *ops;   /* borrowed */
    void *arg;                         /* borrowed */
    struct turn *turn;                 /* borrowed */
    uv_loop_t *loop;                   /* borrowed */
    struct listener *listener;         /* owned; NULL before and after */
    int fd;                  /* owned until client_io_listen(), then -1 */
    int fd_max;              /* descriptors from here on are refused */
    void *ssl_ctx;           /* owned SSL_CTX; NULL: no TLS */
    uint8_t *ticket_key;     /* owned; NULL: each context's own */
    struct lws_context *lws; /* owned; NULL without www */
    struct lws_vhost *vhost; /* owned by lws */
    int wake_fd;             /* lws's own, to hold its number; or -1 */
    char *www;               /* owned; resolved folder, or NULL */
    struct list conns, opening, closing, lingering;
    struct list proxied; /* in client_proxy.c, oldest first */
    struct forwarded_trust trust;
    struct client_limits limits;
    struct client_io_counters counters;
    struct client_queue *spare; /* owned; emptied queues */
    size_t nspare;
    uv_timer_t sweep;    /* ends opening and closing in time */
    uv_idle_t reaper;    /* keeps it until the handles of others have closed */
    unsigned turns_left; /* of it */
    struct log_share refusals;
};

/* client_io.c */

/* A connection that passed client_limits_enter() and comes from peer: count it
 * there too and begin with it. Takes ownership of fd. */
void client_io_welcome(struct client_io *io, int fd, const union addr *peer);
/* Close fd: before TLS, before anything that costs. */
void client_io_refuse(
    struct client_io *io, int fd, const union addr *peer, const char *why);
/* Its client's address stands in its request (forwarded.h). */
bool client_io_forwards(const struct client_io *io, const union addr *peer);

/* client_sock.c */

/* Serve fd, a connected and non-blocking socket. 0, or -errno: c->fd is -1 and
 * fd still the caller's. */
int client_sock_open(struct client_conn *c, int fd);
/* Watch for what is of interest now. Harmless once closed. */
void client_sock_watch(struct client_conn *c);
/* Write what the socket takes: the bytes it took, fewer than there are when it
 * is full, or -EPIPE. With TLS, what was not taken must come again, unchanged
 * up to the end of the first vector. */
ssize_t client_sock_write(
    struct client_conn *c, const struct iovec *iov, int count);
/* Nothing more is written: its peer reads the end. 0, or -EAGAIN: TLS waits
 * until the socket takes the end; again when it can be written to. */
int client_sock_shutdown(struct client_conn *c);
/* Close it; client_conn_free() follows on a later turn. */
void client_sock_close(struct client_conn *c);

/* client_tls.c */

/* A context with certificate and key. 0 and the caller frees it, or -EINVAL
 * with a line in err. */
int client_tls_new(
    void **out, const struct client_io_conf *conf, char err[256]);
/* Connections that it began keep it. */
void client_tls_free(void *ctx);
void client_tls_set_ticket_key(
    void *ctx, const uint8_t key[CLIENT_IO_TICKET_KEY_LEN]);

/* The server's end of TLS on fd; NULL: no memory. */
void *client_tls_begin(void *ctx, int fd);
/* Go on with the handshake: 0 it is over, -EAGAIN, -EPROTO. */
int client_tls_handshake(struct client_conn *c);
/* As recv() and send() of one buffer: > 0, 0 the end (read), -EAGAIN, -EIO. */
ssize_t client_tls_read(void *ssl, uint8_t *data, size_t len);
ssize_t client_tls_write(void *ssl, const uint8_t *data, size_t len);
/* What it was told to do waits until it can write. */
bool client_tls_wants_write(const void *ssl);
/* Say that nothing more comes. 0, or -EAGAIN: not said yet. */
int client_tls_shutdown(void *ssl);
void client_tls_end(void *ssl);

/* client_request.c */

/* Bytes of a request. */
void client_request_recv(struct client_conn *c, uint8_t *data, size_t len);
/* The end of a turn: go on with an answer of the owner. c->request is there. */
void client_request_turn(struct client_conn *c);
/* The owner is being asked, and c not read meanwhile. */
bool client_request_is_asking(const struct client_conn *c);
/* The handshake of c took too long. True: it gets an answer and more time. */
bool client_request_timeout(struct client_conn *c);
/* Answer with that status and close. reason may be NULL. */
void client_request_refuse(
    struct client_conn *c, unsigned status, const char *reason);
/* Harmless without one. */
void client_request_end(struct client_conn *c);

/* client_files.c: libwebsockets at the other end of a socket pair. It sees no
 * byte of a client, only a request that was written for it. */

/* Start it for io->www. 0, or -errno with a line in err; client_files_close()
 * is due in any case. */
int client_files_open(struct client_io *io, char err[256]);
/* Begin to end it. Its handles close on the following turns; then it ends. */
void client_files_close(struct client_io *io);
void client_files_end(struct client_io *io);
/* Let it answer c's request, a GET or HEAD. */
void client_files_serve(struct client_conn *c, const struct httphead *head);
/* Some of its answer has come or left: c may have room for more. */
void client_files_more(struct client_conn *c);
/* Harmless when c has none. */
void client_files_stop(struct client_conn *c);

/* client_conn.c */

struct client_conn *client_conn_new(
    struct client_io *io, const union addr *peer, struct client_limit *limit);
/* Its socket is closed for good. */
void client_conn_free(struct client_conn *c);
/* Ask the owner. 0, or -EACCES: refused, and what was queued is dropped. */
int client_conn_open(
    struct client_conn *c, const struct client_io_request *request);
/* A client of a stream protocol is there; nothing on a websocket port. */
void client_conn_open_stream(struct client_conn *c);
/* Nothing is written or delivered any more, and the owner hears on_close(),
 * once. */
void client_conn_gone(struct client_conn *c);
/* The peer has left or is not wanted: gone, if it is not already, and its
 * socket closed. */
void client_conn_kill(struct client_conn *c);
/* Remember why it closes, unless something else was first. */
void client_conn_blame(struct client_conn *c, int code, const char *reason);
/* Close once what is queued has left; nothing that it says matters any more. */
void client_conn_end(struct client_conn *c);
/* Give it ms to get out of a state; always the same for a list. */
void client_conn_expect(struct client_conn *c, struct list *list, uint64_t ms);
void client_conn_schedule(struct client_conn *c);
/* End what is over its time, again and again from now on. */
void client_conn_start_sweep(struct client_io *io);

/* client_queue.c */

/* Write what can be written. 0, or -EPIPE. */
int client_queue_flush(struct client_conn *c);
/* Queue bytes as they are; no limit holds them up, and nothing counts them. */
void client_queue_bytes(struct client_conn *c, const void *data, size_t len);
/* A control frame, behind everything. */
void client_queue_control(struct client_conn *c, enum wsframe_opcode opcode,
    const void *data, size_t len);
/* Unless too much is queued: then only a later ping is answered. */
void client_queue_pong(struct client_conn *c, const void *data, size_t len);
void client_queue_drop(struct client_conn *c);
void client_queue_free_spares(struct client_io *io);

/* client_recv.c */

/* Bytes of a client, which may be changed. */
void client_recv(struct client_conn *c, uint8_t *data, size_t len);
/* The end of a turn: what was kept while it was paused. */
void client_recv_kept(struct client_conn *c);
void client_recv_drop(struct client_conn *c);

/* client_limits.c */

/* One more connection. 0, or -EAGAIN: there are too many. */
int client_limits_enter(struct client_limits *l);
/* It comes from peer. 0 with *out (may be NULL), or -EAGAIN: too many do. */
int client_limits_count(
    struct client_limits *l, const union addr *peer, struct client_limit **out);
/* It is gone; limit NULL when it was not counted. */
void client_limits_leave(struct client_limits *l, struct client_limit *limit);
void client_limits_fini(struct client_limits *l);

/* client_proxy.c */

/* A connection that passed client_limits_enter() from a trusted proxy: read
 * whom it speaks for, then client_io_welcome(). Takes ownership of fd. */
void client_proxy_accept(struct client_io *io, int fd, const union addr *proxy);
/* Close those that are due. */
void client_proxy_sweep(struct client_io *io, uint64_t now);
void client_proxy_free(struct client_io *io);

#endif /* GW_GATEWAY_CLIENT_IO_IMPL_H */
