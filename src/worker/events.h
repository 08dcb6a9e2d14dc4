/* events.h - the script's callback for an event of a client.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_EVENTS_H
#define GW_WORKER_EVENTS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

/* "onMessage" …, NULL when cmd is no client event. */
const char *events_callback(uint8_t cmd);

/* A coroutine's body: call the callback for the event of the mailbox that is
 * its argument. */
int events_call(lua_State *L);

/* Push what a gateway tells in serialized bytes; nil when there are none. */
void events_push_info(lua_State *L, const uint8_t *data, size_t len);

#endif /* GW_WORKER_EVENTS_H */
