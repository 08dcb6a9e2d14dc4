/* secret.h - comparing what a peer sends with what it should know, and making
 * what nobody can guess.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_SECRET_H
#define GW_UTIL_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Takes as long wherever the bytes differ. Their lengths are no secret. */
bool secret_equal(
    const void *given, size_t given_len, const void *secret, size_t secret_len);

/* The same for strings. */
bool secret_equal_text(const char *given, const char *secret);

/* Does it equal a secret, or another one that counts as well (NULL: there is
 * none)? */
bool secret_is_one_of(const char *given, const char *secret, const char *also);

/* A number at random as hexadecimal text. Ends the process when the kernel has
 * no random bytes. */
#define SECRET_TOKEN_SIZE 33 /* bytes, with the NUL */
void secret_new_token(char out[SECRET_TOKEN_SIZE]);

#endif /* GW_UTIL_SECRET_H */
