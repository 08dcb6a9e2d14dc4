/* typos.h - how far two words are apart, for "did you mean".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_TYPOS_H
#define GW_CLI_TYPOS_H

#include <stddef.h>

#define TYPOS_MAX 2 /* more is another word */

/* Insertions, deletions, replacements and swapped neighbours that make one of
 * the other. Case and "_" do not count: lanIp is lan_ip. */
size_t typos_count(const char *word_a, const char *word_b);

#endif /* GW_CLI_TYPOS_H */
