/* coverage.h - which lines of the scripts have run, for gwrun test --coverage.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_TESTING_COVERAGE_H
#define GW_TESTING_COVERAGE_H

#include <lua.h>

struct coverage;

struct coverage *coverage_new(void);
void coverage_free(struct coverage *c);

/* Notice the lines that run in this state from now on, and in all coroutines
 * that are made in it. c outlives it. */
void coverage_watch(struct coverage *c, lua_State *L);

/* Push a table: path of a file → set of lines. Raises. */
void coverage_push(const struct coverage *c, lua_State *L);

#endif /* GW_TESTING_COVERAGE_H */
