/* lconsole.h - Lua typed into a state that runs a script: gwrun attach.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LCONSOLE_H
#define GW_LUALIB_LCONSOLE_H

#include <stddef.h>

#include "worker/vm.h"

#define LCONSOLE_OUTPUT_MAX (1024 * 1024) /* bytes that one piece may show */

struct lconsole;

struct lconsole_ops {
    /* Text to show: what was printed, or the values that it returned. Safe for
     * a terminal; borrowed. Called from inside Lua. */
    void (*on_output)(const char *text, size_t len, void *arg);
    /* The last call; the console is gone. error NULL, or message with
     * traceback, borrowed. */
    void (*on_ended)(const char *error, void *arg);
};

/* Run a piece of Lua in a coroutine of vm, where it may wait: an expression,
 * whose values are shown, or statements. What it prints is shown, too; globals
 * are the script's. NULL when it has ended already, inside this call. Not from
 * inside Lua. */
struct lconsole *lconsole_run(struct vm *vm, const char *code, size_t len,
    const struct lconsole_ops *ops, void *arg);

/* Nobody looks any more: no callback is called, what waits is cut short. */
void lconsole_leave(struct lconsole *c);

#endif /* GW_LUALIB_LCONSOLE_H */
