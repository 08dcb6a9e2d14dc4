/* Bytes and the count of their owners lie in one block, freed with the last
 * reference. What blobs hold is added up in their total for as long. */
#include "util/blob.h"

#include <assert.h>
#include <stdlib.h>

#include "util/alloc.h"

struct blob *blob_new(size_t len, size_t *total)
{
    struct blob *b = xmalloc(sizeof(*b) + len);

    b->refs = 1;
    b->len = len;
    b->total = total;
    if (total)
        *total += len;
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    assert(b->refs < UINT32_MAX);
    b->refs++;
    return b;
}

void blob_unref(struct blob *b)
{
    if (!b || --b->refs > 0)
        return;
    if (b->total)
        *b->total -= b->len;
    free(b);
}
