/* A port for requests alone (request.c, exchange.c): what becomes a client has
 * an event stream (proto_sse.c), so that nothing is taken or put here. */
#include "clients/protocol.h"

static size_t take_nothing(struct client_conn *c, uint8_t *data, size_t len)
{
    return len;
}

static void put_as_is(struct client_shared *shared, struct buf *out,
    const void *data, size_t len, enum protocol_form form)
{
    buf_append(out, data, len);
}

const struct client_protocol proto_http = {
    .name = "http",
    .begins_with_request = true,
    .has_types = true,
    .take = take_nothing,
    .put = put_as_is,
};
