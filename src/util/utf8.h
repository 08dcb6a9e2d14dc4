/* utf8.h - what is UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing
 * above U+10FFFF.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_UTF8_H
#define GW_UTIL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence at p, of which len > 0 are there; 0: not one. */
size_t utf8_len(const uint8_t *p, size_t len);

/* Whether all of it is UTF-8. */
bool utf8_valid(const uint8_t *p, size_t len);

#endif /* GW_UTIL_UTF8_H */
