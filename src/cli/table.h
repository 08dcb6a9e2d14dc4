/* table.h - rows of text in aligned columns.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_TABLE_H
#define GW_CLI_TABLE_H

#include <stdio.h>

#define TABLE_COLUMNS_MAX 16

struct table;

/* One letter a column: "l" left, "r" right aligned. The caller ends it with
 * table_free(). */
struct table *table_new(const char *align);
void table_free(struct table *t);

/* Add a cell; after the last column a new row begins. Text is copied, with
 * "?" for what is not plain (utf8_plain_len()). */
void table_add(struct table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void table_print(const struct table *t, FILE *out);

#endif /* GW_CLI_TABLE_H */
