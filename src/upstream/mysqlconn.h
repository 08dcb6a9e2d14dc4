/* mysqlconn.h - one connection to a MySQL or MariaDB server, on the loop.
 *
 * One request at a time. It is the only file that sees libmariadb, whose calls
 * start, say what they wait for and go on when that is there. Each statement
 * with parameters is prepared once per connection and kept.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_MYSQLCONN_H
#define GW_UPSTREAM_MYSQLCONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "upstream/mysqlrow.h"

#define MYSQLCONN_STATEMENTS_MAX                                          \
    64                           /* prepared; the one unused longest goes \
                                  */
#define MYSQLCONN_ERROR_MAX  512 /* bytes of a message */
#define MYSQLCONN_RESULT_MAX (64 << 20)   /* default bytes of one result */
#define MYSQLCONN_TURN_BYTES (256 * 1024) /* read before others have a turn */
#define MYSQLCONN_SETS_MAX   1000 /* results of a CALL; more are -EMSGSIZE */

struct mysqlconn;

struct mysqlconn_conf {
    const char *host; /* name or address; NULL: 127.0.0.1 */
    unsigned port;    /* 0: 3306 */
    const char
        *socket; /* path of a unix socket; then host and port are not used */
    const char *user;
    const char *password;
    const char *database; /* may be NULL */
    size_t result_max;    /* bytes; a larger result is -EMSGSIZE */
};

struct mysqlconn_error {
    int err;         /* -errno; -EPROTO for all that the server refuses */
    unsigned number; /* the server's or libmariadb's, 0 for our own */
    char sqlstate[6];
    char message[MYSQLCONN_ERROR_MAX];
};

struct mysqlconn_request {
    const char *sql; /* borrowed until it is done, as the parameters are */
    size_t len;
    const struct mysqlrow_value *params; /* NULL: run it as it is */
    size_t nparams;
    uint64_t timeout_ms;
    bool ping; /* ask first whether the server is there */
};

/* Called once for mysqlconn_open() and each mysqlconn_run(), and with
 * -ECONNRESET when the server ends an idle connection. error NULL: all went
 * well. The connection may be closed in it. */
typedef void (*mysqlconn_done_cb)(
    struct mysqlconn *c, const struct mysqlconn_error *error, void *arg);

/* Begin to connect. conf is borrowed until it is done. */
struct mysqlconn *mysqlconn_open(uv_loop_t *loop,
    const struct mysqlconn_conf *conf, uint64_t timeout_ms,
    mysqlconn_done_cb done, void *arg);

/* Run one statement. */
void mysqlconn_run(
    struct mysqlconn *c, const struct mysqlconn_request *request);

/* What the last run gave; taken from it, for mysqlrow_fini(). Of a CALL all
 * results with rows. */
void mysqlconn_take_result(struct mysqlconn *c, struct mysqlrow_result *out);

/* It can only be closed: the link is gone, or in an unknown state. */
bool mysqlconn_broken(const struct mysqlconn *c);

/* The request that just failed was not sent to the server. */
bool mysqlconn_unsent(const struct mysqlconn *c);

/* As the server said last. */
bool mysqlconn_in_transaction(const struct mysqlconn *c);
bool mysqlconn_autocommit(const struct mysqlconn *c);

/* End it, whatever it does: done will not be called. Asynchronous: freed when
 * libuv has closed its handles. */
void mysqlconn_close(struct mysqlconn *c);

#endif /* GW_UPSTREAM_MYSQLCONN_H */
