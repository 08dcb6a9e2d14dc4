/* proxyhdr.h - the PROXY protocol's header: whom a load balancer speaks for.
 *
 * Source: haproxy.org proxy-protocol.txt, versions 1 (a line) and 2 (binary).
 * It comes once, before anything else on the connection. Nothing here
 * allocates. TLVs are skipped.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_PROXYHDR_H
#define GW_WIRE_PROXYHDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROXYHDR_LINE_MAX 107 /* bytes of version 1; more is -EPROTO */
#define PROXYHDR_MAX      536 /* bytes of version 2; more is -EMSGSIZE */

enum proxyhdr_kind {
    /* LOCAL, UNKNOWN, or an address that is neither TCP over IPv4 nor over
     * IPv6: the connection's own peer is whom to name. */
    PROXYHDR_DIRECT,
    PROXYHDR_TCP4,
    PROXYHDR_TCP6,
};

struct proxyhdr {
    enum proxyhdr_kind kind;
    uint8_t ip[16]; /* the client's; the first 4 of them with PROXYHDR_TCP4 */
    uint16_t port;
};

/* The header at data: > 0 bytes used, with *out filled; 0 need more: then all
 * len bytes belong to it, and len < PROXYHDR_MAX; -EPROTO not a header;
 * -EMSGSIZE a longer one than we take. */
ssize_t proxyhdr_parse(struct proxyhdr *out, const uint8_t *data, size_t len);

#endif /* GW_WIRE_PROXYHDR_H */
