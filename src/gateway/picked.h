/* picked.h - the clients that a command means, each once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_PICKED_H
#define GW_GATEWAY_PICKED_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/roster.h"
#include "wire/cmdjson.h"

/* All zeros is a valid start; its memory is kept between commands. */
struct picked {
    struct client **items; /* owned; in the order in which they were picked */
    size_t count, cap;
    struct roster *roster; /* borrowed */
    uint32_t mark;         /* of those that are in, or passed over */
};

/* Start with nobody picked. The pick is valid until clients come or go. */
void picked_begin(struct picked *p, struct roster *roster);

/* Nobody is picked any more; gives back the memory of a large pick. */
void picked_end(struct picked *p);
void picked_fini(struct picked *p);

void picked_add_if(struct picked *p,
    bool (*is_meant)(const struct client *c, const void *arg), const void *arg);
void picked_add_all(struct picked *p);

/* The members of a uid or group; NULL has none. */
void picked_add_name(struct picked *p, const struct roster_name *name);

/* The same of a list of names; find is roster_uid() or roster_group(). */
void picked_add_names(struct picked *p, const struct cmdjson_names *names,
    const struct roster_name *(*find)(
        const struct roster *roster, const void *text, size_t len));

/* Returns how many of the ids are nobody's. */
size_t picked_add_ids(struct picked *p, const struct cmdjson_ids *ids);

/* The clients with these ids are not picked by later calls. */
void picked_pass_over(struct picked *p, const struct cmdjson_ids *ids);

#endif /* GW_GATEWAY_PICKED_H */
