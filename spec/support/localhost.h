/* localhost.h - whether this machine knows the name at all.
 *
 * A root without /etc/hosts and DNS does not: tests that look the name up skip.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SPEC_LOCALHOST_H
#define SPEC_LOCALHOST_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

static inline bool localhost_is_known(void)
{
    const struct addrinfo hints = {.ai_family = AF_INET};
    struct addrinfo *found;

    if (getaddrinfo("localhost", NULL, &hints, &found) != 0)
        return false;
    freeaddrinfo(found);
    return true;
}

#endif /* SPEC_LOCALHOST_H */
