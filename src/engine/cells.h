/* cells.h - which cells and gateways there are, as it stands in Redis: the
 * commands that claim, give up and ask, and what their replies mean.
 *
 *   NAME:cell:CELL      hash, expires: "run", "version", "since", and for each
 *                       process "p:PROCESS" = "time what …": its kind and, of a
 *                       gateway, "ip:port", clients, and "leaving" if it is
 *   NAME:cells          sorted set of "run cell" by when it was heard of last
 *   NAME:holder:CELL    the run that has, or had last, the name
 *   NAME:former:RUN     the name of that run went to another one
 *   NAME:gateways       set of "ip:port"
 *   NAME:gateway:IP:PORT  "run cell", a line feed, "groups session" (what it
 *                       allows, struct engine_limits); expires
 *
 * Times are the server's, in seconds. A run whose name was taken by another one
 * may not have it again: it is an older incarnation.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_CELLS_H
#define GW_ENGINE_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "upstream/redisvalue.h"
#include "util/buf.h"

#define CELLS_REMEMBERED 86400 /* s that a run that is gone is known */

/* A process of this cell. All borrowed. */
struct cells_self {
    const struct engine_conf *conf;
    const char *process;         /* no other of this cell is called so */
    const char *kind;            /* "gateway", "worker", "register" */
    const char *address;         /* of a gateway, which it claims; else "" */
    bool leaving;                /* of a gateway, with its cell */
    uint64_t clients;            /* of a gateway */
    struct engine_limits limits; /* of a gateway */
};

enum cells_claim {
    CELLS_OURS,
    CELLS_REFUSED, /* somebody else has the address or the name */
    CELLS_FORMER,  /* this run had the name, another one has it now */
};

/* One EVAL: claim the cell's name and the address, for ENGINE_EXPIRY, if nobody
 * else has them. */
void cells_put_claim(struct buf *out, const struct cells_self *self);

/* What its reply means; unless CELLS_OURS, why is a line. */
enum cells_claim cells_read_claim(const struct redisvalue *reply,
    const struct cells_self *self, char why[ENGINE_ERROR_SIZE]);

/* One EVAL: give up the address and, if this is the cell's last process, its
 * name. */
void cells_put_release(struct buf *out, const struct cells_self *self);

/* One EVAL: all gateways. Its reply is an array of addresses and values. */
void cells_put_members(struct buf *out, const struct engine_conf *conf);
bool cells_read_member(struct engine_member *m, const struct redisvalue *where,
    const struct redisvalue *what);

/* One EVAL: all cells. Its reply is the server's time and then, for each, "run
 * cell", when it was heard of, and its record, which is empty when it is gone.
 */
void cells_put_look(struct buf *out, const struct engine_conf *conf);

#endif /* GW_ENGINE_CELLS_H */
