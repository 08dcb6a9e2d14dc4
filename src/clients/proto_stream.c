/* GatewayWorker's protocols without a handshake: text (lines), frame (a length
 * in front) and tcp (whatever arrives is a message). They have no types, no
 * pings and no goodbye. */
#include <errno.h>
#include <string.h>

#include "clients/client_conn_impl.h"
#include "clients/part.h"
#include "clients/recv.h"
#include "wire/framing.h"

/* Of wire/framing.h. */
typedef ssize_t (*measure_fn)(const uint8_t *data, size_t len, size_t max);
typedef struct framing_message (*message_fn)(const uint8_t *packet, size_t len);

static inline size_t take_packets(struct client_conn *c, const uint8_t *data,
    size_t len, measure_fn measure, message_fn message)
{
    size_t max = c->shared->conf->message_max;
    size_t used = 0;

    while (used < len && client_conn_is_taken(c)) {
        ssize_t n = measure(data + used, len - used, max);
        struct framing_message m;

        if (n < 0) {
            if (n == -EMSGSIZE)
                recv_too_large(c);
            else
                recv_fail(c, CLIENT_CONN_PROTOCOL_ERROR, 1002, "bad length");
            return len;
        }
        if (n == 0 || (size_t)n > len - used)
            break;
        m = message(data + used, (size_t)n);
        recv_deliver(c, m.data, m.len, PROTOCOL_AS_USUAL);
        used += (size_t)n;
    }
    return used;
}

static size_t take_lines(struct client_conn *c, uint8_t *data, size_t len)
{
    return take_packets(
        c, data, len, framing_line_measure, framing_line_message);
}

static bool line_goes_on(
    const struct client_conn *c, const uint8_t *data, size_t len)
{
    return c->part->in.len + len <= c->shared->conf->message_max &&
           memchr(data, '\n', len) == NULL;
}

static void put_line(struct client_shared *shared, struct buf *out,
    const void *data, size_t len, enum protocol_form form)
{
    framing_line_encode(out, data, len);
}

const struct client_protocol proto_text = {
    .name = "text",
    .take = take_lines,
    .goes_on = line_goes_on,
    .put = put_line,
};

static size_t take_prefixed(struct client_conn *c, uint8_t *data, size_t len)
{
    return take_packets(
        c, data, len, framing_prefix_measure, framing_prefix_message);
}

static void put_prefixed(struct client_shared *shared, struct buf *out,
    const void *data, size_t len, enum protocol_form form)
{
    framing_prefix_encode(out, data, len);
}

const struct client_protocol proto_frame = {
    .name = "frame",
    .take = take_prefixed,
    .put = put_prefixed,
};

static size_t take_all(struct client_conn *c, uint8_t *data, size_t len)
{
    if (!client_conn_is_taken(c))
        return 0;
    recv_deliver(c, data, len, PROTOCOL_AS_USUAL);
    return len;
}

static void put_as_is(struct client_shared *shared, struct buf *out,
    const void *data, size_t len, enum protocol_form form)
{
    buf_append(out, data, len);
}

const struct client_protocol proto_tcp = {
    .name = "tcp",
    .take = take_all,
    .put = put_as_is,
};
