/* Digits without tables and branches on the way out; strict on the way in: any
 * text that client_id_format() would not have made is refused. */
#include "wire/client_id.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* The eight hex digits of value, all at once, for this runs for every event of
 * every client: its nibbles are spread to one a byte, the highest in the lowest
 * byte, and each becomes '0' plus itself, plus the gap before 'a' above 9. */
static void put_hex(char out[8], uint32_t value)
{
    uint64_t x = (uint64_t)(value & 0xffff) << 32 | value >> 16;

    x = (x & 0x0000ff000000ff00) >> 8 | (x & 0x000000ff000000ff) << 16;
    x = (x & 0x00f000f000f000f0) >> 4 | (x & 0x000f000f000f000f) << 8;
    x += 0x3030303030303030 +
         (((x + 0x0606060606060606) >> 4) & 0x0101010101010101) *
             ('a' - '9' - 1);
    x = htole64(x);
    memcpy(out, &x, sizeof(x));
}

void client_id_format(char out[CLIENT_ID_LEN + 1], const struct client_id *id)
{
    put_hex(out, id->local_ip);
    put_hex(out + 8, (uint32_t)id->local_port << 16);
    put_hex(out + 12, id->connection_id);
    out[CLIENT_ID_LEN] = '\0';
}

/* The value of a hex digit, or -1. */
static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* At most 8 hex digits. */
static int parse_hex(uint32_t *out, const char *text, size_t digits)
{
    uint32_t value = 0;

    for (size_t i = 0; i < digits; i++) {
        int v = digit_value(text[i]);

        if (v < 0)
            return -EINVAL;
        value = value << 4 | (uint32_t)v;
    }
    *out = value;
    return 0;
}

int client_id_parse(struct client_id *out, const char *text, size_t len)
{
    uint32_t ip, port, connection_id;

    if (len != CLIENT_ID_LEN || parse_hex(&ip, text, 8) < 0 ||
        parse_hex(&port, text + 8, 4) < 0 ||
        parse_hex(&connection_id, text + 12, 8) < 0)
        return -EINVAL;
    out->local_ip = ip;
    out->local_port = (uint16_t)port;
    out->connection_id = connection_id;
    return 0;
}
