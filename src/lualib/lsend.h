/* lsend.h - how Gateway's commands reach gateways.
 *
 * Functions that return an int push the call's results, true or nil, message,
 * code, and return how many.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LSEND_H
#define GW_LUALIB_LSEND_H

#include <lua.h>

#include "lualib/largs.h"
#include "util/buf.h"
#include "wire/cmdjson.h"
#include "wire/frame.h"
#include "worker/gateways.h"

/* The buffer that all commands share for ext_data, upvalue 1 of each; empty. */
struct buf *lsend_ext(lua_State *L);

void lsend_set_ext(struct frame *f, const struct buf *ext);

/* Write the ext_data for a gateway that holds these excluded clients. groups
 * NULL: SEND_TO_ALL, else SEND_TO_GROUP. */
void lsend_put_target(struct buf *ext, const struct cmdjson_names *groups,
    const struct cmdjson_ids *exclude);

/* Send f to the gateway of a client. */
int lsend_to(lua_State *L, const struct client_id *id, struct frame *f);

/* Send f to all gateways. */
int lsend_to_all(lua_State *L, struct frame *f);

/* Send f to all gateways of this cell, and to those of others that have one of
 * the names. */
int lsend_to_names(
    lua_State *L, const struct departures_names *names, struct frame *f);

/* Send f to the gateways of some clients, each with its own list of them. */
int lsend_to_clients(
    lua_State *L, const struct largs_clients *to, struct frame *f);

/* Send f to all gateways, telling each which of its clients to leave out. */
int lsend_to_others(lua_State *L, const struct cmdjson_names *groups,
    const struct largs_clients *exclude, struct frame *f);

/* "10.0.0.1:2900" */
void lsend_push_address(lua_State *L, const struct gateways_address *at);

/* What became of the gateway at from. Returns 3. */
int lsend_fail(lua_State *L, int err, const struct gateways_address *from);

/* Whether no gateway would take it, and the same for that. */
bool lsend_is_too_large(lua_State *L, const struct frame *f);
int lsend_fail_too_large(lua_State *L);

#endif /* GW_LUALIB_LSEND_H */
