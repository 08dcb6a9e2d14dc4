/* lcrypto.h - the core of gwrun.crypto: digests, signatures, random bytes.
 *
 * lua/gwrun/crypto.lua and lua/gwrun/jwt.lua are made of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LCRYPTO_H
#define GW_LUALIB_LCRYPTO_H

#include <lua.h>

#define LCRYPTO_RANDOM_MAX   (1024 * 1024) /* bytes in one call */
#define LCRYPTO_RSA_BITS_MIN 2048          /* a key of fewer is refused */

/* Push the table of functions. */
void lcrypto_push(lua_State *L);

/* The same without what a thread computes (scrypt): for a state that is no
 * worker's. */
void lcrypto_push_quick(lua_State *L);

#endif /* GW_LUALIB_LCRYPTO_H */
