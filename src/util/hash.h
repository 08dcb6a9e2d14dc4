/* hash.h - uthash with a seeded hash, so that names chosen by a peer cannot be
 * made to collide.
 *
 * Include this instead of <uthash.h>. SipHash-2-4 after Aumasson and
 * Bernstein, "SipHash: a fast short-input PRF" (2012).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_HASH_H
#define GW_UTIL_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* SipHash-2-4 of len bytes under a 16-byte key. */
uint64_t hash_siphash(const void *data, size_t len, const uint8_t key[16]);

/* SipHash under a key drawn at random once per process. */
uint32_t hash_bytes(const void *data, size_t len);

#define HASH_FUNCTION(keyptr, keylen, hashv) \
    ((hashv) = hash_bytes((keyptr), (keylen)))
#define uthash_malloc(size)    xmalloc(size)
#define uthash_free(ptr, size) free(ptr)

#include "util/alloc.h"
#include <uthash.h>

/* As HASH_ITER; the body may delete el. */
#define MAP_FOREACH(hh, head, el, tmp) HASH_ITER(hh, head, el, tmp)

#endif /* GW_UTIL_HASH_H */
