/* RFC 6455, on the server's side: frames to messages, checked on the way in and
 * repaired on the way out, pings, and the closing handshake. Frames are
 * unmasked in place; only fragments are copied. */
#include <errno.h>
#include <string.h>

#include "clients/client_conn_impl.h"
#include "clients/part.h"
#include "clients/recv.h"
#include "util/log.h"
#include "util/utf8.h"
#include "wire/bigendian.h"
#include "wire/wsframe.h"

#define REPAIRED_LOG 1000 /* ms between two lines about repaired messages */

/* ---- outward ---- */

static void put_frame(struct client_shared *shared, struct buf *out,
    const void *data, size_t len, bool binary);

/* Browsers hang up on a text frame that is not UTF-8, and all the others that
 * get the same message are bystanders. at: where it is not for the first time.
 */
static void put_repaired(struct client_shared *shared, struct buf *out,
    const uint8_t *data, size_t len, size_t at)
{
    struct buf text = {0};

    utf8_repair(&text, data, len);
    put_frame(shared, out, text.data, text.len, false);
    buf_fini(&text);
    shared->counters.repaired++;
    if (!log_may(
            &shared->repairs, "messages that are not UTF-8", 1, REPAIRED_LOG))
        return;
    log_warn("message is not UTF-8, sent with U+FFFD in place of what is not "
             "(send = \"binary\" sends bytes) len=%zu at=%zu byte=0x%02x",
        len, at, data[at]);
    if (shared->ops->on_repair != NULL)
        shared->ops->on_repair(data, len, shared->arg);
}

static void put_frame(struct client_shared *shared, struct buf *out,
    const void *data, size_t len, bool binary)
{
    enum wsframe_opcode opcode = binary ? WSFRAME_BINARY : WSFRAME_TEXT;
    size_t valid = binary ? len : utf8_valid_len(data, len);
    size_t head;
    uint8_t *at;

    if (valid < len) {
        put_repaired(shared, out, data, len, valid);
        return;
    }
    at = buf_reserve(out, WSFRAME_HEAD_MAX + len);
    head = wsframe_put_head(at, opcode, len);
    if (len > 0)
        memcpy(at + head, data, len);
    buf_commit(out, head + len);
}

static bool is_binary(
    const struct client_shared *shared, enum protocol_form form)
{
    return form == PROTOCOL_AS_USUAL ? shared->conf->send_binary
                                     : form == PROTOCOL_AS_BINARY;
}

static void put(struct client_shared *shared, struct buf *out, const void *data,
    size_t len, enum protocol_form form)
{
    put_frame(shared, out, data, len, is_binary(shared, form));
}

/* A control frame, behind everything. */
static void queue_control(struct client_conn *c, enum wsframe_opcode opcode,
    const void *data, size_t len)
{
    uint8_t frame[WSFRAME_HEAD_MAX + WSFRAME_CONTROL_MAX];
    size_t head = wsframe_put_head(frame, opcode, len);

    if (len > 0)
        memcpy(frame + head, data, len);
    client_conn_queue(c, frame, head + len);
}

/* Unless too much is queued: then only a later ping is answered. */
static void queue_pong(struct client_conn *c, const void *data, size_t len)
{
    if (client_conn_has_room(c, len))
        queue_control(c, WSFRAME_PONG, data, len);
}

static void ping(struct client_conn *c)
{
    queue_control(c, WSFRAME_PING, NULL, 0);
}

/* The reason is a text, too: repaired, and cut between characters. */
static void say_goodbye(struct client_conn *c, int code, const char *reason)
{
    struct buf payload = {0};
    size_t len;

    put16(buf_extend(&payload, 2), (uint16_t)code);
    if (reason != NULL)
        utf8_repair(&payload, (const uint8_t *)reason, strlen(reason));
    len = payload.len < WSFRAME_CONTROL_MAX ? payload.len : WSFRAME_CONTROL_MAX;
    len = 2 + utf8_valid_len(payload.data + 2, len - 2);
    queue_control(c, WSFRAME_CLOSE, payload.data, len);
    buf_fini(&payload);
}

/* ---- inward ---- */

static void fail(struct client_conn *c, int code, const char *reason)
{
    recv_fail(c, CLIENT_CONN_PROTOCOL_ERROR, code, reason);
}

static void deliver_checked(
    struct client_conn *c, const uint8_t *data, size_t len, bool binary)
{
    if (binary)
        recv_deliver(c, data, len, PROTOCOL_AS_BINARY);
    else if (utf8_valid(data, len))
        recv_deliver(c, data, len, PROTOCOL_AS_TEXT);
    else
        fail(c, 1007, "text is not UTF-8");
}

/* A data frame: a message, or a part of one. */
static void on_data(
    struct client_conn *c, const struct wsframe *f, const uint8_t *payload)
{
    bool in_message = c->part != NULL && c->part->in_message;
    struct buf whole = {0};
    struct part *p;

    if ((f->opcode == WSFRAME_CONTINUATION) != in_message) {
        fail(c, 1002, "fragments out of order");
        return;
    }
    if (f->final && !in_message) {
        deliver_checked(c, payload, f->len, f->opcode == WSFRAME_BINARY);
        return;
    }
    p = part_need(c);
    if (!in_message) {
        p->in_message = true;
        p->binary = f->opcode == WSFRAME_BINARY;
        list_remove(&c->deadline); /* its time begins */
    }
    buf_append(&p->message, payload, f->len);
    if (!f->final)
        return;
    buf_swap(&whole, &p->message);
    p->in_message = false;
    deliver_checked(c, whole.data, whole.len, p->binary);
    buf_fini(&whole);
}

/* Its Close: the answer to ours, or ours is the answer and says the same. */
static void on_close_frame(
    struct client_conn *c, const uint8_t *payload, size_t len)
{
    char said[WSFRAME_REASON_MAX + 1] = "";
    struct wsframe_close close;
    int err;

    if (c->state == CLIENT_CONN_CLOSE_SENT) {
        client_conn_finish(c);
        return;
    }
    err = wsframe_read_close(&close, payload, len);
    if (err == -EILSEQ) {
        fail(c, 1007, "close reason is not UTF-8");
        return;
    }
    if (err < 0) {
        fail(c, 1002, "bad close code");
        return;
    }
    if (close.len > 0)
        memcpy(said, close.reason, close.len);
    client_conn_blame(
        c, CLIENT_CONN_LEFT, (int)close.code, close.len > 0 ? said : NULL);
    queue_control(c, WSFRAME_CLOSE, payload, len);
    client_conn_finish(c);
}

static void on_frame(
    struct client_conn *c, const struct wsframe *f, const uint8_t *payload)
{
    if (f->opcode == WSFRAME_CLOSE) {
        on_close_frame(c, payload, f->len);
    } else if (c->state == CLIENT_CONN_OPEN) {
        if (f->opcode == WSFRAME_PING)
            queue_pong(c, payload, f->len);
        else if (f->opcode != WSFRAME_PONG)
            on_data(c, f, payload);
    }
}

/* Of the messages that its frames announce, none may be over the limit. */
static bool is_too_big(const struct client_conn *c, const struct wsframe *f)
{
    size_t kept = c->part != NULL ? c->part->message.len : 0;

    return f->opcode < WSFRAME_CLOSE &&
           f->len > c->shared->conf->message_max - kept;
}

/* Handle the whole frames at data, in place; returns the bytes used. */
static size_t take_frames(struct client_conn *c, uint8_t *data, size_t len)
{
    size_t used = 0;

    while (used < len && client_conn_is_taken(c)) {
        uint8_t *at = data + used;
        struct wsframe f;
        ssize_t head = wsframe_read(&f, at, len - used);

        if (head < 0) {
            fail(c, 1002, "protocol error");
            return len;
        }
        if (head == 0)
            break;
        if (is_too_big(c, &f)) {
            recv_too_large(c);
            return len;
        }
        if (f.len > len - used - (size_t)head)
            break;
        wsframe_unmask(&f, at + head);
        on_frame(c, &f, at + head);
        used += (size_t)head + f.len;
    }
    return used;
}

const struct client_protocol proto_websocket = {
    .name = "websocket",
    .begins_with_request = true,
    .upgrades = true,
    .has_types = true,
    .take = take_frames,
    .put = put,
    .ping = ping,
    .say_goodbye = say_goodbye,
};
