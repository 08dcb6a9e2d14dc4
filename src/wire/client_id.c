#include "wire/client_id.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

void client_id_format(char out[CLIENT_ID_LEN + 1], const struct client_id *id)
{
    snprintf(out, CLIENT_ID_LEN + 1, "%08" PRIx32 "%04" PRIx16 "%08" PRIx32,
        id->local_ip, id->local_port, id->connection_id);
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
