/* verdict.h - whether a system serves, read from its status.
 *
 * A status is the object that the master answers with, and that the operators'
 * port makes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_VERDICT_H
#define GW_PROC_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/ctlmsg.h"

/* What is so of one of its "processes", in words; "ready" when all is well. */
const char *verdict_of(const json_t *process);

bool verdict_is_role(const json_t *process, const char *role);

/* One of its "counters"; 0 when it has none. */
int64_t verdict_counter(const json_t *process, const char *name);

/* Add the list "problems": a line for each process that keeps clients from
 * being served. How many there are. */
size_t verdict_add_problems(json_t *status);

/* Why nobody can be served, or should not be sent here any more: a new list of
 * lines, empty when clients are welcome. */
json_t *verdict_refusals(const json_t *status);

/* Which processes of a cell are not joined to the others: a new list of lines.
 * Only of a system that has a cluster. */
json_t *verdict_alone(const json_t *status);

#endif /* GW_PROC_VERDICT_H */
