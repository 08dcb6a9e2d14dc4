/* A call waits for a connection of the pool, runs on it and is freed after its
 * done. A connection whose statement did not end in time is closed, for nobody
 * knows what the server still does with it; one that a hold leaves in a
 * transaction is rolled back before somebody else gets it. */
#include "upstream/mysqldb.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/clock.h"
#include "util/alloc.h"

/* Server errors after which the whole transaction is undone. */
#define ER_LOCK_TIMEOUT  1205
#define ER_LOCK_DEADLOCK 1213

struct mysqldb {
    uv_loop_t *loop;                   /* borrowed, outlives it */
    struct mysqldb_conf conf;          /* strings owned */
    struct pool *pool;                 /* owned */
    struct mysqlconn_error open_error; /* why the last connect failed */
};

struct link {
    struct pool_conn slot;
    struct mysqldb *db;        /* borrowed, outlives it */
    struct mysqlconn *conn;    /* owned */
    struct mysqldb_call *call; /* borrowed; what runs on it */
    struct mysqldb_hold *hold; /* borrowed; whose it is between its calls */
    bool open;
    bool cleaning; /* a rollback of ours runs on it */
};

struct mysqldb_hold {
    struct mysqldb *db; /* borrowed, outlives it */
    struct link *link;  /* lent to it; NULL before the first call */
    bool busy;
    bool lost;
};

struct mysqldb_call {
    struct pool_wait wait;
    struct mysqldb *db;        /* borrowed, outlives it */
    struct mysqldb_hold *hold; /* borrowed, outlives it; may be NULL */
    struct link *link;         /* borrowed; NULL while it waits for one */
    struct mysqlconn_request request; /* its pointers are the caller's */
    uint64_t deadline;                /* in clock_now()'s time */
    mysqldb_done_cb done;
    void *arg;
};

static char *copy(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

/* End a connection and have the pool forget it. */
static void lose(struct link *link, int err)
{
    if (link->hold) {
        link->hold->lost = true;
        link->hold->link = NULL;
    }
    mysqlconn_close(link->conn);
    pool_lost(&link->slot, err);
    free(link);
}

/* The call is over: last in its caller, for done() runs script code. */
static void end_call(struct mysqldb_call *call, struct mysqlrow_result *result,
    const struct mysqlconn_error *error)
{
    mysqldb_done_cb done = call->done;
    void *arg = call->arg;

    if (error && error->err == -ETIMEDOUT)
        pool_note_timeout(call->db->pool);
    if (call->hold)
        call->hold->busy = false;
    free(call);
    done(result, error, arg);
}

static void end_call_with(
    struct mysqldb_call *call, int err, const char *message)
{
    struct mysqlrow_result none = {0};
    struct mysqlconn_error error = {.err = err, .sqlstate = "HY000"};

    snprintf(error.message, sizeof(error.message), "%s", message);
    end_call(call, &none, &error);
}

/* Its user is done with it: to the pool, once it is as a new one would be. */
static void give_back(struct link *link)
{
    static const char sql[] = "ROLLBACK";
    struct mysqlconn_request rollback = {
        .sql = sql, .len = sizeof(sql) - 1, .timeout_ms = MYSQLDB_ROLLBACK_MS};

    if (mysqlconn_broken(link->conn) || !mysqlconn_autocommit(link->conn)) {
        lose(link, -ECONNRESET);
    } else if (mysqlconn_in_transaction(link->conn)) {
        link->cleaning = true;
        mysqlconn_run(link->conn, &rollback);
    } else {
        pool_ready(&link->slot);
    }
}

/* What became of a statement, for the hold that it ran in. */
static void update_hold(struct mysqldb_hold *hold, struct link *link,
    const struct mysqlconn_error *error)
{
    hold->link = link;
    link->hold = hold;
    if (mysqlconn_broken(link->conn))
        lose(link, -ECONNRESET);
    else if (error && (error->number == ER_LOCK_DEADLOCK ||
                          error->number == ER_LOCK_TIMEOUT))
        hold->lost = true;
}

static void queue(struct mysqldb_call *call);

/* The call's statement has ended. */
static void finish(struct link *link, const struct mysqlconn_error *reason)
{
    struct mysqldb_call *call = link->call;
    struct mysqlrow_result result;
    struct mysqlconn_error error;

    link->call = NULL;
    call->link = NULL;
    if (mysqlconn_unsent(link->conn)) {
        lose(link, -ECONNRESET);
        queue(call);
        return;
    }
    mysqlconn_take_result(link->conn, &result);
    if (reason) {
        error = *reason;
        mysqlrow_fini(&result);
        result = (struct mysqlrow_result){0};
    }
    if (call->hold)
        update_hold(call->hold, link, reason);
    else
        give_back(link);
    end_call(call, &result, reason ? &error : NULL);
}

static void on_conn(
    struct mysqlconn *conn, const struct mysqlconn_error *error, void *arg)
{
    struct link *link = arg;

    if (link->call) {
        finish(link, error);
    } else if (error) {
        if (!link->open)
            link->db->open_error = *error;
        lose(link, -ECONNREFUSED);
    } else if (link->cleaning) {
        link->cleaning = false;
        pool_ready(&link->slot);
    } else {
        link->open = true;
        pool_ready(&link->slot);
    }
}

static struct pool_conn *open_link(void *arg)
{
    struct mysqldb *db = arg;
    struct link *link = xcalloc(1, sizeof(*link));

    link->db = db;
    link->conn = mysqlconn_open(
        db->loop, &db->conf.conn, db->conf.connect_ms, on_conn, link);
    return &link->slot;
}

static void close_link(struct pool_conn *slot)
{
    struct link *link = LIST_ENTRY(slot, struct link, slot);

    mysqlconn_close(link->conn);
    free(link);
}

static const struct pool_ops ops = {open_link, close_link};

struct mysqldb *mysqldb_open(uv_loop_t *loop, const struct mysqldb_conf *conf)
{
    struct mysqldb *db = xcalloc(1, sizeof(*db));
    struct mysqlconn_conf *c = &db->conf.conn;

    db->loop = loop;
    db->conf = *conf;
    c->host = copy(c->host);
    c->socket = copy(c->socket);
    c->user = copy(c->user);
    c->password = copy(c->password);
    c->database = copy(c->database);
    if (!c->result_max)
        c->result_max = MYSQLCONN_RESULT_MAX;
    if (!db->conf.connect_ms)
        db->conf.connect_ms = MYSQLDB_CONNECT_MS;
    if (!db->conf.ping_ms)
        db->conf.ping_ms = MYSQLDB_PING_MS;
    db->pool = pool_new(loop, &conf->pool, &ops, db);
    return db;
}

void mysqldb_close(struct mysqldb *db)
{
    struct mysqlconn_conf *c = &db->conf.conn;

    pool_close(db->pool);
    free((char *)c->host);
    free((char *)c->socket);
    free((char *)c->user);
    free((char *)c->password);
    free((char *)c->database);
    free(db);
}

/* Milliseconds until the deadline, at least 1. */
static uint64_t remaining(const struct mysqldb_call *call)
{
    uint64_t now = clock_now(call->db->loop);

    return call->deadline > now ? call->deadline - now : 1;
}

static void start(struct mysqldb_call *call, struct link *link)
{
    bool held = call->hold && call->hold->link == link;

    call->link = link;
    link->call = call;
    call->request.timeout_ms = remaining(call);
    call->request.ping =
        !held && pool_idle_ms(&link->slot) > call->db->conf.ping_ms;
    mysqlconn_run(link->conn, &call->request);
}

static void on_lent(struct pool_wait *wait, struct pool_conn *slot, int err)
{
    struct mysqldb_call *call = LIST_ENTRY(wait, struct mysqldb_call, wait);
    struct mysqlrow_result none = {0};
    struct mysqlconn_error error;

    if (slot) {
        start(call, LIST_ENTRY(slot, struct link, slot));
    } else if (err == -ETIMEDOUT) {
        end_call_with(call, err, "no connection was free in time");
    } else {
        error = call->db->open_error;
        end_call(call, &none, &error);
    }
}

/* Take a connection, or wait for one. */
static int take(struct mysqldb_call *call)
{
    struct pool_conn *slot;
    int err = pool_take(call->db->pool, &slot, &call->wait, remaining(call));

    if (err == 0 && slot)
        start(call, LIST_ENTRY(slot, struct link, slot));
    return err;
}

/* The same again, in a callback: the connection was dead before it was used. */
static void queue(struct mysqldb_call *call)
{
    int err = take(call);

    if (err < 0)
        end_call_with(call, err, "too many calls wait for a connection");
}

int mysqldb_query(struct mysqldb *db, struct mysqldb_hold *hold,
    const struct mysqlconn_request *request, mysqldb_done_cb done, void *arg,
    struct mysqldb_call **out)
{
    struct mysqldb_call *call;
    int err;

    if (hold && hold->busy)
        return -EBUSY;
    if (hold && hold->lost)
        return -ENOTCONN;
    call = xcalloc(1, sizeof(*call));
    call->wait.done = on_lent;
    call->db = db;
    call->hold = hold;
    call->request = *request;
    call->deadline = clock_now(db->loop) + request->timeout_ms;
    call->done = done;
    call->arg = arg;
    if (hold && hold->link) {
        start(call, hold->link);
    } else {
        err = take(call);
        if (err < 0) {
            free(call);
            return err;
        }
    }
    if (hold)
        hold->busy = true;
    *out = call;
    return 0;
}

void mysqldb_cancel(struct mysqldb_call *call)
{
    struct mysqldb_hold *hold = call->hold;

    if (hold) {
        hold->busy = false;
        hold->lost = true;
    }
    if (call->link)
        lose(call->link, -ECANCELED);
    else
        pool_cancel(&call->wait);
    free(call);
}

struct mysqldb_hold *mysqldb_hold_new(struct mysqldb *db)
{
    struct mysqldb_hold *hold = xcalloc(1, sizeof(*hold));

    hold->db = db;
    return hold;
}

void mysqldb_hold_free(struct mysqldb_hold *hold)
{
    assert(!hold->busy);
    if (hold->link) {
        hold->link->hold = NULL;
        give_back(hold->link);
    }
    free(hold);
}

struct pool_counts mysqldb_counts(const struct mysqldb *db)
{
    return pool_counts(db->pool);
}
