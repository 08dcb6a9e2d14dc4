/* origin.h - whose page makes a request.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_ORIGIN_H
#define GW_CLIENTS_ORIGIN_H

#include "wire/httphead.h"

enum origin {
    ORIGIN_NONE,   /* it does not say: no browser, or a page that only looks */
    ORIGIN_LISTED, /* one of those that are allowed */
    ORIGIN_OWN,    /* one of this host's */
    ORIGIN_FOREIGN,
};

/* allowed may be NULL; scheme, "https", is the request's own. *text: its
 * header, NULL where there is none or several. */
enum origin origin_of(const struct httphead *head, const char *const *allowed,
    const char *scheme, const char **text);

#endif /* GW_CLIENTS_ORIGIN_H */
