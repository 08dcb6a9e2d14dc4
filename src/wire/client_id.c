#include "wire/client_id.h"

#include <errno.h>

/* Without printf: this runs for every event of every client. */
static char *put_hex(char *out, uint32_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        out[i] = "0123456789abcdef"[value & 0xf];
    return out + digits;
}

void client_id_format(char out[CLIENT_ID_LEN + 1], const struct client_id *id)
{
    out = put_hex(out, id->local_ip, 8);
    out = put_hex(out, id->local_port, 4);
    out = put_hex(out, id->connection_id, 8);
    *out = '\0';
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
