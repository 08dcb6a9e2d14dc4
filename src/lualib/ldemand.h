/* ldemand.h - joins and binds that want more than to be taken: to return when
 * sends of all cells reach the client, or to have the uid alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LDEMAND_H
#define GW_LUALIB_LDEMAND_H

#include <lua.h>

#include "lualib/loptions.h"
#include "wire/client_id.h"
#include "wire/cmdjson.h"
#include "wire/frame.h"

/* Send cmd, JOIN_GROUP or BIND_UID, once for each of names, as the options say.
 * Pushes the call's results: true, or true, "local": other cells cannot be
 * reached; false: the client is gone or may not; or nil, message, code. Yields
 * with o->wait. */
int ldemand_run(lua_State *L, enum frame_cmd cmd, const struct client_id *id,
    const struct cmdjson_names *names, const struct loptions *o);

#endif /* GW_LUALIB_LDEMAND_H */
