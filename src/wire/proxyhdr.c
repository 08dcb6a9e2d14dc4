/* Looks at the same bytes again as more come, and says how many are the header:
 * nothing is kept in between. */
#include "wire/proxyhdr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define HEAD_LEN  16 /* of version 2: signature, command, family, length */
#define TCP4_LEN  12 /* two addresses, two ports */
#define TCP6_LEN  36
#define FIELD_MAX 46 /* bytes of an address in text, and its NUL */

static const uint8_t line_start[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const uint8_t signature[] = {
    '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

/* Whether data can still become what begins with want. */
static bool can_begin(
    const uint8_t *data, size_t len, const uint8_t *want, size_t want_len)
{
    return memcmp(data, want, len < want_len ? len : want_len) == 0;
}

/* ---- version 1 ---- */

/* The next field of the line into out, NUL-terminated, and what follows its
 * blank into *p. last: it goes to the end of the line. */
static bool take_field(
    char out[FIELD_MAX], const char **p, const char *end, bool last)
{
    const char *stop = memchr(*p, ' ', (size_t)(end - *p));
    size_t len;

    if ((stop == NULL) != last)
        return false;
    len = (size_t)((last ? end : stop) - *p);
    if (len == 0 || len >= FIELD_MAX || memchr(*p, '\0', len))
        return false;
    memcpy(out, *p, len);
    out[len] = '\0';
    *p += len + (last ? 0 : 1);
    return true;
}

/* Decimal, without sign or leading zeros. */
static bool parse_port(uint16_t *out, const char *text)
{
    size_t len = strlen(text);
    unsigned port = 0;

    if (len > 5 || (text[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* "192.0.2.1 198.51.100.1 56324 443", from p to end. */
static bool parse_addresses(
    struct proxyhdr *out, int family, const char *p, const char *end)
{
    char from[FIELD_MAX], to[FIELD_MAX];
    char from_port[FIELD_MAX], to_port[FIELD_MAX];
    uint8_t ignored[16];
    uint16_t ignored_port;

    return take_field(from, &p, end, false) && take_field(to, &p, end, false) &&
           take_field(from_port, &p, end, false) &&
           take_field(to_port, &p, end, true) &&
           inet_pton(family, from, out->ip) == 1 &&
           inet_pton(family, to, ignored) == 1 &&
           parse_port(&out->port, from_port) &&
           parse_port(&ignored_port, to_port);
}

/* What follows "PROXY " in a whole line, without its end. */
static bool parse_words(struct proxyhdr *out, const char *p, size_t len)
{
    static const char tcp4[] = "TCP4 ", tcp6[] = "TCP6 ", unknown[] = "UNKNOWN";
    const char *end = p + len;

    if (len >= 5 && memcmp(p, tcp4, 5) == 0) {
        out->kind = PROXYHDR_TCP4;
        return parse_addresses(out, AF_INET, p + 5, end);
    }
    if (len >= 5 && memcmp(p, tcp6, 5) == 0) {
        out->kind = PROXYHDR_TCP6;
        return parse_addresses(out, AF_INET6, p + 5, end);
    }
    return len >= 7 && memcmp(p, unknown, 7) == 0 && (len == 7 || p[7] == ' ');
}

static ssize_t parse_line(struct proxyhdr *out, const uint8_t *data, size_t len)
{
    size_t seen = len < PROXYHDR_LINE_MAX ? len : PROXYHDR_LINE_MAX;
    const uint8_t *end = memchr(data, '\n', seen);
    size_t used;

    if (!end)
        return seen == PROXYHDR_LINE_MAX ? -EPROTO : 0;
    used = (size_t)(end - data) + 1;
    if (used < sizeof(line_start) + 2 || end[-1] != '\r' ||
        !parse_words(out, (const char *)data + sizeof(line_start),
            used - 2 - sizeof(line_start)))
        return -EPROTO;
    return (ssize_t)used;
}

/* ---- version 2 ---- */

static bool parse_binary_address(
    struct proxyhdr *out, uint8_t family, const uint8_t *p, size_t len)
{
    size_t need = family == 0x11 ? TCP4_LEN : TCP6_LEN;
    size_t ip_len = family == 0x11 ? 4 : 16;

    if (family >> 4 > 3 || (family & 0xf) > 2)
        return false;
    if (family != 0x11 && family != 0x21)
        return true; /* not TCP: the connection's own peer */
    if (len < need)
        return false;
    out->kind = family == 0x11 ? PROXYHDR_TCP4 : PROXYHDR_TCP6;
    memcpy(out->ip, p, ip_len);
    out->port = (uint16_t)(p[2 * ip_len] << 8 | p[2 * ip_len + 1]);
    return true;
}

static ssize_t parse_binary(
    struct proxyhdr *out, const uint8_t *data, size_t len)
{
    size_t used;

    if (len >= 13 && data[12] != 0x20 && data[12] != 0x21)
        return -EPROTO;
    if (len < HEAD_LEN)
        return 0;
    used = HEAD_LEN + (size_t)(data[14] << 8 | data[15]);
    if (used > PROXYHDR_MAX)
        return -EMSGSIZE;
    if (len < used)
        return 0;
    if (data[12] == 0x21 &&
        !parse_binary_address(out, data[13], data + HEAD_LEN, used - HEAD_LEN))
        return -EPROTO;
    return (ssize_t)used;
}

ssize_t proxyhdr_parse(struct proxyhdr *out, const uint8_t *data, size_t len)
{
    memset(out, 0, sizeof(*out));
    if (len == 0)
        return 0;
    if (can_begin(data, len, signature, sizeof(signature)))
        return parse_binary(out, data, len);
    if (can_begin(data, len, line_start, sizeof(line_start)))
        return parse_line(out, data, len);
    return -EPROTO;
}
