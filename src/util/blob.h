/* blob.h - an immutable payload that many queues share by reference.
 *
 * A broadcast is encoded once into a blob; every client's queue holds a
 * reference. Not thread-safe: one loop, one thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_BLOB_H
#define GW_UTIL_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct blob {
    uint32_t refs;
    size_t len;    /* bytes in data */
    size_t *total; /* borrowed, or NULL */
    uint8_t data[];
};

/* A new blob of len bytes, uninitialised, with one reference. The creator
 * fills data before sharing it. While it lives *total, which may be NULL, is so
 * much more. */
struct blob *blob_new(size_t len, size_t *total);

/* One more reference; returns b. */
struct blob *blob_ref(struct blob *b);

/* One reference less; the last one frees it. NULL is allowed. */
void blob_unref(struct blob *b);

#endif /* GW_UTIL_BLOB_H */
