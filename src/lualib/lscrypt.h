/* lscrypt.h - scrypt, which is slow on purpose, beside the loop.
 *
 * crypto.hashPassword and crypto.verifyPassword (lua/gwrun/crypto.lua) are made
 * of it. Keys are computed in libuv's threads; the handler waits, its worker
 * goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LSCRYPT_H
#define GW_LUALIB_LSCRYPT_H

#include <lua.h>

#define LSCRYPT_PASSWORD_MAX 1024 /* bytes; more is -EMSGSIZE */
#define LSCRYPT_MEMORY_MAX                            \
    (64 * 1024 * 1024) /* bytes that one key may take \
                        */
#define LSCRYPT_RUNNING_MAX \
    2 /* at a time; libuv's other threads look up names */
#define LSCRYPT_WAITING_MAX 100 /* for their turn; one more is -ENOBUFS */

/* Push the function scrypt. */
void lscrypt_push(lua_State *L);

#endif /* GW_LUALIB_LSCRYPT_H */
