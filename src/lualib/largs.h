/* largs.h - arguments that the calls of Gateway share.
 *
 * Each raises "bad argument #n to 'sendToAll' (…)" when the argument will not
 * do. Memory they return is a userdata left on the stack; strings are borrowed
 * from the argument.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LARGS_H
#define GW_LUALIB_LARGS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "wire/client_id.h"
#include "wire/cmdjson.h"

#define LARGS_LIST_MAX 1000000 /* client ids or names in one call */
#define LARGS_NAME_MAX 255 /* bytes of a uid or group, as gateways have it */

struct client_id largs_client(lua_State *L, int arg);

/* One client id, or a table with client ids as values; nil is none. Sorted by
 * gateway, then connection. options: the argument that a table of options was
 * meant for, should it stand here. */
struct largs_clients {
    struct client_id *items;
    uint32_t *ids; /* their connection ids alone */
    size_t count;
};
void largs_clients(
    lua_State *L, int arg, int options, struct largs_clients *out);

/* Take those in drop out of from. */
void largs_drop_clients(
    struct largs_clients *from, const struct largs_clients *drop);

/* A uid or group: a string or integer. Neither empty nor 0, which GatewayWorker
 * would ignore. */
const char *largs_name(lua_State *L, int arg, size_t *len);

/* The same of the value at index, which need not be an argument: NULL, with why
 * in *error, instead of raising. Pushes a string if it is an integer, or an
 * error. */
const char *largs_to_name(
    lua_State *L, int index, size_t *len, const char **error);

/* One of them, or a table with them as values. */
void largs_names(lua_State *L, int arg, struct cmdjson_names *out);

/* Would a table at index show more than stands in it, through its metatable?
 * Tables of options are read as they stand. */
bool largs_inherits(lua_State *L, int index);

/* What to send: a string, or a number as text. */
const char *largs_message(lua_State *L, int arg, size_t *len);

#endif /* GW_LUALIB_LARGS_H */
