/* idmap.h - connection ids (never 0) in one array: a set of them, or a map that
 * has a pointer for each.
 *
 * Embedded in its owner; all zeros is a valid empty one. The first insertion
 * decides: what begins with idmap_add() is a set, what begins with idmap_put()
 * a map.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_IDMAP_H
#define GW_UTIL_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap {
    uint32_t *ids; /* owned; 0 is a free slot */
    void **values; /* owned, what they point to is borrowed; NULL in a set */
    unsigned bits; /* there are 2 to the power of bits slots, … */
    size_t size;   /* … this number; 0 before the first insertion */
    size_t count;
};

void idmap_fini(struct idmap *m);

/* Into a set. Harmless when id is there already, or 0. */
void idmap_add(struct idmap *m, uint32_t id);

/* Into a map, in place of what id had. id is not 0, value not NULL. */
void idmap_put(struct idmap *m, uint32_t id, void *value);

/* Harmless when id is not there. */
void idmap_remove(struct idmap *m, uint32_t id);

bool idmap_has(const struct idmap *m, uint32_t id);

/* Out of a map; NULL when id is not there. */
void *idmap_get(const struct idmap *m, uint32_t id);

/* Take any id out; 0 when there is none. */
uint32_t idmap_pop(struct idmap *m);

#endif /* GW_UTIL_IDMAP_H */
