/* listings.h - lists of this gateway's clients, given out a page at a time, so
 * that a million of them neither hold up the loop nor fill a link.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_LISTINGS_H
#define GW_ROLE_LISTINGS_H

#include <stdint.h>

#include "gateway/gateway.h"
#include "util/list.h"
#include "wire/ctlmsg.h"

#define LISTINGS_PAGE 500 /* clients */

struct listings {
    struct list list; /* those that have not come to their end */
};

void listings_init(struct listings *ls);
void listings_fini(struct listings *ls);

/* The next page of the list that is numbered gather, or its first: a new
 * message of type "connections" with "gather", "rows" and "more", which is
 * false in the last. The list is of the clients that were there when it began
 * and have not left, and of those only whom the message m means
 * (orders_pick()). g NULL: there are none. */
json_t *listings_next(struct listings *ls, const struct gateway *g,
    int64_t gather, const json_t *m);

/* Who asked is gone. */
void listings_leave(struct listings *ls, int64_t gather);

#endif /* GW_ROLE_LISTINGS_H */
