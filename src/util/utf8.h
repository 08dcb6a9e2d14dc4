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

#include "util/buf.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Bytes of the sequence at p, of which len > 0 are there; 0: not one. */
size_t utf8_len(const uint8_t *p, size_t len);

/* Bytes of whole characters at the start; a run of ASCII costs little. */
size_t utf8_valid_len(const uint8_t *p, size_t len);

/* The character of n = utf8_len() > 0 bytes at p. */
uint32_t utf8_decode(const uint8_t *p, size_t n);

/* Whether all of it is UTF-8. */
bool utf8_valid(const uint8_t *p, size_t len);

/* Append it to out with U+FFFD in place of what is not UTF-8, as browsers
 * decode: one for the beginning of a character as far as that goes, one for
 * each other byte (Unicode 3.9, "substitution of maximal subparts"). How many
 * were put in. */
size_t utf8_repair(struct buf *out, const uint8_t *p, size_t len);

/* As utf8_len(), but 0, too, for what must not go to a terminal or into a line
 * of text as it is: control characters (tab and newline are some), separators
 * of lines, and marks that turn the direction of the text around them or that
 * nobody sees. */
size_t utf8_plain_len(const uint8_t *p, size_t len);

/* Put a question mark for each byte of what is not plain, in place; but the
 * characters in keep stay. */
void utf8_make_plain(char *text, const char *keep);

#endif /* GW_UTIL_UTF8_H */
