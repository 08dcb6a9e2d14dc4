/* phpjson.h - JSON text as PHP's json_encode() writes it by default.
 *
 * Byte for byte, so that captured traffic can be compared: '/' becomes \/ and
 * everything outside ASCII \uXXXX. Reading is jansson's business.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_PHPJSON_H
#define GW_WIRE_PHPJSON_H

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

/* A string with its quotes. What is not UTF-8 becomes U+FFFD: JSON has no
 * way to carry it. */
void phpjson_put_string(struct buf *out, const void *text, size_t len);

void phpjson_put_uint(struct buf *out, uint32_t value);

#endif /* GW_WIRE_PHPJSON_H */
