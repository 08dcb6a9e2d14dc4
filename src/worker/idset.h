/* idset.h - a set of connection ids (never 0) in one array.
 *
 * Embedded in its owner; all zeros is a valid empty set.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_IDSET_H
#define GW_WORKER_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset {
    uint32_t *slots; /* owned; 0 is a free slot */
    size_t size;     /* of slots, a power of two, or 0 */
    size_t count;
};

void idset_fini(struct idset *s);
void idset_add(struct idset *s, uint32_t id);
void idset_remove(struct idset *s, uint32_t id);
bool idset_has(const struct idset *s, uint32_t id);

/* Take any id out; 0 when the set is empty. */
uint32_t idset_pop(struct idset *s);

#endif /* GW_WORKER_IDSET_H */
