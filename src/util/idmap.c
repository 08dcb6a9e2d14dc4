/* Open addressing with linear probing. Ids and values lie in arrays of their
 * own, so that a probe reads neighbouring ids and nothing else; a set has no
 * second array, and the value of a free slot is NULL. At most three quarters of
 * the slots are taken; a removal moves later entries back, so that there are no
 * tombstones. */
#include "util/idmap.h"

#include <assert.h>
#include <stdlib.h>

#include "util/alloc.h"

#define IDMAP_BITS_MIN 4

/* Fibonacci hashing: neighbouring ids, which are the rule, spread evenly. */
static size_t home(const struct idmap *m, uint32_t id)
{
    return (size_t)((id * 0x9e3779b97f4a7c15ULL) >> (64 - m->bits));
}

static size_t next(const struct idmap *m, size_t slot)
{
    return (slot + 1) & (m->size - 1);
}

/* How far behind another slot this one is, going round. */
static size_t distance(const struct idmap *m, size_t from, size_t slot)
{
    return (slot - from) & (m->size - 1);
}

/* Where id is, or the free slot where it belongs. */
static size_t locate(const struct idmap *m, uint32_t id)
{
    size_t slot = home(m, id);

    while (m->ids[slot] != 0 && m->ids[slot] != id)
        slot = next(m, slot);
    return slot;
}

static void move(struct idmap *to, size_t t, const struct idmap *from, size_t f)
{
    to->ids[t] = from->ids[f];
    if (to->values)
        to->values[t] = from->values[f];
}

static void resize(struct idmap *m, unsigned bits, bool has_values)
{
    struct idmap other = {
        .bits = bits, .size = (size_t)1 << bits, .count = m->count};

    other.ids = xcalloc(other.size, sizeof(*other.ids));
    if (has_values)
        other.values = xcalloc(other.size, sizeof(*other.values));
    for (size_t i = 0; i < m->size; i++) {
        if (m->ids[i] != 0)
            move(&other, locate(&other, m->ids[i]), m, i);
    }
    free(m->ids);
    free(m->values);
    *m = other;
}

void idmap_fini(struct idmap *m)
{
    free(m->ids);
    free(m->values);
    *m = (struct idmap){0};
}

/* The slot of id, which is in it from now on. */
static size_t insert(struct idmap *m, uint32_t id, bool has_values)
{
    size_t slot;

    assert(m->size == 0 || has_values == (m->values != NULL));
    if ((m->count + 1) * 4 > m->size * 3)
        resize(m, m->size > 0 ? m->bits + 1 : IDMAP_BITS_MIN, has_values);
    slot = locate(m, id);
    m->count += m->ids[slot] == 0;
    m->ids[slot] = id;
    return slot;
}

/* Mostly it is there: each event of a client comes here. */
void idmap_add(struct idmap *m, uint32_t id)
{
    if (id != 0 && !idmap_has(m, id))
        insert(m, id, false);
}

void idmap_put(struct idmap *m, uint32_t id, void *value)
{
    size_t slot;

    assert(id != 0 && value);
    slot = insert(m, id, true);
    m->values[slot] = value;
}

void idmap_remove(struct idmap *m, uint32_t id)
{
    size_t hole, i;

    if (!idmap_has(m, id))
        return;
    hole = locate(m, id);
    for (i = next(m, hole); m->ids[i] != 0; i = next(m, i)) {
        if (distance(m, home(m, m->ids[i]), i) < distance(m, hole, i))
            continue;
        move(m, hole, m, i);
        hole = i;
    }
    m->ids[hole] = 0;
    if (m->values)
        m->values[hole] = NULL;
    m->count--;
    if (m->bits > IDMAP_BITS_MIN && m->count * 8 < m->size)
        resize(m, m->bits - 1, m->values != NULL);
}

bool idmap_has(const struct idmap *m, uint32_t id)
{
    return m->count > 0 && id != 0 && m->ids[locate(m, id)] == id;
}

void *idmap_get(const struct idmap *m, uint32_t id)
{
    return m->values ? m->values[locate(m, id)] : NULL;
}

uint32_t idmap_pop(struct idmap *m)
{
    uint32_t id;

    if (m->count == 0)
        return 0;
    /* The next entry behind where a changing id would be: no scan from 0. */
    for (size_t i = home(m, (uint32_t)m->count);; i = next(m, i)) {
        id = m->ids[i];
        if (id != 0)
            break;
    }
    idmap_remove(m, id);
    return id;
}
