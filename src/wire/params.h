/* params.h - named values as PHP's request arrays hold them, built from query
 * strings and cookies.
 *
 * In a query, a=1&b[]=2&b[x][y]=3 becomes nested arrays, "+" and %XX are
 * decoded, dots and spaces in names become "_", a repeated name keeps its place
 * and takes the new value. Source: PHP main/php_variables.c,
 * php_register_variable_ex().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_PARAMS_H
#define GW_WIRE_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define PARAMS_VARS_MAX  1000 /* names in one text; more are left out */
#define PARAMS_DEPTH_MAX 32   /* of a[b][c]…; deeper ones are left out */

/* Append the serialized array of a query string ("a=1&b[]=2"). How many names
 * are left out. */
size_t params_put_query(struct buf *out, const char *query);

/* The same of a Cookie header ("a=1; b=2"), as Workerman 5 does it: names and
 * values stay as they were sent, nothing is decoded or nested, and what has no
 * "=" is left out. */
size_t params_put_cookies(struct buf *out, const char *header);

#endif /* GW_WIRE_PARAMS_H */
