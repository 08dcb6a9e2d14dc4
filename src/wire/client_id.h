/* client_id.h - the name of a client in the whole system.
 *
 * 20 lower-case hex digits: gateway's inner IPv4 (8), its inner port (4), the
 * connection id in it (8). Source: GatewayWorker src/Lib/Context.php. It is an
 * address, not an authorisation.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_CLIENT_ID_H
#define GW_WIRE_CLIENT_ID_H

#include <stddef.h>
#include <stdint.h>

#define CLIENT_ID_LEN 20

struct client_id {
    uint32_t local_ip; /* host order */
    uint16_t local_port;
    uint32_t connection_id;
};

/* Write 20 digits and a NUL. */
void client_id_format(char out[CLIENT_ID_LEN + 1], const struct client_id *id);

/* Upper-case digits are accepted. 0 or -EINVAL. */
int client_id_parse(struct client_id *out, const char *text, size_t len);

#endif /* GW_WIRE_CLIENT_ID_H */
