/* Spare blocks are kept in lists by size, up to HEAP_SMALL_MAX; larger ones are
 * malloc()'s. What Lua has, and what is spare, is counted; all spare ones go in
 * heap_fini(). */
#include "worker/heap.h"

#include <stdlib.h>
#include <string.h>

/* A spare block: its first bytes are the next one's address. */
struct spare {
    struct spare *next;
};

/* The place in spare of a block of this size, which is not 0. */
static size_t class_of(size_t size)
{
    return (size - 1) / HEAP_STEP;
}

static void *take(struct heap *h, size_t size)
{
    size_t class = class_of(size);
    struct spare *s;

    if (size > HEAP_SMALL_MAX)
        return malloc(size);
    s = h->spare[class];
    if (!s)
        return malloc((class + 1) * HEAP_STEP);
    h->spare[class] = s->next;
    h->kept -= (class + 1) * HEAP_STEP;
    return s;
}

static void give_back(struct heap *h, void *ptr, size_t size)
{
    size_t class = class_of(size);
    struct spare *s = ptr;

    if (size > HEAP_SMALL_MAX || h->kept >= HEAP_KEEP_MAX) {
        free(ptr);
        return;
    }
    s->next = h->spare[class];
    h->spare[class] = s;
    h->kept += (class + 1) * HEAP_STEP;
}

/* NULL when malloc() has nothing, then ptr stays as it is. */
static void *resize(struct heap *h, void *ptr, size_t osize, size_t nsize)
{
    void *p;

    if (osize > HEAP_SMALL_MAX && nsize > HEAP_SMALL_MAX)
        return realloc(ptr, nsize);
    if (osize <= HEAP_SMALL_MAX && nsize <= HEAP_SMALL_MAX &&
        class_of(osize) == class_of(nsize))
        return ptr;
    p = take(h, nsize);
    if (!p)
        return NULL;
    memcpy(p, ptr, osize < nsize ? osize : nsize);
    give_back(h, ptr, osize);
    return p;
}

void *heap_alloc(void *heap, void *ptr, size_t osize, size_t nsize)
{
    struct heap *h = heap;
    size_t old = ptr ? osize : 0; /* without ptr, osize is a type */
    void *p;

    if (nsize == 0) {
        if (ptr)
            give_back(h, ptr, old);
        h->used -= old;
        return NULL;
    }
    if (nsize > old && nsize - old > h->max - h->used) {
        h->refused = true;
        return NULL;
    }
    p = ptr ? resize(h, ptr, old, nsize) : take(h, nsize);
    if (!p && nsize > old)
        return NULL;
    h->used = h->used - old + nsize;
    return p ? p : ptr;
}

void heap_fini(struct heap *h)
{
    for (size_t i = 0; i < sizeof(h->spare) / sizeof(h->spare[0]); i++) {
        while (h->spare[i]) {
            struct spare *s = h->spare[i];

            h->spare[i] = s->next;
            free(s);
        }
    }
    h->kept = 0;
}
