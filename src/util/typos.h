/* typos.h - how far two words are apart, for "did you mean".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_TYPOS_H
#define GW_UTIL_TYPOS_H

#include <stddef.h>

#define TYPOS_MAX 2 /* more is another word */

/* Insertions, deletions, replacements and swapped neighbours that make one of
 * the other. Case and "_" do not count: lanIp is lan_ip. */
size_t typos_count(const char *word_a, const char *word_b);

/* The word that was meant, of a NULL-terminated list; or NULL. */
const char *typos_meant(const char *word, const char *const *known);

#endif /* GW_UTIL_TYPOS_H */
