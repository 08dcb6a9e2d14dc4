/* lhandshake.h - the table that onHandshake may return, as gateways take it.
 *
 *   { status =, headers =, body = }                      refuses
 *   { protocol =, headers =, session =, uid =, groups = }  lets in
 *
 * All of it is checked here, so that a mistake is the script's to read and not
 * a gateway's to refuse.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LHANDSHAKE_H
#define GW_LUALIB_LHANDSHAKE_H

#include <lua.h>

void lhandshake_open(lua_State *L);

#endif /* GW_LUALIB_LHANDSHAKE_H */
