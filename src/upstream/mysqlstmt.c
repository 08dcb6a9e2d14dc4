/* Prepared statements of one MySQL connection: prepare, bind, execute, fetch,
 * each a call that may go on later when the socket is ready. Results are
 * turned into rows of values while the library's buffers live; nothing handed
 * out points into them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "upstream/mysqlconn_impl.h"
#include "util/alloc.h"

/* Steps of statements with parameters: prepared once, then executed. */

static const struct step evict_step, prepare_step, execute_step, row_step,
    next_step;

static const struct step *fail_stmt(struct mysqlconn *c)
{
    MYSQL_STMT *stmt = c->current->stmt;

    return mysqlconn_fail_with(c, mysql_stmt_errno(stmt),
        mysql_stmt_sqlstate(stmt), mysql_stmt_error(stmt));
}

/* Its memory; the server is not told. */
static void free_statement(struct mysqlconn *c, struct statement *s)
{
    HASH_DEL(c->statements, s);
    list_remove(&s->node);
    free(s->sql);
    free(s);
}

static struct statement *find_statement(
    struct mysqlconn *c, const char *sql, size_t len)
{
    struct statement *s;

    HASH_FIND(hh, c->statements, sql, len, s);
    return s;
}

static const struct step *add_statement(struct mysqlconn *c)
{
    struct statement *s = xcalloc(1, sizeof(*s));

    s->sql = xmemdup(c->request.sql, c->request.len);
    s->stmt = mysql_stmt_init(c->mysql);
    if (!s->stmt)
        abort();
    HASH_ADD_KEYPTR(hh, c->statements, s->sql, c->request.len, s);
    list_push_back(&c->ring, &s->node);
    c->current = s;
    return &prepare_step;
}

static int start_evict(struct mysqlconn *c)
{
    c->current = LIST_ENTRY(c->ring.next, struct statement, node);
    return mysql_stmt_close_start(&c->bool_ret, c->current->stmt);
}

static int cont_evict(struct mysqlconn *c, int ready)
{
    return mysql_stmt_close_cont(&c->bool_ret, c->current->stmt, ready);
}

static const struct step *done_evict(struct mysqlconn *c)
{
    free_statement(c, c->current);
    return add_statement(c);
}

const struct step *mysqlstmt_begin(struct mysqlconn *c)
{
    c->current = find_statement(c, c->request.sql, c->request.len);
    if (c->current) {
        list_remove(&c->current->node);
        list_push_back(&c->ring, &c->current->node);
        return &execute_step;
    }
    if (HASH_COUNT(c->statements) >= MYSQLCONN_STATEMENTS_MAX)
        return &evict_step;
    return add_statement(c);
}

static int start_prepare(struct mysqlconn *c)
{
    return mysql_stmt_prepare_start(
        &c->ret, c->current->stmt, c->request.sql, c->request.len);
}

static int cont_prepare(struct mysqlconn *c, int ready)
{
    return mysql_stmt_prepare_cont(&c->ret, c->current->stmt, ready);
}

static const struct step *done_prepare(struct mysqlconn *c)
{
    if (c->ret == 0)
        return &execute_step;
    fail_stmt(c);
    mysql_stmt_close(c->current->stmt); /* not known to the server */
    free_statement(c, c->current);
    return NULL;
}

static void bind_param(MYSQL_BIND *bind, const struct mysqlrow_value *v)
{
    switch (v->kind) {
    case MYSQLROW_NULL:
        bind->buffer_type = MYSQL_TYPE_NULL;
        break;
    case MYSQLROW_INT:
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->buffer = (void *)&v->integer;
        break;
    case MYSQLROW_DOUBLE:
        bind->buffer_type = MYSQL_TYPE_DOUBLE;
        bind->buffer = (void *)&v->number;
        break;
    case MYSQLROW_TEXT:
        bind->buffer_type = MYSQL_TYPE_STRING;
        bind->buffer = (void *)v->text;
        bind->buffer_length = v->len;
        break;
    }
}

/* libmariadb copies the binds and borrows what they point to. */
static int start_execute(struct mysqlconn *c)
{
    const struct mysqlconn_request *request = &c->request;
    MYSQL_STMT *stmt = c->current->stmt;
    MYSQL_BIND *binds;

    if (mysql_stmt_param_count(stmt) != request->nparams) {
        mysqlconn_fail(
            c, -EINVAL, "the statement has another number of parameters");
        return 0;
    }
    if (request->nparams > 0) {
        binds = xcalloc(request->nparams, sizeof(*binds));
        for (size_t i = 0; i < request->nparams; i++)
            bind_param(&binds[i], &request->params[i]);
        mysql_stmt_bind_param(stmt, binds);
        free(binds);
    }
    /* What columns there are it shall learn anew: the table may have changed,
     * which libmariadb would call an error. */
    stmt->field_count = 0;
    return mysql_stmt_execute_start(&c->ret, stmt);
}

static int cont_execute(struct mysqlconn *c, int ready)
{
    return mysql_stmt_execute_cont(&c->ret, c->current->stmt, ready);
}

static void bind_column(
    MYSQL_BIND *bind, struct column *column, const MYSQL_FIELD *field)
{
    column->type = field->type;
    bind->is_null = &column->is_null;
    bind->length = &column->len;
    bind->error = &column->truncated;
    bind->is_unsigned = (field->flags & UNSIGNED_FLAG) != 0;
    switch (field->type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->buffer = &column->integer;
        column->type = MYSQL_TYPE_LONGLONG;
        break;
    case MYSQL_TYPE_DOUBLE:
        bind->buffer_type = MYSQL_TYPE_DOUBLE;
        bind->buffer = &column->number;
        break;
    default: /* a float too: 0.1 shall not become 0.10000000149 */
        bind->buffer_type = MYSQL_TYPE_STRING;
        bind->buffer = column->text;
        bind->buffer_length = SHORT_TEXT;
    }
}

void mysqlstmt_unbind(struct mysqlconn *c)
{
    free(c->binds);
    free(c->columns);
    c->binds = NULL;
    c->columns = NULL;
    c->ncolumns = 0;
}

static const struct step *next_set(struct mysqlconn *c)
{
    MYSQL_STMT *stmt = c->current->stmt;

    mysqlstmt_unbind(c);
    c->result.warnings = mysql_stmt_warning_count(stmt);
    return mysql_stmt_more_results(stmt) ? &next_step : NULL;
}

static const struct step *open_set(struct mysqlconn *c)
{
    MYSQL_STMT *stmt = c->current->stmt;
    MYSQL_RES *meta = mysql_stmt_result_metadata(stmt);
    const MYSQL_FIELD *fields;
    const struct step *step;

    if (!meta) {
        mysqlconn_note_effect(
            c, mysql_stmt_affected_rows(stmt), mysql_stmt_insert_id(stmt));
        return next_set(c);
    }
    c->ncolumns = mysql_num_fields(meta);
    c->binds = xcalloc(c->ncolumns, sizeof(*c->binds));
    c->columns = xcalloc(c->ncolumns, sizeof(*c->columns));
    fields = mysql_fetch_fields(meta);
    for (unsigned i = 0; i < c->ncolumns; i++)
        bind_column(&c->binds[i], &c->columns[i], &fields[i]);
    step = mysqlconn_begin_set(c, fields, c->ncolumns, &row_step);
    mysql_free_result(meta);
    if (step && mysql_stmt_bind_result(stmt, c->binds))
        return mysqlconn_fail_reading(c, fail_stmt);
    return step;
}

static const struct step *done_execute(struct mysqlconn *c)
{
    if (c->failed) /* it was not started */
        return NULL;
    return c->ret == 0 ? open_set(c) : fail_stmt(c);
}

static int start_row(struct mysqlconn *c)
{
    return mysql_stmt_fetch_start(&c->ret, c->current->stmt);
}

static int cont_row(struct mysqlconn *c, int ready)
{
    return mysql_stmt_fetch_cont(&c->ret, c->current->stmt, ready);
}

/* A value longer than the column's own buffer. */
static bool put_long_text(struct mysqlconn *c, unsigned i)
{
    unsigned long len = c->columns[i].len;
    MYSQL_BIND bind = c->binds[i];

    if (len > c->conf->result_max)
        return false;
    bind.buffer = mysqlrow_put_text(c->set, len);
    bind.buffer_length = len;
    mysql_stmt_fetch_column(c->current->stmt, &bind, i, 0);
    return true;
}

static void put_column(
    struct mysqlrow_result *r, struct column *column, bool is_unsigned)
{
    struct mysqlrow_value v = {.kind = MYSQLROW_TEXT,
        .text = column->text,
        .len = column->len,
        .integer = column->integer,
        .number = column->number};
    char digits[24];
    int n;

    if (column->is_null) {
        v.kind = MYSQLROW_NULL;
    } else if (column->type == MYSQL_TYPE_LONGLONG) {
        v.kind = MYSQLROW_INT;
        if (is_unsigned && column->integer < 0) {
            n = snprintf(digits, sizeof(digits), "%llu",
                (unsigned long long)column->integer);
            mysqlrow_put_digits(r, digits, (size_t)n);
            return;
        }
    } else if (column->type == MYSQL_TYPE_DOUBLE) {
        v.kind = MYSQLROW_DOUBLE;
    } else if (column->type == MYSQL_TYPE_FLOAT) {
        column->text[column->len] = '\0';
        v.kind = MYSQLROW_DOUBLE;
        v.number = strtod(column->text, NULL);
    } else if (column->type == MYSQL_TYPE_BIT) {
        mysqlrow_put_bits(r, (const uint8_t *)column->text, column->len);
        return;
    }
    mysqlrow_put(r, &v);
}

static const struct step *done_row(struct mysqlconn *c)
{
    size_t before = c->set->rows.len;

    if (c->ret == MYSQL_NO_DATA) {
        mysql_stmt_free_result(c->current->stmt);
        return next_set(c);
    }
    if (c->ret != 0 && c->ret != MYSQL_DATA_TRUNCATED)
        return mysqlconn_fail_reading(c, fail_stmt);
    for (unsigned i = 0; i < c->ncolumns; i++) {
        struct column *column = &c->columns[i];

        if (column->is_null || c->binds[i].buffer != column->text ||
            column->len <= SHORT_TEXT)
            put_column(c->set, column, c->binds[i].is_unsigned);
        else if (!put_long_text(c, i))
            return mysqlconn_fail_size(c);
    }
    return mysqlconn_count_row(c, before) ? &row_step : mysqlconn_fail_size(c);
}

static int start_next(struct mysqlconn *c)
{
    return mysql_stmt_next_result_start(&c->ret, c->current->stmt);
}

static int cont_next(struct mysqlconn *c, int ready)
{
    return mysql_stmt_next_result_cont(&c->ret, c->current->stmt, ready);
}

static const struct step *done_next(struct mysqlconn *c)
{
    return c->ret == 0 ? open_set(c) : mysqlconn_fail_reading(c, fail_stmt);
}

static const struct step evict_step = {start_evict, cont_evict, done_evict};
static const struct step prepare_step = {
    start_prepare, cont_prepare, done_prepare};
static const struct step execute_step = {
    start_execute, cont_execute, done_execute};
static const struct step row_step = {start_row, cont_row, done_row};
static const struct step next_step = {start_next, cont_next, done_next};

void mysqlstmt_free_all(struct mysqlconn *c)
{
    struct statement *s, *tmp;

    MAP_FOREACH (hh, c->statements, s, tmp) {
        mysql_stmt_close(s->stmt);
        free_statement(c, s);
    }
}
