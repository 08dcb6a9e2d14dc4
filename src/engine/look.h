/* look.h - which cells there are: a look from outside, by a command that waits
 * for it and says what server it is, too, and one by a process of a cell, which
 * does not wait.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_LOOK_H
#define GW_ENGINE_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "net/addr.h"

#define LOOK_VERSION_SIZE 32 /* bytes of a cell's version, with the NUL */

struct look_gateway {
    char address[ADDR_TEXT_SIZE];
    uint64_t clients;
};

struct look_cell {
    char name[ENGINE_NAME_MAX + 1];
    char run[ENGINE_RUN_SIZE];
    char version[LOOK_VERSION_SIZE];
    bool there;   /* false: not heard of any more, and it did not leave */
    bool leaving; /* it takes no more clients, and will leave */
    double since; /* seconds of 1970, by the server; in the cluster */
    double heard; /* the same; of it, last */
    uint64_t clients;
    size_t workers, registers, ngateways;
    struct look_gateway *gateways; /* owned */
};

struct look {
    char error[ENGINE_ERROR_SIZE];   /* why nothing was found */
    char warning[ENGINE_ERROR_SIZE]; /* a fault of the server, or "" */
    double now;                      /* the server's */
    size_t ncells;
    struct look_cell *cells; /* owned; in the order of their names */
};

/* For people: "up"; "leaving"; "silent", when all of its processes have missed
 * two refreshes; "gone". */
const char *look_state(const struct look *l, const struct look_cell *c);

/* Ask, and wait up to timeout_ms for each step. 0, or -errno and the error. End
 * it with look_fini() in any case. */
int look_run(
    struct look *out, const struct engine_conf *conf, uint64_t timeout_ms);
void look_fini(struct look *l);

/* Embedded by whoever looks again and again; lives until the engine is closed.
 */
struct looker {
    struct engine *engine; /* borrowed */
    /* Borrowed: now and cells are set. */
    void (*seen)(const struct look *l, void *arg);
    void *arg;   /* borrowed */
    bool is_out; /* a question is; nobody else sets it */
};

/* Ask by the engine's connection. k->seen runs on a later turn, unless the
 * engine is closed before or does not answer. Harmless while the engine is away
 * or the last answer has not come. */
void look_ask(struct looker *k);

#endif /* GW_ENGINE_LOOK_H */
