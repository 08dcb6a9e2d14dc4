/* Addresses are parsed strictly: what is not one whole address, or a port up to
 * 65535, is an error, and nothing is looked up. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ADDR_HOST_MAX 48 /* bytes; more than any numeric host */
#define LABEL_MAX     63 /* bytes between two dots of a name */
#define NAME_MAX_LEN  253

/* 1 to 5 digits up to 65535. */
static int parse_number(uint16_t *out, const char *text)
{
    unsigned long port = 0;
    size_t n = strlen(text);

    if (n < 1 || n > 5)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    if (port > UINT16_MAX)
        return -EINVAL;
    *out = (uint16_t)port;
    return 0;
}

/* len bytes: an IPv6 address in brackets or not, or an IPv4 one. */
static int parse_host(union addr *out, const char *text, size_t len, bool bare)
{
    bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
    char host[ADDR_HOST_MAX];

    if (brackets) {
        text++;
        len -= 2;
    }
    if (len >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, len);
    host[len] = '\0';
    memset(out, 0, sizeof(*out));
    if (!brackets && inet_pton(AF_INET, host, &out->in.sin_addr) == 1)
        out->in.sin_family = AF_INET;
    else if ((brackets || bare) &&
             inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1)
        out->in6.sin6_family = AF_INET6;
    else
        return -EINVAL;
    return 0;
}

int addr_parse(union addr *out, const char *text)
{
    const char *colon = strrchr(text, ':');
    union addr a;
    uint16_t port;

    if (!colon || parse_number(&port, colon + 1) < 0 ||
        parse_host(&a, text, (size_t)(colon - text), false) < 0)
        return -EINVAL;
    addr_set_port(&a, port);
    *out = a;
    return 0;
}

bool addr_is_name(const char *text)
{
    size_t len, label = 0, digits = 0; /* in the last label */

    for (len = 0; text[len]; len++) {
        unsigned char c = (unsigned char)text[len];

        if (c == '.' && label > 0) {
            label = digits = 0;
            continue;
        }
        if (!isalnum(c) && c != '_' && (c != '-' || label == 0))
            return false;
        digits += isdigit(c) != 0;
        if (++label > LABEL_MAX)
            return false;
    }
    return label > digits && len <= NAME_MAX_LEN;
}

int addr_parse_name(char name[ADDR_NAME_SIZE], uint16_t *port, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    uint16_t number;

    if (!colon || len >= ADDR_NAME_SIZE || parse_number(&number, colon + 1) < 0)
        return -EINVAL;
    memcpy(name, text, len);
    name[len] = '\0';
    if (!addr_is_name(name))
        return -EINVAL;
    *port = number;
    return 0;
}

int addr_parse_host(union addr *out, const char *text)
{
    union addr a;

    if (parse_host(&a, text, strlen(text), true) < 0)
        return -EINVAL;
    *out = a;
    return 0;
}

socklen_t addr_len(const union addr *a)
{
    return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

static bool is_mapped(const union addr *a)
{
    return a->sa.sa_family == AF_INET6 &&
           IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

const char *addr_format_host(char out[ADDR_TEXT_SIZE], const union addr *a)
{
    union addr plain = *a;

    addr_unmap(&plain);
    if (plain.sa.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &plain.in6.sin6_addr, out, ADDR_TEXT_SIZE);
    else if (plain.sa.sa_family == AF_INET)
        inet_ntop(AF_INET, &plain.in.sin_addr, out, ADDR_TEXT_SIZE);
    else
        snprintf(out, ADDR_TEXT_SIZE, "unix");
    return out;
}

const char *addr_format(char out[ADDR_TEXT_SIZE], const union addr *a)
{
    bool brackets = a->sa.sa_family == AF_INET6 && !is_mapped(a);
    char host[ADDR_TEXT_SIZE];

    addr_format_host(host, a);
    if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
        snprintf(out, ADDR_TEXT_SIZE, "%s", host);
    else
        snprintf(out, ADDR_TEXT_SIZE, "%s%.48s%s:%u", brackets ? "[" : "", host,
            brackets ? "]" : "", addr_port(a));
    return out;
}

uint32_t addr_ipv4(const union addr *a)
{
    union addr plain = *a;

    addr_unmap(&plain);
    return plain.sa.sa_family == AF_INET ? ntohl(plain.in.sin_addr.s_addr) : 0;
}

uint16_t addr_port(const union addr *a)
{
    if (a->sa.sa_family == AF_INET6)
        return ntohs(a->in6.sin6_port);
    return a->sa.sa_family == AF_INET ? ntohs(a->in.sin_port) : 0;
}

void addr_set_port(union addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in.sin_port = htons(port);
}

void addr_unmap(union addr *a)
{
    union addr plain;

    if (!is_mapped(a))
        return;
    memset(&plain, 0, sizeof(plain));
    plain.in.sin_family = AF_INET;
    plain.in.sin_port = a->in6.sin6_port;
    memcpy(&plain.in.sin_addr, &a->in6.sin6_addr.s6_addr[12], 4);
    *a = plain;
}

int addr_parse_ipv4(uint32_t *out, const char *text)
{
    struct in_addr in;

    if (inet_pton(AF_INET, text, &in) != 1)
        return -EINVAL;
    *out = ntohl(in.s_addr);
    return 0;
}

bool addr_is_wildcard(const union addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool addr_is_loopback(const union addr *a)
{
    if (a->sa.sa_family == AF_INET6 && !is_mapped(a))
        return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
    if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
        return true; /* a unix socket */
    return addr_ipv4(a) >> 24 == 127;
}

bool addr_is_private(const union addr *a)
{
    uint32_t ip = addr_ipv4(a);

    if (addr_is_loopback(a))
        return true;
    if (a->sa.sa_family == AF_INET6 && !is_mapped(a)) {
        const struct in6_addr *six = &a->in6.sin6_addr;

        return IN6_IS_ADDR_LINKLOCAL(six) || (six->s6_addr[0] & 0xfe) == 0xfc;
    }
    return ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 ||
           ip >> 16 == 0xa9fe;
}

/* The bytes of an address, and how many. */
static const uint8_t *host_bytes(const union addr *a, unsigned *len)
{
    *len = a->sa.sa_family == AF_INET6  ? 16
           : a->sa.sa_family == AF_INET ? 4
                                        : 0;
    return *len == 4 ? (const uint8_t *)&a->in.sin_addr
                     : a->in6.sin6_addr.s6_addr;
}

/* The bits of byte i that belong to a prefix. */
static uint8_t prefix_mask(unsigned bits, unsigned i)
{
    unsigned left = bits > 8 * i ? bits - 8 * i : 0;

    return left >= 8 ? 0xff : (uint8_t)(0xff00 >> left);
}

int addr_net_parse(struct addr_net *out, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t host_len = slash ? (size_t)(slash - text) : strlen(text);
    struct addr_net net;
    const uint8_t *base;
    unsigned len;
    uint16_t bits;

    if (parse_host(&net.base, text, host_len, true) < 0 || is_mapped(&net.base))
        return -EINVAL;
    base = host_bytes(&net.base, &len);
    net.bits = 8 * len;
    if (slash) {
        if (parse_number(&bits, slash + 1) < 0 || bits > net.bits)
            return -EINVAL;
        net.bits = bits;
    }
    for (unsigned i = 0; i < len; i++)
        if (base[i] & ~prefix_mask(net.bits, i))
            return -EINVAL;
    *out = net;
    return 0;
}

bool addr_net_has(const struct addr_net *net, const union addr *a)
{
    union addr plain = *a;
    const uint8_t *want, *have;
    unsigned want_len, have_len;

    addr_unmap(&plain);
    want = host_bytes(&net->base, &want_len);
    have = host_bytes(&plain, &have_len);
    if (want_len != have_len || have_len == 0)
        return false;
    for (unsigned i = 0; i < have_len && 8 * i < net->bits; i++)
        if ((want[i] ^ have[i]) & prefix_mask(net->bits, i))
            return false;
    return true;
}
