/* handlers.h - what came of the script's handlers of events, handshakes and
 * requests: how many began and failed, and which of the errors are logged; of
 * events also how long they took.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_HANDLERS_H
#define GW_WORKER_HANDLERS_H

#include <stdbool.h>
#include <uv.h>

#include "util/histogram.h"

#define HANDLERS_ERROR_LINES 100 /* logged per second; the rest is counted */

struct complaints;

struct faults;
struct timings;

/* Embedded in its owner, the worker; borrowed by those that run handlers. */
struct handlers {
    struct complaints
        *complaints;       /* borrowed; who is told, too; NULL: nobody */
    const uv_loop_t *loop; /* borrowed; tells the time */
    uint64_t begun;
    uint64_t failed;
    uint64_t second; /* loop time, s, of lines */
    unsigned lines;
    uint64_t suppressed;     /* failures that no line has told of */
    struct faults *faults;   /* borrowed; where errors come from, or NULL */
    struct timings *timings; /* borrowed; how long callbacks took, or NULL */
    bool measures;           /* how long events of clients take, into … */
    struct histogram event_times;
};

void handlers_init(struct handlers *h, const uv_loop_t *loop);

/* A handler has failed: count it, and log it if this second has room for that.
 * event is its callback's name, client the id as scripts know it, or NULL;
 * error the message with traceback. */
void handlers_fail(struct handlers *h, const char *event, const char *client,
    const char *error);

/* When a callback begins and ends, for handlers_took(); 0: nobody looks. */
uint64_t handlers_now(const struct handlers *h);
void handlers_took(
    struct handlers *h, const char *event, uint64_t begun, uint64_t now);

/* About once a second: tell how many were not logged. */
void handlers_tick(struct handlers *h);

#endif /* GW_WORKER_HANDLERS_H */
