/* phpfloat.h - doubles as decimal text the way PHP writes and reads them.
 *
 * The locale does not matter: no decimal point goes through libc. Sources: PHP
 * main/snprintf.c (php_gcvt) and ext/standard/var_unserializer.re.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_PHPFLOAT_H
#define GW_WIRE_PHPFLOAT_H

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define PHPFLOAT_TEXT_MAX 64 /* bytes; PHP writes at most 25 */

/* The shortest text that reads back: "0.1", "1.0E+25", "3", "-0", "INF",
 * "-INF", "NAN". */
void phpfloat_put(struct buf *out, double value);

/* 0, or -EPROTO when text is not exactly one number. */
int phpfloat_parse(double *out, const uint8_t *text, size_t len);

#endif /* GW_WIRE_PHPFLOAT_H */
