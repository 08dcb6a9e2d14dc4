/* mysqldb.h - a MySQL or MariaDB database behind a pool of connections.
 *
 * A call runs one statement on whatever connection is free, or on the one that
 * a hold keeps for a transaction. It ends once: with its result, an error, or
 * an error at its deadline. Nothing that may have reached the server is ever
 * sent again.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_MYSQLDB_H
#define GW_UPSTREAM_MYSQLDB_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "upstream/mysqlconn.h"
#include "upstream/mysqlrow.h"
#include "upstream/pool.h"

#define MYSQLDB_CONNECT_MS  5000 /* default: until a connect has failed */
#define MYSQLDB_PING_MS     5000 /* default: idle for longer is pinged first */
#define MYSQLDB_ROLLBACK_MS 5000 /* to undo what was left open, else close */

struct mysqldb;
struct mysqldb_call;
struct mysqldb_hold;

struct mysqldb_conf {
    struct mysqlconn_conf conn;
    struct pool_conf pool;
    uint64_t connect_ms; /* 0: MYSQLDB_CONNECT_MS */
    uint64_t ping_ms;    /* 0: MYSQLDB_PING_MS */
};

/* error NULL: result is the callee's, for mysqlrow_fini(). The call is gone.
 * Never inside the call that asked for it. */
typedef void (*mysqldb_done_cb)(struct mysqlrow_result *result,
    const struct mysqlconn_error *error, void *arg);

/* conf is copied. Connects when the first call needs it. */
struct mysqldb *mysqldb_open(uv_loop_t *loop, const struct mysqldb_conf *conf);

/* No call may be under way and no hold exist. */
void mysqldb_close(struct mysqldb *db);

/* Run a statement within timeout_ms, waiting for a connection included. hold:
 * NULL, or where it runs. 0; -ENOBUFS: too many wait already; -EBUSY: another
 * call is under way in the hold; -ENOTCONN: the hold's transaction is lost. */
int mysqldb_query(struct mysqldb *db, struct mysqldb_hold *hold,
    const struct mysqlconn_request *request, mysqldb_done_cb done, void *arg,
    struct mysqldb_call **out);

/* done will not run; a connection that was at it is closed. */
void mysqldb_cancel(struct mysqldb_call *call);

/* One connection for several calls; taken from the pool by the first one. */
struct mysqldb_hold *mysqldb_hold_new(struct mysqldb *db);

/* Give it back. No call may be under way in it. A transaction that is still
 * open is rolled back before anybody else gets the connection. */
void mysqldb_hold_free(struct mysqldb_hold *hold);

struct pool_counts mysqldb_counts(const struct mysqldb *db);

#endif /* GW_UPSTREAM_MYSQLDB_H */
