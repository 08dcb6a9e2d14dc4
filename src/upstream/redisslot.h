/* redisslot.h - in which of a Redis Cluster's slots a key is.
 *
 * As the Redis Cluster Specification has it ("Key distribution model", "Hash
 * tags"; https://redis.io/docs/latest/operate/oss_and_stack/reference/
 * cluster-spec/): CRC16 in its XMODEM form, of the text between the key's first
 * "{" and the next "}" if there is some, else of all of the key.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_REDISSLOT_H
#define GW_UPSTREAM_REDISSLOT_H

#include <stddef.h>

#define REDISSLOT_COUNT 16384 /* slots of every cluster */

/* From 0 to REDISSLOT_COUNT - 1. */
unsigned redisslot_of(const char *key, size_t len);

#endif /* GW_UPSTREAM_REDISSLOT_H */
