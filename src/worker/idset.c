/* Open addressing with linear probing; removal moves later entries back, so
 * that there are no tombstones. */
#include "worker/idset.h"

#include <stdlib.h>

#include "util/alloc.h"

#define IDSET_SIZE_MIN 16

static size_t home(const struct idset *s, uint32_t id)
{
    return (size_t)((id * 0x9e3779b97f4a7c15ULL) >> 32) & (s->size - 1);
}

/* Where id is, or the free slot where it belongs. */
static size_t locate(const struct idset *s, uint32_t id)
{
    size_t i = home(s, id);

    while (s->slots[i] != 0 && s->slots[i] != id)
        i = (i + 1) & (s->size - 1);
    return i;
}

static void resize(struct idset *s, size_t size)
{
    struct idset bigger = {xcalloc(size, sizeof(uint32_t)), size, s->count};

    for (size_t i = 0; i < s->size; i++) {
        if (s->slots[i] != 0)
            bigger.slots[locate(&bigger, s->slots[i])] = s->slots[i];
    }
    free(s->slots);
    *s = bigger;
}

void idset_fini(struct idset *s)
{
    free(s->slots);
    *s = (struct idset){0};
}

void idset_add(struct idset *s, uint32_t id)
{
    size_t i;

    if (id == 0)
        return;
    if ((s->count + 1) * 4 > s->size * 3)
        resize(s, s->size > 0 ? s->size * 2 : IDSET_SIZE_MIN);
    i = locate(s, id);
    if (s->slots[i] == 0)
        s->count++;
    s->slots[i] = id;
}

void idset_remove(struct idset *s, uint32_t id)
{
    size_t hole, i;

    if (!idset_has(s, id))
        return;
    hole = locate(s, id);
    s->slots[hole] = 0;
    s->count--;
    for (i = (hole + 1) & (s->size - 1); s->slots[i] != 0;
         i = (i + 1) & (s->size - 1)) {
        size_t from_home = (i - home(s, s->slots[i])) & (s->size - 1);
        size_t from_hole = (i - hole) & (s->size - 1);

        if (from_home < from_hole)
            continue;
        s->slots[hole] = s->slots[i];
        s->slots[i] = 0;
        hole = i;
    }
    if (s->size > IDSET_SIZE_MIN && s->count * 8 < s->size)
        resize(s, s->size / 2);
}

bool idset_has(const struct idset *s, uint32_t id)
{
    return s->count > 0 && id != 0 && s->slots[locate(s, id)] == id;
}

uint32_t idset_pop(struct idset *s)
{
    uint32_t id;

    if (s->count == 0)
        return 0;
    /* The next entry behind where a changing id would be: no scan from 0. */
    for (size_t i = home(s, (uint32_t)s->count);; i = (i + 1) & (s->size - 1)) {
        id = s->slots[i];
        if (id != 0)
            break;
    }
    idset_remove(s, id);
    return id;
}
