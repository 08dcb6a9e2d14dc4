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

void client_lws_read(struct client_conn *c, bool enable)
{
}

void client_conn_failed(struct client_conn *c)
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

/* ---- streams ---- */

/* With pauses, the client is read from for a moment before each piece. */
static void hear_stream(struct heard *heard, struct client_io *io,
    const uint8_t *data, size_t len, size_t step, bool pauses)
{
    struct client_conn c = {.io = io, .state = CLIENT_OPEN, .ready = true};

    *heard = (struct heard){0};
    io->arg = heard;
    for (size_t at = 0; at < len; at += step) {
        if (pauses)
            client_pause(&c);
        client_recv_stream(&c, data + at, step < len - at ? step : len - at);
        client_resume(&c);
        client_recv_kept(&c); /* as at the end of the turn */
    }
    client_recv_drop(&c);
}

static void check_stream(
    struct client_io *io, const uint8_t *data, size_t len, uint8_t how)
{
    struct heard whole, pieces;

    hear_stream(&whole, io, data, len, len ? len : 1, false);
    for (int pauses = 0; pauses < 2; pauses++) {
        hear_stream(&pieces, io, data, len, 1 + how % 16U, pauses);
        assert(fuzz_same(&whole.messages, &pieces.messages));
        assert(whole.closed == pieces.closed);
        buf_fini(&pieces.messages);
    }
    buf_fini(&whole.messages);
}

/* ---- websocket messages ---- */

/* The pieces that the library makes of frames: a byte says how long one is and
 * whether it ends its frame and the message. */
static void check_pieces(struct client_io *io, const uint8_t *data, size_t len)
{
    struct client_conn c = {.io = io, .state = CLIENT_OPEN, .ready = true};
    struct heard heard = {0};
    struct buf want = {0}, message = {0};
    bool binary = false, begun = false;

    io->arg = &heard;
    while (len > 0 && c.state == CLIENT_OPEN) {
        uint8_t how = *data++;
        struct client_piece p = {.data = data, .final = how & 128};
        bool oversize;

        len--;
        p.len = how % 32U < len ? how % 32U : len;
        p.frame_end = how & 64;
        p.rest = p.frame_end ? 0 : how & 32;
        p.binary = begun ? binary : p.len % 2;
        binary = p.binary;
        begun = true;
        buf_append(&message, data, p.len);
        oversize = message.len + p.rest > MESSAGE_MAX;
        client_recv_piece(&c, &p);
        assert(!oversize || heard.closed == 1009);
        data += p.len;
        len -= p.len;
        if (oversize || !p.final || !p.frame_end)
            continue;
        if (binary || utf8_valid(message.data, message.len)) {
            buf_printf(&want, "%zu %d ", message.len, binary);
            buf_append(&want, message.data, message.len);
        } else {
            assert(heard.closed == 1007);
        }
        buf_clear(&message);
        begun = false;
    }
    assert(fuzz_same(&want, &heard.messages));
    client_recv_drop(&c);
    buf_fini(&want);
    buf_fini(&message);
    buf_fini(&heard.messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct client_io_conf conf = {.message_max = MESSAGE_MAX};
    struct client_io io = {.conf = &conf, .ops = &ops};

    log_set_level(LOG_ERROR);
    if (len < 2)
        return 0;
    conf.protocol = data[0] % 2 ? CLIENT_IO_TEXT : CLIENT_IO_FRAME;
    if (data[0] % 4 < 2)
        check_stream(&io, data + 2, len - 2, data[1]);
    else
        check_pieces(&io, data + 2, len - 2);
    return 0;
}
