/* arrivals.h - what comes to a gateway from other cells: orders and questions,
 * by the engine.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ARRIVALS_H
#define GW_GATEWAY_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "gateway/commands.h"
#include "proc/pages.h"

#define ARRIVALS_ANSWER_MAX \
    (1024 * 1024) /* bytes of an answer that is published; more is stored */
#define ARRIVALS_SENDERS_MAX \
    65536 /* processes of other cells that are remembered */

struct arrivals;

struct arrivals_conf {
    struct turn *turn;                /* borrowed */
    const struct engine_conf *engine; /* borrowed */
    struct commands *commands;        /* borrowed */
    uint32_t ip;                      /* of this gateway, in client ids */
    uint16_t port;
    struct engine_limits limits; /* of its clients, told to other cells */
};

struct arrivals_counts {
    struct engine_counts engine;
    uint64_t taken;   /* from other cells */
    uint64_t doubles; /* dropped, for they had come before */
    uint64_t gaps;   /* jumps in the numbers of a sender, beside the engine's */
    uint64_t faulty; /* that could not be read */
};

/* NULL, and a line in err: the engine cannot be used. */
struct arrivals *arrivals_open(
    const struct arrivals_conf *conf, char err[ENGINE_ERROR_SIZE]);

/* Leave the cluster. NULL is allowed. */
void arrivals_close(struct arrivals *a);

/* The cell is leaving: the cluster is told. NULL is allowed. */
void arrivals_leave(struct arrivals *a);

/* Zeros for NULL. */
void arrivals_count(const struct arrivals *a, struct arrivals_counts *out);

/* As outlook_take(); false for NULL. */
bool arrivals_take_cells(struct arrivals *a, struct page_cells *out);

#endif /* GW_GATEWAY_ARRIVALS_H */
