/* mysqlconn_impl.h - what mysqlconn.c and mysqlstmt.c share: a request as a
 * chain of steps.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_MYSQLCONN_IMPL_H
#define GW_UPSTREAM_MYSQLCONN_IMPL_H

#include <mysql.h>

#include "net/resolve.h"
#include "upstream/mysqlconn.h"
#include "util/hash.h"
#include "util/list.h"

#define SHORT_TEXT 64 /* bytes; longer values are fetched one by one */

/* One call of libmariadb: start and cont return what it waits for (0: it is
 * finished), done() judges the outcome and names the next step, or NULL. */
struct step {
    int (*start)(struct mysqlconn *c);
    int (*cont)(struct mysqlconn *c, int ready);
    const struct step *(*done)(struct mysqlconn *c);
};

struct statement {
    char *sql; /* owned; the key */
    MYSQL_STMT *stmt;
    struct list node; /* in mysqlconn.statements, used last at the end */
    UT_hash_handle hh;
};

/* Where a column of a prepared statement's row is fetched to. */
struct column {
    enum enum_field_types type;
    int64_t integer;
    double number;
    char text[SHORT_TEXT + 1]; /* and a NUL for strtod() */
    unsigned long len;
    my_bool is_null;
    my_bool truncated;
};

struct mysqlconn {
    uv_loop_t *loop; /* borrowed, outlives it */
    const struct mysqlconn_conf *conf;
    mysqlconn_done_cb done;
    void *arg;
    uv_poll_t *poll; /* owned; NULL while there is no socket */
    uv_timer_t timer;
    uv_idle_t later; /* goes on in the next turn of the loop */
    int events;      /* that poll watches */
    bool waiting;    /* step->cont() comes next */
    bool broken;
    bool unsent;
    struct resolve *lookup;     /* owned; NULL unless one is under way */
    struct addrinfo *addresses; /* owned */
    struct addrinfo *next_address;
    char host[INET6_ADDRSTRLEN]; /* as text, for all of the connect */
    MYSQL *mysql;                /* owned */

    const struct step *step; /* NULL while idle */
    struct mysqlconn_request request;
    struct mysqlrow_result result;
    struct mysqlrow_result *set; /* borrowed; of result, rows go there now */
    size_t nsets;                /* in result */
    size_t bytes;                /* of rows in the sets before it */
    bool has_rows;               /* a set of rows has begun */
    size_t turn_bytes;           /* of rows that were read in this turn */
    struct mysqlconn_error error;
    bool failed;

    int ret; /* outcome of the step's call */
    my_bool bool_ret;
    MYSQL *connected;
    MYSQL_RES *rows; /* owned; of a plain query */
    MYSQL_ROW row;

    struct list ring;             /* of statement, by use */
    struct statement *statements; /* owned; by SQL */
    struct statement *current;    /* borrowed */
    MYSQL_BIND *binds;            /* owned; of the result's columns */
    struct column *columns;       /* owned */
    unsigned ncolumns;
};

/* The request has failed. _with and _reading return NULL: no further step. */
void mysqlconn_fail(struct mysqlconn *c, int err, const char *message);
const struct step *mysqlconn_fail_with(struct mysqlconn *c, unsigned number,
    const char *sqlstate, const char *message);

/* The same for why(c) while rows were being read: what is left of them nobody
 * wants to wait for, so the connection ends. */
const struct step *mysqlconn_fail_reading(
    struct mysqlconn *c, const struct step *(*why)(struct mysqlconn *c));
const struct step *mysqlconn_fail_size(struct mysqlconn *c);

/* A set of rows begins, behind those that are there. read, or NULL: there are
 * too many. */
const struct step *mysqlconn_begin_set(struct mysqlconn *c,
    const MYSQL_FIELD *fields, unsigned count, const struct step *read);

/* Count what a row added; false when that is too much. */
bool mysqlconn_count_row(struct mysqlconn *c, size_t len_before);

/* What the statement did, when it gives no rows. */
void mysqlconn_note_effect(
    struct mysqlconn *c, uint64_t affected, uint64_t insert_id);

/* The first step of a request with parameters. */
const struct step *mysqlstmt_begin(struct mysqlconn *c);

/* Forget the columns of the last result. */
void mysqlstmt_unbind(struct mysqlconn *c);

/* After mysql_close(). */
void mysqlstmt_free_all(struct mysqlconn *c);

#endif /* GW_UPSTREAM_MYSQLCONN_IMPL_H */
