/* client_io_impl.h - what the files behind client_io.h share.
 *
 *   client_io.c      the port: accept, limits, begin and end
 *   client_lws.c     the library: its settings and callbacks
 *   client_http.c    the library: the handshake guard, the request, www
 *   client_hold.c    requests before the library reads them, and on_ask()
 *   client_conn.c    one connection: its states, from accept to on_close
 *   client_queue.c   outward: frames, the queue, flushing, closing
 *   client_recv.c    inward: fragments and bytes to messages, pausing
 *   client_limits.c  connections in all and per address
 *   client_proxy.c   the PROXY protocol's header, before the library
 *   client_tls.c     certificates and TLS settings (OpenSSL)
 *
 * Only client_lws.c and client_http.c include libwebsockets.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_CLIENT_IO_IMPL_H
#define GW_GATEWAY_CLIENT_IO_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "gateway/client_io.h"
#include "gateway/forwarded.h"
#include "net/listener.h"
#include "util/buf.h"
#include "util/list.h"

#define CLIENT_FRAGMENTS_MAX 1024        /* frames of a message; more closes */
#define CLIENT_HEADERS_MAX   (8 * 1024)  /* bytes of a request's head */
#define CLIENT_CLOSE_TIMEOUT 5000        /* ms from client_close() to the end */
#define CLIENT_FAIL_TIMEOUT  1000        /* the same after a protocol error */
#define CLIENT_CLOSE_REASON  123         /* bytes of a Close frame's text */
#define CLIENT_COPY_MAX      512         /* bytes; larger blobs are shared */
#define CLIENT_KEEP_BYTES    (16 * 1024) /* buffer a spare queue keeps */
#define CLIENT_SPARE_QUEUES  256         /* emptied queues kept for reuse */
#define CLIENT_FDS_MAX       2000000     /* the library's tables are made for */
#define CLIENT_FD_RESERVE    64          /* descriptors left for links, logs */

struct lws;
struct lws_context;
struct lws_vhost;
struct client_hold;
struct client_limit;
struct client_queue;

enum client_state {
    CLIENT_HANDSHAKE, /* TLS or the HTTP request: not a client yet */
    CLIENT_OPEN,      /* on_open() was called */
    CLIENT_CLOSING,   /* client_close(): what is queued still leaves */
    CLIENT_DEAD,      /* nothing is written or delivered any more */
};

struct client_conn {
    struct list node;     /* in io->conns */
    struct list deadline; /* in io->opening, closing or failing, or unlinked */
    struct turn_task task;
    struct client_io *io;       /* borrowed; outlives it */
    struct lws *wsi;            /* borrowed; freed by the library, last */
    void *owner;                /* borrowed; what on_open() returned */
    struct client_limit *limit; /* borrowed; NULL: its address counts nowhere */
    struct blob *single;        /* owned; the only thing queued, or NULL */
    struct client_hold *hold;   /* owned; NULL but for some that handshake */
    struct client_queue *queue; /* owned; NULL while nothing is queued */
    struct buf *in;             /* owned; an incomplete message, or NULL */
    char *reason;               /* owned; set by the first who closes */
    uint64_t bytes_in, bytes_out;
    uint64_t due;     /* loop time in ms at which deadline ends */
    size_t queued;    /* bytes in single or queue */
    size_t in_socket; /* bytes of the last write the library keeps, at most */
    union addr peer;
    uint16_t fragments;  /* of the incomplete websocket message */
    uint16_t code;       /* why it closes; 0 not known */
    uint8_t state;       /* enum client_state */
    bool told : 1;       /* on_close() was called */
    bool secured : 1;    /* the TLS handshake is over, or there is none */
    bool ready : 1;      /* the 101 is out: it may be written to */
    bool paused : 1;     /* by the owner */
    bool held : 1;       /* not read while its peer does not read */
    bool kill : 1;       /* close it at the end of this turn */
    bool pinged : 1;     /* a ping is queued */
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
    int fd;                   /* owned until client_io_listen(), then -1 */
    int fd_max;               /* descriptors from here on are refused */
    struct lws_context *lws;  /* owned; NULL once destroyed */
    struct lws_vhost *vhost;  /* owned by lws */
    struct client_conn *born; /* being handed to lws just now */
    int wake_fd;              /* lws's own, to hold its number; or -1 */
    void *ssl_ctx;            /* SSL_CTX, owned by vhost; NULL: no TLS */
    char *www;                /* owned; resolved folder, or NULL */
    char subprotocol[64];     /* what the client being upgraded asks for */
    struct list conns, opening, closing, failing;
    struct list proxied; /* in client_proxy.c, oldest first */
    struct forwarded_trust trust;
    struct client_limits limits;
    struct client_io_counters counters;
    struct client_queue *spare; /* owned; emptied queues */
    size_t nspare;
    uv_timer_t sweep; /* ends opening and closing in time */
    uv_idle_t reaper; /* turns it stays alive for the library's handles */
    unsigned turns_left;
    uint64_t refused_logged; /* loop time in ms; 0 never */
};

/* client_lws.c: the library, as the other files see it. */

/* Make its context and vhost. 0, or -errno with a line in err;
 * client_lws_close() is due in any case. */
int client_lws_open(struct client_io *io, char err[256]);
/* Close all of its connections and begin to end it, if it was opened. Its
 * handles close on the following turns; then it ends. */
void client_lws_close(struct client_io *io);
void client_lws_end(struct client_io *io);
/* Hand it the socket of c; ownership of both passes. */
void client_lws_adopt(struct client_io *io, struct client_conn *c, int fd);
/* Write to the socket now. 0, or -EPIPE: the connection must be killed. */
int client_lws_write(struct client_conn *c, const uint8_t *data, size_t len);
/* The library still keeps bytes of an earlier write: do not write now. */
bool client_lws_busy(const struct client_conn *c);
/* Read from the socket or not. */
void client_lws_read(struct client_conn *c, bool enable);
/* Let the library read now what the socket has, outside of its callbacks.
 * false: it has closed the connection. */
bool client_lws_serve(struct client_conn *c);
/* Close it now, outside of the library's callbacks; what the library keeps is
 * lost. */
void client_lws_kill(struct client_conn *c);
/* No timer of the library concerns it any more. */
void client_lws_no_timeout(struct client_conn *c);

/* client_io.c */

/* A connection that passed client_limits_enter() and comes from peer: count it
 * there too and hand it to the library. Takes ownership of fd. */
void client_io_welcome(struct client_io *io, int fd, const union addr *peer);
/* Close fd: before TLS, before the library, before anything that costs. */
void client_io_refuse(
    struct client_io *io, int fd, const union addr *peer, const char *why);
/* Its client's address stands in its request (forwarded.h). */
bool client_io_forwards(const struct client_io *io, const union addr *peer);

/* client_http.c, given the library's handle. */

/* The guard and on_open(). 0 or -1: answered and to be closed. */
int client_http_upgrade(struct client_conn *c, struct lws *wsi);
/* A request that is no upgrade, before its body: 0 to go on, else -1. */
int client_http_filter(struct client_conn *c, struct lws *wsi);
/* Serve the file at path (decoded). 0 or -1: answered and to be closed. */
int client_http_serve(
    struct client_conn *c, struct lws *wsi, const char *path, size_t len);

/* client_hold.c */

/* c can send its request from now on, over the descriptor fd and, with TLS, the
 * SSL ssl: hold it back until it is whole and, if the owner asks, answered. */
void client_hold_begin(struct client_conn *c, int fd, void *ssl);
/* The end of a turn: go on with an answer. c->hold is there; c may be gone
 * afterwards. */
void client_hold_turn(struct client_conn *c);
/* The handshake of c took too long. True: it gets an answer and more time. */
bool client_hold_timeout(struct client_conn *c);
/* What the library has read is complete: 0 to let it in, else the status to
 * refuse with. *request (not NULL after 0) and *reason (may be NULL) are
 * borrowed from the hold. */
unsigned client_hold_verdict(const struct client_conn *c,
    const struct client_io_request **request, const char **reason);
/* Who asks: behind a trusted proxy the one that the request names. A proxy may
 * add its line behind one that the client has made up, so all of them count. */
union addr client_hold_peer(
    const struct client_conn *c, const struct client_io_request *request);
/* Harmless without one. */
void client_hold_end(struct client_conn *c);

/* client_conn.c */

struct client_conn *client_conn_new(
    struct client_io *io, const union addr *peer, struct client_limit *limit);
/* The socket is closed for good. */
void client_conn_free(struct client_conn *c);
/* Ask the owner. 0, or -EACCES: refused. */
int client_conn_open(
    struct client_conn *c, const struct client_io_request *request);
/* The TLS handshake of ssl is over: a client of a stream protocol opens at the
 * end of the turn, or with its first bytes. */
void client_conn_secured(struct client_conn *c, int fd, void *ssl);
/* 0, or -EACCES: refused. */
int client_conn_open_stream(struct client_conn *c);
/* The 101 is out: what was queued may leave. */
void client_conn_established(struct client_conn *c);
/* Nothing is written or delivered any more; the library closes it. */
void client_conn_dead(struct client_conn *c, int code, const char *reason);
/* As above, and the owner hears on_close(), once. */
void client_conn_gone(struct client_conn *c);
/* Remember why it closes, unless something else was first. */
void client_conn_blame(struct client_conn *c, int code, const char *reason);
/* It broke the protocol; its Close frame is on its way, and nothing that it
 * says matters any more. */
void client_conn_failed(struct client_conn *c);
/* Give it ms to get out of handshake or closing; always the same for a list. */
void client_conn_expect(struct client_conn *c, struct list *list, uint64_t ms);
void client_conn_schedule(struct client_conn *c);
/* End what is over its time, again and again from now on. */
void client_conn_start_sweep(struct client_io *io);

/* client_queue.c */

/* Write what can be written. 0, or -EPIPE. */
int client_queue_flush(struct client_conn *c);
/* Everything left us and the library. */
bool client_queue_done(const struct client_conn *c);
void client_queue_drop(struct client_conn *c);
void client_queue_free_spares(struct client_io *io);

/* client_recv.c */

/* A piece of a websocket message: len bytes, rest more announced in its frame;
 * final: the message ends with this piece. */
struct client_piece {
    const void *data;
    size_t len;
    size_t rest;
    bool final, frame_end, binary;
};
void client_recv_piece(struct client_conn *c, const struct client_piece *p);
/* Bytes of a stream protocol. */
void client_recv_stream(struct client_conn *c, const uint8_t *data, size_t len);
/* After client_resume(): what was kept. */
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

/* client_tls.c */

/* Prove that certificate and key can be used. 0, or -EINVAL with a line. */
int client_tls_check(const struct client_io_conf *conf, char err[256]);
/* Put both into ctx (an SSL_CTX), which keeps what it has on failure. */
int client_tls_load(
    void *ctx, const struct client_io_conf *conf, char err[256]);
/* The settings of a new ctx. */
void client_tls_setup(void *ctx);
/* Tie c to its ssl (an SSL), so that the handshake's end is heard of. */
void client_tls_watch(void *ssl, struct client_conn *c);
/* Decrypt, but leave for the next read. > 0 bytes, 0 the end, -EAGAIN, -EIO. */
ssize_t client_tls_peek(void *ssl, uint8_t *data, size_t len);

#endif /* GW_GATEWAY_CLIENT_IO_IMPL_H */
