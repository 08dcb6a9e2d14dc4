/* phpjson.h - JSON text as PHP's json_encode() writes it by default.
 *
 * Byte for byte, so that captured traffic can be compared: '/' becomes \/ and
 * everything outside ASCII \uXXXX, except in phpjson_put_value(). Reading is
 * jansson's business.
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

#define PHPJSON_MAX_LEN (64 << 20) /* bytes of text; more is -E2BIG */

/* What json_encode(unserialize(…), JSON_UNESCAPED_UNICODE) gives, but for what
 * is not UTF-8: that stays as it is. 0; -ENOTSUP for an object, a reference,
 * INF or NAN; -EPROTO, -E2BIG as phpser_next(); out is untouched then. */
int phpjson_put_value(struct buf *out, const void *serialized, size_t len);

#endif /* GW_WIRE_PHPJSON_H */
