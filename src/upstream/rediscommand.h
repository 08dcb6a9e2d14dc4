/* rediscommand.h - commands as a Redis server reads them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_REDISCOMMAND_H
#define GW_UPSTREAM_REDISCOMMAND_H

#include <stddef.h>

#include "util/buf.h"

/* Append the head of a command of that many words, then each word. */
void rediscommand_begin(struct buf *out, size_t words);
void rediscommand_word(struct buf *out, const char *word, size_t len);

/* A whole command; words end with NULL. */
void rediscommand_put(struct buf *out, const char *const *words);

/* AUTH; user may be NULL. */
void rediscommand_auth(struct buf *out, const char *user, const char *password);

#endif /* GW_UPSTREAM_REDISCOMMAND_H */
