/* misspelt.h - gwrun check: names in a script that nothing answers to.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_MISSPELT_H
#define GW_CLI_MISSPELT_H

#include <lua.h>

/* worker_conf's inspect: write a warning to stderr for each callback that looks
 * like one of callbacks but is not, and for each function of Gateway, Timer …
 * that the script's text names but that does not exist. */
void misspelt_warn(lua_State *L, const char *const *callbacks);

#endif /* GW_CLI_MISSPELT_H */
