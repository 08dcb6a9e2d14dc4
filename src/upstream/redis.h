/* redis.h - one connection to a Redis server, with any number of calls at once.
 *
 * Opened by the first call and again by the next one after it was lost; calls
 * collect during a turn of the loop and leave in one write. Each call has a
 * deadline. The protocol is parsed by hiredis, the socket is ours: hiredis' own
 * asynchronous connection blocks to look up names, and its calls can neither
 * time out nor be taken back.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_REDIS_H
#define GW_UPSTREAM_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/turn.h"
#include "upstream/redisvalue.h"
#include "upstream/sentinel.h"
#include "util/buf.h"
#include "util/tallies.h"

#define REDIS_CONNECT_MS 3000               /* until a connect has failed */
#define REDIS_RETRY_MS   100                /* after that, calls fail so long */
#define REDIS_QUEUE_MAX  (64 * 1024 * 1024) /* bytes to send; then -ENOBUFS */
#define REDIS_CALLS_MAX  100000 /* calls under way; one more is -ENOBUFS */

struct redis;
struct redis_call;
struct ssl_ctx_st;

struct redis_conf {
    const char *host; /* name, numeric address, or "/path" of a socket */
    uint16_t port;
    /* In place of host and port: who says where the master is, NULL: nobody.
     * Asked before each connect; a server that is no master is not used. */
    const struct sentinel_conf *sentinels;
    struct ssl_ctx_st *tls; /* see net/trust.h, shared; NULL: without */
    const char *tls_name;   /* of whom its certificate must be; NULL: host */
    const char *user;       /* NULL: "default" */
    const char *password;   /* NULL: no AUTH */
    int db;
    uint64_t connect_ms; /* 0: REDIS_CONNECT_MS */
    struct tally *tally; /* borrowed, outlives it; NULL: nobody looks */
    /* For subscriptions, else NULL. Then everything the server sends comes
     * here, v being the callee's; nothing is the reply of a call. */
    void (*on_push)(struct redisvalue *v, void *arg);
    /* Optional: the connection was lost or could not be opened, after the
     * calls were told; see redis_error(). */
    void (*on_down)(int err, void *arg);
    void *arg; /* borrowed, handed to both */
};

/* conf is copied. Opens nothing yet. turn is borrowed. */
struct redis *redis_open(struct turn *turn, const struct redis_conf *conf);

/* At once; no callback will run any more. */
void redis_close(struct redis *r);

/* The same at the end of the turn, when calls under way were told -ECANCELED.
 */
void redis_end(struct redis *r);

/* err 0: replies[0 … count-1], borrowed; some may be REDIS_ERROR. Else -errno,
 * replies is NULL. */
typedef void (*redis_reply_cb)(
    int err, const struct redisvalue *replies, size_t count, void *arg);

struct redis_request {
    const struct buf *commands; /* encoded; copied */
    size_t count;               /* how many; 0 for a subscription's */
    uint64_t timeout_ms;
    redis_reply_cb done; /* with count 0: when they are in the send queue */
    void *arg;           /* borrowed, handed to done */
};

/* Send commands one after the other, with none in between. done runs on a later
 * turn. 0 and *out (for redis_cancel(), while done has not run), or -ENOBUFS.
 */
int redis_send(struct redis *r, const struct redis_request *request,
    struct redis_call **out);

/* The same, but what was sent is read by the server before its connection ends:
 * a close with a reply under way would have it drop the rest. */
void redis_close_flushed(struct redis *r);

/* Whether the server may have got it; else it can be sent elsewhere. While done
 * has not returned. */
bool redis_was_sent(const struct redis_call *call);

/* done will not run. The commands may be carried out nevertheless. */
void redis_cancel(struct redis_call *call);

/* How many connections have ended. It tells whether what one had, as WATCH, is
 * still there. */
uint64_t redis_losses(const struct redis *r);

/* End the connection, as if it had been lost, and why: calls under way are told
 * so, and the next call connects anew. Not in a callback of r. */
void redis_drop(struct redis *r, const char *why);

/* Is it connected there, or was it last? The host is that of the configuration,
 * or what a sentinel said. */
bool redis_is_at(const struct redis *r, const char *host, uint16_t port);

/* Why the connection was lost or could not be opened last, with its address:
 * for people. Valid until the next turn. */
const char *redis_error(const struct redis *r);

#endif /* GW_UPSTREAM_REDIS_H */
