/* What clients send: any cut of a stream, and any pause, gives the same
 * messages; none is over the limit. The first byte says the protocol, the
 * second how the rest is cut. */
#include "fuzz.h"

#include <stdlib.h>

#include "clients/client_conn_impl.h"
#include "clients/part.h"
#include "clients/recv.h"
#include "util/log.h"
#include "util/utf8.h"
#include "wire/wsframe.h"

#define MESSAGE_MAX 64

struct heard {
    struct buf messages; /* each with its length before it */
    int closed;          /* code */
};

/* ---- what is around it ---- */

void client_conn_close(struct client_conn *c, enum client_conn_cause cause,
    int code, const char *reason)
{
    struct heard *heard = c->shared->arg;

    heard->closed = code;
    c->state = CLIENT_CONN_CLOSE_SENT;
    list_remove(&c->deadline);
}

void client_conn_finish(struct client_conn *c)
{
    part_drop(c);
    c->state = CLIENT_CONN_LAST;
    list_remove(&c->deadline);
}

void client_conn_blame(struct client_conn *c, enum client_conn_cause cause,
    int code, const char *reason)
{
    struct heard *heard = c->shared->arg;

    heard->closed = code;
}

/* Only control frames are queued here. */
void client_conn_queue(struct client_conn *c, const void *data, size_t len)
{
    const uint8_t *frame = data;
    struct heard *heard = c->shared->arg;

    assert(len >= 2 && len - 2 == frame[1] && frame[1] <= WSFRAME_CONTROL_MAX);
    buf_printf(&heard->messages, "%zu control %d ", len - 2, frame[0] & 15);
    buf_append(&heard->messages, frame + 2, len - 2);
}

bool client_conn_has_room(const struct client_conn *c, size_t len)
{
    return true;
}

void client_conn_ping(struct client_conn *c)
{
}

void client_conn_schedule(struct client_conn *c)
{
}

void client_conn_expect(struct client_conn *c, struct list *list, uint64_t ms)
{
    assert(c->part != NULL && client_conn_is_taken(c) &&
           c->state == CLIENT_CONN_OPEN);
    list_remove(&c->deadline);
    list_push_back(list, &c->deadline);
}

void client_shared_start_sweep(struct client_shared *shared)
{
}

int client_conn_open(
    struct client_conn *c, const struct client_conn_request *request)
{
    assert(false); /* it is open */
    return 0;
}

void client_conn_doom(struct client_conn *c)
{
    assert(false);
}

static void on_activity(void *client, void *arg)
{
}

static void on_message(void *client, const void *data, size_t len,
    enum protocol_form form, void *arg)
{
    struct heard *heard = arg;

    assert(len <= MESSAGE_MAX);
    buf_printf(&heard->messages, "%zu %d ", len, form == PROTOCOL_AS_BINARY);
    buf_append(&heard->messages, data, len);
}

static const struct client_conn_ops ops = {
    .on_message = on_message,
    .on_activity = on_activity,
};

/* What is counted is what is there, and its time runs. */
static void check_part(const struct client_conn *c)
{
    const struct part *p = c->part;

    assert((p != NULL) == (c->shared->counters.unfinished > 0));
    if (c->state == CLIENT_CONN_OPEN)
        assert((p != NULL) == !list_empty(&c->deadline));
    if (p == NULL)
        return;
    assert(p->in.len > 0 || p->in_message);
    assert(p->counted == c->shared->counters.unfinished);
    assert(p->counted <= 8 * 1024); /* of messages of 64 bytes */
}

static void set_pause(struct client_conn *c, bool on)
{
    if (c->state != CLIENT_CONN_OPEN)
        return;
    c->sock.interest = on ? SOCK_NOTHING : SOCK_BYTES;
    if (on)
        list_remove(&c->deadline);
}

/* With pauses, the client is read from for a moment before each piece. */
static void hear(struct heard *heard, struct client_shared *shared,
    const uint8_t *data, size_t len, size_t step, bool pauses)
{
    struct client_conn c = {.shared = shared,
        .stage = &recv_stage,
        .state = CLIENT_CONN_OPEN,
        .sock.interest = SOCK_BYTES};
    struct buf piece = {0};

    list_init(&c.deadline);
    *heard = (struct heard){0};
    shared->arg = heard;
    for (size_t at = 0; at < len; at += step) {
        if (pauses)
            set_pause(&c, true);
        buf_clear(&piece); /* its mask is taken off in place */
        buf_append(&piece, data + at, step < len - at ? step : len - at);
        recv_bytes(&c, piece.data, piece.len);
        set_pause(&c, false);
        recv_stage.turn(&c);
        check_part(&c);
    }
    part_drop(&c);
    assert(shared->counters.unfinished == 0 && list_empty(&c.deadline));
    buf_fini(&piece);
}

static void check_cuts(
    struct client_shared *shared, const uint8_t *data, size_t len, uint8_t how)
{
    struct heard whole, pieces;

    hear(&whole, shared, data, len, len ? len : 1, false);
    for (int pauses = 0; pauses < 2; pauses++) {
        hear(&pieces, shared, data, len, 1 + how % 16U, pauses);
        assert(fuzz_same(&whole.messages, &pieces.messages));
        assert(whole.closed == pieces.closed);
        buf_fini(&pieces.messages);
    }
    buf_fini(&whole.messages);
}

/* Frames made of the input: a byte says how long one is, what it is and whether
 * it ends its message. Valid ones bring the messages that went into them. */
static void check_frames(
    struct client_shared *shared, const uint8_t *data, size_t len, uint8_t step)
{
    struct buf frames = {0}, want = {0}, message = {0};
    bool binary = false, begun = false, ends = false;
    struct heard heard;

    while (len > 0 && !ends) {
        uint8_t how = *data++;
        size_t n = how % 32U < --len ? how % 32U : len;
        bool final = how & 128;
        uint8_t opcode = how & 64 && final ? WSFRAME_PING
                         : begun           ? WSFRAME_CONTINUATION
                         : how & 32        ? WSFRAME_BINARY
                                           : WSFRAME_TEXT;

        buf_append_byte(&frames, (uint8_t)((final ? 0x80 : 0) | opcode));
        buf_append_byte(&frames, (uint8_t)(0x80 | n));
        buf_append(&frames, "\x5a\x01\xff\x80", 4);
        for (size_t i = 0; i < n; i++)
            buf_append_byte(
                &frames, data[i] ^ (uint8_t) "\x5a\x01\xff\x80"[i % 4]);
        if (opcode == WSFRAME_PING) {
            buf_printf(&want, "%zu control %d ", n, WSFRAME_PONG);
            buf_append(&want, data, n);
        } else {
            if (!begun)
                binary = opcode == WSFRAME_BINARY;
            begun = !final;
            ends = message.len + n > MESSAGE_MAX;
            buf_append(&message, data, n);
            if (final && !ends) {
                ends = !binary && !utf8_valid(message.data, message.len);
                if (!ends) {
                    buf_printf(&want, "%zu %d ", message.len, binary);
                    buf_append(&want, message.data, message.len);
                }
                buf_clear(&message);
            }
        }
        data += n;
        len -= n;
    }
    hear(&heard, shared, frames.data, frames.len, 1 + step % 16U, step & 16);
    assert(fuzz_same(&want, &heard.messages));
    assert(ends == (heard.closed == 1007 || heard.closed == 1009));
    buf_fini(&frames);
    buf_fini(&want);
    buf_fini(&message);
    buf_fini(&heard.messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct client_protocol *const protocols[] = {
        &proto_frame, &proto_text, &proto_websocket, &proto_websocket};
    static struct port_conf conf = {
        .message_max = MESSAGE_MAX, .message_timeout = 1};
    struct client_shared shared = {.conf = &conf, .ops = &ops};

    list_init(&shared.receiving);
    for (size_t i = 0; i < CLIENT_SHARED_PARTS; i++)
        list_init(&shared.parts[i]);

    log_set_level(LOG_ERROR);
    if (len < 2)
        return 0;
    conf.protocol = protocols[data[0] % 4];
    if (data[0] % 4 < 3)
        check_cuts(&shared, data + 2, len - 2, data[1]);
    else
        check_frames(&shared, data + 2, len - 2, data[1]);
    return 0;
}
