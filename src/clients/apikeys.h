/* apikeys.h - who may call the push API: the keys of a file, and what each of
 * them may do.
 *
 *   # a comment
 *   name key [call,call…]
 *
 * A key is text of 16 bytes or more, or "sha256:" and the 64 hexadecimal digits
 * of its hash. A name may stand twice, so that its key can be changed. Without
 * a list of calls a key may do what lua/gwrun/api.lua grants to all.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_APIKEYS_H
#define GW_CLIENTS_APIKEYS_H

#include <stddef.h>

#define APIKEYS_MAX      1000 /* keys of a file */
#define APIKEYS_KEY_MIN  16   /* bytes of one */
#define APIKEYS_NAME_MAX 64   /* bytes */
#define APIKEYS_OF_NAME  2    /* keys with the same name */

struct apikeys;

/* The keys in this text. NULL with a line in err, which shows none of them.
 * apikeys_free() ends it. */
struct apikeys *apikeys_parse(const char *text, char err[256]);
void apikeys_free(struct apikeys *k);

/* The rights of who has that key: its name and, behind a space, its calls with
 * commas between them if there is a list of them. Borrowed. NULL: no such key.
 * Takes as long whichever it is. */
const char *apikeys_find(const struct apikeys *k, const char *key, size_t len);

/* The names of all calls, NULL-terminated. */
const char *const *apikeys_calls(void);

#endif /* GW_CLIENTS_APIKEYS_H */
