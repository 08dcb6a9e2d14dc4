/* What clients send: any cut of a stream, and any pause, gives the same
 * messages; none is over the limit. The first byte says the protocol, the
 * second how the rest is cut. */
#include "fuzz.h"

#include <stdlib.h>

#include "gateway/client_io_impl.h"
#include "util/log.h"
#include "util/utf8.h"

#define MESSAGE_MAX 64

struct heard {
    struct buf messages; /* each with its length before it */
    int closed;          /* code */
};

/* ---- the parts of client_io around it ---- */

void client_close(struct client_conn *c, int code, const char *reason)
{
    struct heard *heard = c->io->arg;

    heard->closed = code;
    c->state = CLIENT_CLOSING;
}

void client_conn_end(struct client_conn *c)
{
    c->state = CLIENT_CLOSING;
    c->last = true;
    client_recv_drop(c);
}

void client_conn_blame(struct client_conn *c, int code, const char *reason)
{
    struct heard *heard = c->io->arg;

    heard->closed = code;
}

void client_queue_control(struct client_conn *c, enum wsframe_opcode opcode,
    const void *data, size_t len)
{
    struct heard *heard = c->io->arg;

    assert(len <= WSFRAME_CONTROL_MAX);
    buf_printf(&heard->messages, "%zu control %d ", len, (int)opcode);
    buf_append(&heard->messages, data, len);
}

void client_queue_pong(struct client_conn *c, const void *data, size_t len)
{
    client_queue_control(c, WSFRAME_PONG, data, len);
}

void client_sock_watch(struct client_conn *c)
{
}

void client_conn_schedule(struct client_conn *c)
{
}

static void on_activity(void *client, void *arg)
{
}

static void on_message(
    void *client, const void *data, size_t len, bool binary, void *arg)
{
    struct heard *heard = arg;

    assert(len <= MESSAGE_MAX);
    buf_printf(&heard->messages, "%zu %d ", len, binary);
    buf_append(&heard->messages, data, len);
}

static const struct client_io_ops ops = {
    .on_message = on_message,
    .on_activity = on_activity,
};

/* With pauses, the client is read from for a moment before each piece. */
static void hear(struct heard *heard, struct client_io *io, const uint8_t *data,
    size_t len, size_t step, bool pauses)
{
    struct client_conn c = {.io = io, .state = CLIENT_OPEN};
    struct buf piece = {0};

    *heard = (struct heard){0};
    io->arg = heard;
    for (size_t at = 0; at < len; at += step) {
        if (pauses)
            client_pause(&c);
        buf_clear(&piece); /* its mask is taken off in place */
        buf_append(&piece, data + at, step < len - at ? step : len - at);
        client_recv(&c, piece.data, piece.len);
        client_resume(&c);
        client_recv_kept(&c); /* as at the end of the turn */
    }
    client_recv_drop(&c);
    buf_fini(&piece);
}

static void check_cuts(
    struct client_io *io, const uint8_t *data, size_t len, uint8_t how)
{
    struct heard whole, pieces;

    hear(&whole, io, data, len, len ? len : 1, false);
    for (int pauses = 0; pauses < 2; pauses++) {
        hear(&pieces, io, data, len, 1 + how % 16U, pauses);
        assert(fuzz_same(&whole.messages, &pieces.messages));
        assert(whole.closed == pieces.closed);
        buf_fini(&pieces.messages);
    }
    buf_fini(&whole.messages);
}

/* Frames made of the input: a byte says how long one is, what it is and whether
 * it ends its message. Valid ones bring the messages that went into them. */
static void check_frames(
    struct client_io *io, const uint8_t *data, size_t len, uint8_t step)
{
    struct buf frames = {0}, want = {0}, message = {0};
    bool binary = false, begun = false, ends = false;
    struct heard heard;
    int fragments = 0;

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
            fragments = final ? 0 : fragments + 1;
            ends = message.len + n > MESSAGE_MAX ||
                   fragments == CLIENT_FRAGMENTS_MAX;
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
    hear(&heard, io, frames.data, frames.len, 1 + step % 16U, step & 16);
    assert(fuzz_same(&want, &heard.messages));
    assert(ends == (heard.closed == 1007 || heard.closed == 1009));
    buf_fini(&frames);
    buf_fini(&want);
    buf_fini(&message);
    buf_fini(&heard.messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum client_io_protocol protocols[] = {CLIENT_IO_FRAME,
        CLIENT_IO_TEXT, CLIENT_IO_WEBSOCKET, CLIENT_IO_WEBSOCKET};
    static struct client_io_conf conf = {.message_max = MESSAGE_MAX};
    struct client_io io = {.conf = &conf, .ops = &ops};

    log_set_level(LOG_ERROR);
    if (len < 2)
        return 0;
    conf.protocol = protocols[data[0] % 4];
    if (data[0] % 4 < 3)
        check_cuts(&io, data + 2, len - 2, data[1]);
    else
        check_frames(&io, data + 2, len - 2, data[1]);
    return 0;
}
