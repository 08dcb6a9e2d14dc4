/* outbox.h - gives the last events of clients whose process is gone.
 *
 * A gateway process that was killed leaves a book (books.h). The next process
 * of the same slot inherits it and gives each client in it an ON_CLOSE, by the
 * ordinary links and routing; to the worker that the client had, if that is
 * there soon. What has not begun when this process ends is inherited once more.
 *
 * Books of gateways of this machine that do not come again are given, too, by
 * the first gateway that takes one: until outbox_stop_adopting().
 *
 * A worker on another machine may have begun an ON_CLOSE that nobody heard of.
 * It knows that itself, so it is given it again, and waited for longer. This
 * holds for this process's own clients, too.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_OUTBOX_H
#define GW_GATEWAY_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/books.h"
#include "gateway/router.h"
#include "net/turn.h"

#define OUTBOX_PATIENCE 2.0 /* seconds that a client's own worker may take */
#define OUTBOX_FAR_PATIENCE \
    60.0 /* … and one that may have begun its onClose already */
#define OUTBOX_FIRST 5.0 /* seconds that new clients wait for its end */

struct outbox;

struct outbox_conf {
    struct turn *turn; /* borrowed, as all that follows */
    struct router *router;
    struct roster *roster;
    struct books *books;
    /* outbox_is_first() has become false. From the loop. */
    void (*on_settled)(void *arg);
    void *arg;
};

/* NULL when no book is kept. Inherits at once. */
struct outbox *outbox_open(const struct outbox_conf *conf);

/* Asynchronous; nothing of books or router is used any more. o may be NULL. */
void outbox_close(struct outbox *o);

/* What other gateways leave from now on is left to others. o may be NULL. */
void outbox_stop_adopting(struct outbox *o);

/* Shall new clients wait until the last run's have had their onClose? Not for
 * longer than OUTBOX_FIRST. */
bool outbox_is_first(const struct outbox *o);

/* Clients of earlier processes whose onClose has not begun; and own ones that
 * wait for a worker on another machine. */
size_t outbox_pending(const struct outbox *o);

/* How many clients it has given an ON_CLOSE. */
uint64_t outbox_given(const struct outbox *o);

#endif /* GW_GATEWAY_OUTBOX_H */
