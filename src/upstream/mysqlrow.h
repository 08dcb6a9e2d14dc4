/* mysqlrow.h - values that go to a MySQL server and come back from it.
 *
 * A result is a copy of its own: it outlives the statement and the connection.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_MYSQLROW_H
#define GW_UPSTREAM_MYSQLROW_H

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

enum mysqlrow_kind {
    MYSQLROW_NULL,
    MYSQLROW_INT,    /* integers that fit into 64 bits with a sign */
    MYSQLROW_DOUBLE, /* float, double */
    MYSQLROW_TEXT, /* all else: text, blobs, decimals, dates, large integers */
};

struct mysqlrow_value {
    enum mysqlrow_kind kind;
    int64_t integer;
    double number;
    const char *text; /* borrowed; from the result, or from who asks */
    size_t len;
};

struct mysqlrow_result {
    size_t ncolumns;  /* 0: the statement gives no rows */
    struct buf names; /* one NUL-terminated string a column */
    size_t nrows;
    struct buf rows; /* ncolumns values a row, encoded one after another */
    uint64_t affected;
    uint64_t insert_id;
    unsigned warnings;
    struct mysqlrow_result
        *next; /* owned; a CALL's next set of rows, or NULL */
};

/* All zeros is a valid empty result. Frees the next ones, too. */
void mysqlrow_fini(struct mysqlrow_result *r);

/* Append a value to the row that is being written. TEXT is copied. */
void mysqlrow_put(struct mysqlrow_result *r, const struct mysqlrow_value *v);

/* Append TEXT of len bytes and return where they go. */
uint8_t *mysqlrow_put_text(struct mysqlrow_result *r, size_t len);

/* Append a number written as text: INT, or TEXT when it does not fit. */
void mysqlrow_put_digits(
    struct mysqlrow_result *r, const char *text, size_t len);

/* Append the integer that up to 8 big-endian bytes are (BIT columns). */
void mysqlrow_put_bits(
    struct mysqlrow_result *r, const uint8_t *bytes, size_t len);

/* Read the next value; *offset starts as 0. */
void mysqlrow_next(const struct mysqlrow_result *r, size_t *offset,
    struct mysqlrow_value *out);

#endif /* GW_UPSTREAM_MYSQLROW_H */
