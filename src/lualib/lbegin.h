/* lbegin.h - what a script gives a client to begin with: its session, uid and
 * groups, in a table that onHandshake or onRequest returns.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LBEGIN_H
#define GW_LUALIB_LBEGIN_H

#include "lualib/lreading.h"

/* Append session, uid and groups of the table to out (wire/answer.h). NULL, or
 * what is wrong: then the text is pushed. */
const char *lbegin_put(const struct lreading *r);

#endif /* GW_LUALIB_LBEGIN_H */
