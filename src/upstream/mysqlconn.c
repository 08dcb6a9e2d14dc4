/* libmariadb's calls are steps: start, wait for what it asks for, go on, until
 * the step says which one is next. A connection that failed, or was given up
 * in the middle of a step, is of no further use and is closed, never asked
 * again. */
#include "upstream/mysqlconn.h"

#include <assert.h>
#include <errmsg.h>
#include <errno.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/handle.h"
#include "upstream/mysqlconn_impl.h"
#include "util/alloc.h"

static const struct step connect_step, query_step, text_row_step,
    text_next_step;

/* Errors */

void mysqlconn_fail(struct mysqlconn *c, int err, const char *message)
{
    c->failed = true;
    c->error = (struct mysqlconn_error){.err = err, .sqlstate = "HY000"};
    snprintf(c->error.message, sizeof(c->error.message), "%s", message);
}

/* MySQL 8's number for a session that it ended because nothing was asked;
 * MariaDB's header does not know it. */
#define ER_CLIENT_INTERACTION_TIMEOUT 4031

/* Whether a connection with this error is of no use to others: the server ends
 * it (SQLSTATE class 08 is "connection exception", as 1153, packet too large),
 * or it leads to a server that takes no writes any more after a fail-over. */
static bool is_fatal(unsigned number, const char *sqlstate)
{
    return (number >= CR_MIN_ERROR && number <= CR_MAX_ERROR) ||
           (number >= CER_MIN_ERROR && number <= CER_MAX_ERROR) ||
           strncmp(sqlstate, "08", 2) == 0 || number == ER_SERVER_SHUTDOWN ||
           number == ER_CONNECTION_KILLED ||
           number == ER_NEW_ABORTING_CONNECTION ||
           number == ER_CLIENT_INTERACTION_TIMEOUT ||
           number == ER_OPTION_PREVENTS_STATEMENT ||
           number == ER_READ_ONLY_MODE;
}

const struct step *mysqlconn_fail_with(struct mysqlconn *c, unsigned number,
    const char *sqlstate, const char *message)
{
    int err = -EPROTO;

    if (number == CR_CONNECTION_ERROR || number == CR_CONN_HOST_ERROR)
        err = -ECONNREFUSED;
    else if (number == CR_SERVER_LOST || number == CR_SERVER_GONE_ERROR)
        err = -ECONNRESET;
    mysqlconn_fail(c, err, message);
    c->error.number = number;
    snprintf(c->error.sqlstate, sizeof(c->error.sqlstate), "%s", sqlstate);
    c->broken = c->broken || is_fatal(number, c->error.sqlstate);
    return NULL;
}

static const struct step *fail_mysql(struct mysqlconn *c)
{
    return mysqlconn_fail_with(c, mysql_errno(c->mysql),
        mysql_sqlstate(c->mysql), mysql_error(c->mysql));
}

const struct step *mysqlconn_fail_reading(
    struct mysqlconn *c, const struct step *(*why)(struct mysqlconn *c))
{
    c->broken = true;
    return why(c);
}

const struct step *mysqlconn_fail_size(struct mysqlconn *c)
{
    c->broken = true;
    mysqlconn_fail(c, -EMSGSIZE, "the result is too large");
    return NULL;
}

const struct step *mysqlconn_begin_set(struct mysqlconn *c,
    const MYSQL_FIELD *fields, unsigned count, const struct step *read)
{
    if (c->has_rows) {
        if (++c->nsets > MYSQLCONN_SETS_MAX)
            return mysqlconn_fail_size(c);
        c->bytes += c->set->rows.len;
        c->set->next = xcalloc(1, sizeof(*c->set));
        c->set = c->set->next;
    }
    c->has_rows = true;
    c->set->ncolumns = count;
    for (unsigned i = 0; i < count; i++) /* name_length is not always set */
        buf_append(&c->set->names, fields[i].name, strlen(fields[i].name) + 1);
    return read;
}

/* The loop */

static void drop_poll(struct mysqlconn *c)
{
    if (c->poll)
        handle_close(c->poll, c->poll);
    c->poll = NULL;
    c->events = 0;
}

static void advance(struct mysqlconn *c, int flags);

/* The server says something although nothing was asked: it ends the link. */
static void check_idle(struct mysqlconn *c)
{
    char byte;
    ssize_t n = recv(mysql_get_socket(c->mysql), &byte, 1, MSG_PEEK);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->broken = true;
    drop_poll(c);
    mysqlconn_fail(c, -ECONNRESET, "the server closed the connection");
    c->done(c, &c->error, c->arg);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct mysqlconn *c = poll->data;
    int ready = 0;

    if (!c->step) {
        check_idle(c);
        return;
    }
    if (!c->waiting)
        return;
    if (status < 0 || (events & UV_READABLE))
        ready |= MYSQL_WAIT_READ;
    if (status < 0 || (events & UV_WRITABLE))
        ready |= MYSQL_WAIT_WRITE;
    c->waiting = false;
    c->turn_bytes = 0;
    advance(c, c->step->cont(c, ready));
}

/* Watch the socket for these events; the poll handle is made on first use. */
static int watch(struct mysqlconn *c, int events)
{
    int err;

    if (!c->poll) {
        c->poll = xcalloc(1, sizeof(*c->poll));
        err = uv_poll_init(c->loop, c->poll, mysql_get_socket(c->mysql));
        if (err < 0) {
            free(c->poll);
            c->poll = NULL;
            return err;
        }
        c->poll->data = c;
    }
    if (events == c->events)
        return 0;
    c->events = events;
    return uv_poll_start(c->poll, events, on_poll);
}

/* The request has ended. Last in its caller: c may be gone. */
static void report(struct mysqlconn *c)
{
    uv_timer_stop(&c->timer);
    c->step = NULL;
    c->waiting = false;
    if (c->broken)
        drop_poll(c); /* libmariadb may have closed the socket already */
    else
        watch(c, UV_READABLE);
    c->done(c, c->failed ? &c->error : NULL, c->arg);
}

static void on_later(uv_idle_t *later)
{
    struct mysqlconn *c = later->data;

    uv_idle_stop(later);
    c->turn_bytes = 0;
    if (c->failed)
        report(c);
    else
        advance(c, 0);
}

/* Go on from a step's call that waits for flags. */
static void advance(struct mysqlconn *c, int flags)
{
    while (!flags) {
        const struct step *next;

        if (c->turn_bytes > MYSQLCONN_TURN_BYTES) {
            uv_idle_start(&c->later, on_later);
            return;
        }
        next = c->step->done(c);
        if (!next) {
            report(c);
            return;
        }
        c->step = next;
        flags = next->start(c);
    }
    if (watch(c, (flags & MYSQL_WAIT_READ ? UV_READABLE : 0) |
                     (flags & MYSQL_WAIT_WRITE ? UV_WRITABLE : 0)) < 0) {
        c->broken = true;
        mysqlconn_fail(c, -EIO, "cannot watch the socket");
        report(c);
        return;
    }
    c->waiting = true;
}

/* Begin with a step, inside a public call: its end is told in a later turn. */
static void begin(struct mysqlconn *c, const struct step *step)
{
    int flags;

    c->step = step;
    flags = step->start(c);
    if (flags)
        advance(c, flags);
    else
        uv_idle_start(&c->later, on_later);
}

static void on_timeout(uv_timer_t *timer)
{
    struct mysqlconn *c = timer->data;

    uv_idle_stop(&c->later);
    c->broken = true;
    mysqlconn_fail(c, -ETIMEDOUT, "the server did not answer in time");
    report(c);
}

/* Connecting */

static MYSQL *new_mysql(const struct mysqlconn_conf *conf)
{
    MYSQL *mysql = mysql_init(NULL);
    unsigned no = 0;
    size_t packet = conf->result_max;

    if (!mysql)
        abort();
    mysql_options(mysql, MYSQL_OPT_NONBLOCK, NULL);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
    /* The server could ask for any file of ours. */
    mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &no);
    return mysql;
}

static int start_connect(struct mysqlconn *c)
{
    const struct mysqlconn_conf *conf = c->conf;

    if (c->next_address) {
        uv_ip_name(c->next_address->ai_addr, c->host, sizeof(c->host));
        c->next_address = c->next_address->ai_next;
    }
    drop_poll(c);
    if (c->mysql)
        mysql_close(c->mysql);
    c->mysql = new_mysql(conf);
    return mysql_real_connect_start(&c->connected, c->mysql,
        conf->socket ? NULL : c->host, conf->user, conf->password,
        conf->database, conf->port, conf->socket, 0);
}

static int cont_connect(struct mysqlconn *c, int ready)
{
    return mysql_real_connect_cont(&c->connected, c->mysql, ready);
}

static const struct step *done_connect(struct mysqlconn *c)
{
    if (c->connected)
        return NULL;
    if (c->next_address)
        return &connect_step;
    c->broken = true;
    return fail_mysql(c);
}

static void fail_lookup(struct mysqlconn *c, int err)
{
    c->broken = true;
    mysqlconn_fail(c, err, "cannot look up the host's name");
}

static void on_resolved(int err, struct addrinfo *found, void *arg)
{
    struct mysqlconn *c = arg;

    c->lookup = NULL;
    c->addresses = c->next_address = found;
    if (err == 0) {
        begin(c, &connect_step);
    } else {
        fail_lookup(c, err);
        report(c);
    }
}

static void look_up(struct mysqlconn *c)
{
    const char *host = c->conf->host ? c->conf->host : "127.0.0.1";
    int err = resolve_start(&c->lookup, c->loop, host, 0, on_resolved, c);

    if (err == 0)
        return;
    fail_lookup(c, err);
    uv_idle_start(&c->later, on_later);
}

struct mysqlconn *mysqlconn_open(uv_loop_t *loop,
    const struct mysqlconn_conf *conf, uint64_t timeout_ms,
    mysqlconn_done_cb done, void *arg)
{
    struct mysqlconn *c = xcalloc(1, sizeof(*c));

    c->loop = loop;
    c->conf = conf;
    c->done = done;
    c->arg = arg;
    list_init(&c->ring);
    uv_timer_init(loop, &c->timer);
    uv_idle_init(loop, &c->later);
    c->timer.data = c->later.data = c;
    uv_timer_start(&c->timer, on_timeout, timeout_ms, 0);
    c->step = &connect_step;
    if (conf->socket)
        begin(c, &connect_step);
    else
        look_up(c);
    return c;
}

/* Pings */

/* The first step for the request. */
static const struct step *begin_request(struct mysqlconn *c)
{
    return c->request.params ? mysqlstmt_begin(c) : &query_step;
}

static int start_ping(struct mysqlconn *c)
{
    return mysql_ping_start(&c->ret, c->mysql);
}

static int cont_ping(struct mysqlconn *c, int ready)
{
    return mysql_ping_cont(&c->ret, c->mysql, ready);
}

static const struct step *done_ping(struct mysqlconn *c)
{
    if (c->ret == 0)
        return begin_request(c);
    c->broken = true;
    c->unsent = true;
    return fail_mysql(c);
}

/* Plain queries */

bool mysqlconn_count_row(struct mysqlconn *c, size_t len_before)
{
    c->set->nrows++;
    c->turn_bytes += c->set->rows.len - len_before + 1;
    return c->bytes + c->set->rows.len <= c->conf->result_max;
}

static void put_text_field(struct mysqlrow_result *r, const MYSQL_FIELD *field,
    const char *text, size_t len)
{
    struct mysqlrow_value v = {.kind = MYSQLROW_TEXT, .text = text, .len = len};

    if (!text) {
        v.kind = MYSQLROW_NULL;
    } else if (field->type == MYSQL_TYPE_BIT) {
        mysqlrow_put_bits(r, (const uint8_t *)text, len);
        return;
    } else if (field->type == MYSQL_TYPE_FLOAT ||
               field->type == MYSQL_TYPE_DOUBLE) {
        v.kind = MYSQLROW_DOUBLE;
        v.number = strtod(text, NULL);
    } else if (IS_NUM(field->type) && field->type != MYSQL_TYPE_DECIMAL &&
               field->type != MYSQL_TYPE_NEWDECIMAL &&
               field->type != MYSQL_TYPE_TIMESTAMP) {
        mysqlrow_put_digits(r, text, len);
        return;
    }
    mysqlrow_put(r, &v);
}

void mysqlconn_note_effect(
    struct mysqlconn *c, uint64_t affected, uint64_t insert_id)
{
    if (c->has_rows)
        return;
    c->result.affected = affected;
    c->result.insert_id = insert_id;
}

static const struct step *next_text_set(struct mysqlconn *c)
{
    c->result.warnings = mysql_warning_count(c->mysql);
    return mysql_more_results(c->mysql) ? &text_next_step : NULL;
}

/* A result begins: rows, or only what the statement did. */
static const struct step *open_text_set(struct mysqlconn *c)
{
    unsigned count = mysql_field_count(c->mysql);

    if (count == 0) {
        mysqlconn_note_effect(
            c, mysql_affected_rows(c->mysql), mysql_insert_id(c->mysql));
        return next_text_set(c);
    }
    c->rows = mysql_use_result(c->mysql);
    if (!c->rows)
        return mysqlconn_fail_reading(c, fail_mysql);
    return mysqlconn_begin_set(
        c, mysql_fetch_fields(c->rows), count, &text_row_step);
}

static int start_query(struct mysqlconn *c)
{
    return mysql_real_query_start(
        &c->ret, c->mysql, c->request.sql, c->request.len);
}

static int cont_query(struct mysqlconn *c, int ready)
{
    return mysql_real_query_cont(&c->ret, c->mysql, ready);
}

static const struct step *done_query(struct mysqlconn *c)
{
    return c->ret == 0 ? open_text_set(c) : fail_mysql(c);
}

static int start_text_row(struct mysqlconn *c)
{
    return mysql_fetch_row_start(&c->row, c->rows);
}

static int cont_text_row(struct mysqlconn *c, int ready)
{
    return mysql_fetch_row_cont(&c->row, c->rows, ready);
}

static const struct step *done_text_row(struct mysqlconn *c)
{
    const MYSQL_FIELD *fields;
    const unsigned long *lens;
    size_t before = c->set->rows.len;

    if (!c->row) {
        if (mysql_errno(c->mysql) != 0)
            return mysqlconn_fail_reading(c, fail_mysql);
        mysql_free_result(c->rows);
        c->rows = NULL;
        return next_text_set(c);
    }
    fields = mysql_fetch_fields(c->rows);
    lens = mysql_fetch_lengths(c->rows);
    for (size_t i = 0; i < c->set->ncolumns; i++)
        put_text_field(c->set, &fields[i], c->row[i], lens[i]);
    return mysqlconn_count_row(c, before) ? &text_row_step
                                          : mysqlconn_fail_size(c);
}

static int start_text_next(struct mysqlconn *c)
{
    return mysql_next_result_start(&c->ret, c->mysql);
}

static int cont_text_next(struct mysqlconn *c, int ready)
{
    return mysql_next_result_cont(&c->ret, c->mysql, ready);
}

static const struct step *done_text_next(struct mysqlconn *c)
{
    return c->ret == 0 ? open_text_set(c) : fail_mysql(c);
}

static const struct step connect_step = {
    start_connect, cont_connect, done_connect};
static const struct step ping_step = {start_ping, cont_ping, done_ping};
static const struct step query_step = {start_query, cont_query, done_query};
static const struct step text_row_step = {
    start_text_row, cont_text_row, done_text_row};
static const struct step text_next_step = {
    start_text_next, cont_text_next, done_text_next};

/* The public calls */

void mysqlconn_run(struct mysqlconn *c, const struct mysqlconn_request *request)
{
    assert(!c->step && !c->broken);
    mysqlrow_fini(&c->result);
    c->result = (struct mysqlrow_result){0};
    c->set = &c->result;
    c->nsets = 1;
    c->bytes = 0;
    c->request = *request;
    mysqlstmt_unbind(c);
    c->has_rows = false;
    c->failed = false;
    c->unsent = false;
    c->turn_bytes = 0;
    uv_timer_start(&c->timer, on_timeout, request->timeout_ms, 0);
    begin(c, request->ping ? &ping_step : begin_request(c));
}

void mysqlconn_take_result(struct mysqlconn *c, struct mysqlrow_result *out)
{
    *out = c->result;
    c->result = (struct mysqlrow_result){0};
}

bool mysqlconn_broken(const struct mysqlconn *c)
{
    return c->broken;
}

bool mysqlconn_unsent(const struct mysqlconn *c)
{
    return c->unsent;
}

bool mysqlconn_in_transaction(const struct mysqlconn *c)
{
    return c->mysql->server_status & SERVER_STATUS_IN_TRANS;
}

bool mysqlconn_autocommit(const struct mysqlconn *c)
{
    return c->mysql->server_status & SERVER_STATUS_AUTOCOMMIT;
}

/* Free what belongs to libmariadb. It must not wait for the server, so that
 * hears nothing more when something is under way. */
static void end_mysql(struct mysqlconn *c)
{
    if (!c->mysql)
        return;
    if (c->step || c->broken)
        shutdown(mysql_get_socket(c->mysql), SHUT_RDWR);
    drop_poll(c);
    mysql_close(c->mysql);
    if (c->rows)
        mysql_free_result(c->rows);
    mysqlstmt_free_all(c);
}

void mysqlconn_close(struct mysqlconn *c)
{
    end_mysql(c);
    mysqlstmt_unbind(c);
    mysqlrow_fini(&c->result);
    if (c->lookup)
        resolve_cancel(c->lookup);
    uv_freeaddrinfo(c->addresses);
    handle_close_both(&c->timer, &c->later, c);
}
