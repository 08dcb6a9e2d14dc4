/* addr.h - "host:port" and socket addresses.
 *
 * Hosts are numeric: 127.0.0.1, [::1]. Names are told apart, but not looked up:
 * resolve.h does that.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_ADDR_H
#define GW_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDR_TEXT_SIZE 64 /* room for "[ipv6]:port" and the NUL */

union addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* "host:port" or "[v6]:port". 0 or -EINVAL. */
int addr_parse(union addr *out, const char *text);

/* "name:port" with a name to be looked up, of letters, digits, "-", "_" and
 * dots, such as "register.internal:1237". Something like 1.2.3 is none. 0 or
 * -EINVAL. */
#define ADDR_NAME_SIZE 256 /* room for the name and the NUL */
int addr_parse_name(
    char name[ADDR_NAME_SIZE], uint16_t *port, const char *text);
bool addr_is_name(const char *text);

/* The host alone, "::1" or "[::1]" or "127.0.0.1", with port 0. 0 or -EINVAL.
 */
int addr_parse_host(union addr *out, const char *text);

/* The length to give to bind() and connect(). */
socklen_t addr_len(const union addr *a);

/* "127.0.0.1:80"; IPv4-mapped addresses as IPv4. Returns out. */
const char *addr_format(char out[ADDR_TEXT_SIZE], const union addr *a);

/* The host alone, without brackets. Returns out. */
const char *addr_format_host(char out[ADDR_TEXT_SIZE], const union addr *a);

/* Host order. The IPv4 address (also of a mapped one), 0 for IPv6. */
uint32_t addr_ipv4(const union addr *a);
uint16_t addr_port(const union addr *a);
void addr_set_port(union addr *a, uint16_t port);

/* Make ::ffff:a.b.c.d the IPv4 address that it stands for. */
void addr_unmap(union addr *a);

/* "a.b.c.d" to host order. 0 or -EINVAL. */
int addr_parse_ipv4(uint32_t *out, const char *text);

/* "0.0.0.0" or "[::]": all of a machine's, and nobody's to call. */
bool addr_is_wildcard(const union addr *a);
/* Of this machine: 127.0.0.0/8, ::1, a unix socket. */
bool addr_is_loopback(const union addr *a);

/* Loopback, RFC 1918, RFC 4193, link-local: nobody outside can reach it. */
bool addr_is_private(const union addr *a);

/* A network: all addresses that begin with the same bits. */
struct addr_net {
    union addr base;
    unsigned bits;
};

/* "10.0.0.0/8", "fd00::/8", or one address. 0, or -EINVAL: not a network, bits
 * set behind the prefix, or an IPv4-mapped one (no peer is in it: see
 * addr_unmap()). */
int addr_net_parse(struct addr_net *out, const char *text);
bool addr_net_has(const struct addr_net *net, const union addr *a);

#endif /* GW_NET_ADDR_H */
