/* heap.h - the memory of one Lua state: counted, limited, and with its small
 * blocks kept for the next who wants one.
 *
 * Lua's collector frees thousands of small blocks in one go, of which malloc()
 * keeps seven of a size at hand and merges the others, to split them again for
 * the next messages.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_HEAP_H
#define GW_WORKER_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#define HEAP_SMALL_MAX 256               /* bytes of a block that is kept */
#define HEAP_STEP      16                /* bytes between two sizes of them */
#define HEAP_KEEP_MAX  (4 * 1024 * 1024) /* bytes kept in all */

/* Embedded in its owner, who sets max; all zeros else. */
struct heap {
    size_t used;  /* bytes that Lua has */
    size_t max;   /* bytes it may have */
    bool refused; /* Lua wanted more; the owner takes it back */
    size_t kept;  /* bytes in spare */
    void *spare[HEAP_SMALL_MAX / HEAP_STEP]; /* owned; by size */
};

/* A lua_Alloc whose ud is the heap. NULL when used would exceed max; what
 * shrinks never fails. */
void *heap_alloc(void *heap, void *ptr, size_t osize, size_t nsize);

/* Give back what is kept; the state is closed. */
void heap_fini(struct heap *h);

#endif /* GW_WORKER_HEAP_H */
