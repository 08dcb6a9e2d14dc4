/* words.h - the words of commands to Redis: texts, numbers, and keys, which
 * begin with the cluster's name; and the scripts that an EVAL carries.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_WORDS_H
#define GW_ENGINE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upstream/redisvalue.h"
#include "util/buf.h"

/* In front of a script that needs the server's time, in seconds. */
#define WORDS_NOW                      \
    "local now = redis.call('TIME')\n" \
    "now = now[1] .. string.format('.%03d', math.floor(now[2] / 1000))\n"

/* Append one word. */
void words_text(struct buf *out, const char *word);
void words_number(struct buf *out, uint64_t n);

/* CLUSTER:KIND and the name, as one word. */
void words_key(
    struct buf *out, const char *cluster, const char *kind, const char *name);

/* The head of an EVAL: so many keys, then so many arguments, are to follow. */
void words_eval(
    struct buf *out, const char *script, size_t keys, size_t arguments);

/* Is that what the server said? */
bool words_are(const struct redisvalue *v, const char *text);

#endif /* GW_ENGINE_WORDS_H */
