/* part.h - what a connection has begun to say.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_PART_H
#define GW_CLIENTS_PART_H

#include "clients/client_conn_impl.h"

/* What a connection has begun to say. */
struct part {
    struct list node;         /* in one of shared->parts */
    struct client_conn *conn; /* borrowed */
    struct buf in;            /* a request; or bytes not looked at, or a part */
    struct buf message;       /* fragments of a websocket message */
    struct buf asked;         /* the request that waits for its answer */
    size_t counted;           /* bytes of it in counters.unfinished */
    bool partial;             /* in begins with a packet that is not whole */
    bool in_message;          /* a websocket message is incomplete … */
    bool binary;              /* … and is a binary one */
};

/* The one of c, made when there is none; empty then. */
struct part *part_need(struct client_conn *c);
/* Its bytes are more or fewer: it is counted, and gone when it is empty. anew:
 * they belong to another message than before. When there is too much in all,
 * the largest are closed, and this may be one of them. */
void part_update(struct client_conn *c, bool anew);
/* The same when there is one: a message that comes whole has none. The next
 * fragment belongs to the same message. */
static inline void part_changed(struct client_conn *c, bool anew)
{
    if (c->part != NULL)
        part_update(c, anew && !c->part->in_message);
}
/* Harmless when there is none. */
void part_drop(struct client_conn *c);
#endif /* GW_CLIENTS_PART_H */
