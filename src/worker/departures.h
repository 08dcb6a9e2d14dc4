/* departures.h - what a worker sends to other cells, and asks them, by the
 * engine.
 *
 * Its own cell's gateways get the same by their links; this is beside them. All
 * functions take NULL: then there are no other cells.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_DEPARTURES_H
#define GW_WORKER_DEPARTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "wire/cmdjson.h"
#include "wire/crossing.h"
#include "wire/frame.h"
#include "worker/queries.h"

#define DEPARTURES_QUESTIONS_MAX \
    65536 /* answers awaited from other cells; more questions are refused */

#define DEPARTURES_NAMES_MAX                                                \
    16 /* uids or groups of one order that are published one by one; one to \
          more goes to all gateways */

struct departures;

/* The uids or groups that an order is for. */
struct departures_names {
    enum engine_name kind;
    const struct cmdjson_names *list; /* borrowed */
};

/* What stands between this cell and the others. */
enum departures_state {
    DEPARTURES_NONE, /* there are no others: no cluster */
    DEPARTURES_UP,
    DEPARTURES_AWAY, /* what is sent serves this cell only */
};

/* inbox: a word that no other process has. tidings are
 * borrowed, or NULL. NULL: conf is NULL, or the engine
 * cannot be used (logged). */
struct departures *departures_open(struct turn *turn,
    const struct engine_conf *conf, const char *inbox,
    const struct engine_tidings *tidings, void *tidings_arg);

/* Questions under way end with -ECANCELED. */
void departures_close(struct departures *d);

enum departures_state departures_state(const struct departures *d);

/* An order to all gateways of other cells, or to those that have one of names
 * (NULL: all), but to none in skips. 0 or -errno. */
int departures_send_all(struct departures *d, const struct frame *f,
    const struct departures_names *names, const struct crossing_gateway *skips,
    size_t nskips);

/* The same to one. -ENXIO: nobody knows such a gateway; -ENOTCONN: the engine
 * is away. */
int departures_send(
    struct departures *d, uint32_t ip, uint16_t port, const struct frame *f);

/* What a gateway of another cell allows; of one that is unknown nothing. */
struct engine_limits departures_limits(
    const struct departures *d, struct gateways_address at);

/* How many gateways other cells have. */
size_t departures_count(const struct departures *d);

/* Ask all of them; their answers are those from the i-th of q on. */
void departures_ask_all(
    struct departures *d, const struct frame *f, struct query *q, size_t i);

/* Ask those of them that have one of the names; the i-th of q is for where they
 * are, and behind it stand as many as departures_count() said. only_whether:
 * that there is one is the answer, which is a list with something in it. */
void departures_ask_about(struct departures *d, const struct frame *f,
    const struct departures_names *names, bool only_whether, struct query *q,
    size_t i);

/* Ask one. 0: its answer is the i-th of q; or as departures_send(). */
int departures_ask(struct departures *d, struct gateways_address at,
    const struct frame *f, struct query *q, size_t i);

/* Where answers come, and a number for one; and that a gateway, which may be of
 * this cell, will give that answer, the i-th of q. */
const char *departures_reply(const struct departures *d);
uint32_t departures_number(struct departures *d);
void departures_expect(struct departures *d, uint32_t number,
    struct gateways_address at, struct query *q, size_t i);

/* Has something been sent that has not left this process yet? To be asked once
 * a turn. */
bool departures_are_waiting(struct departures *d);

void departures_count_up(const struct departures *d, struct engine_counts *out);

#endif /* GW_WORKER_DEPARTURES_H */
