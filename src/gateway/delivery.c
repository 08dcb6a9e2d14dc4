/* The message in a command's body, on its way to clients. PHP's strings go as
 * they are, its other values as JSON or not at all; a message to many is framed
 * once, and every queue takes a reference. */
#include "gateway/delivery.h"

#include <errno.h>
#include <string.h>

#include "wire/phpjson.h"

#define FAULT_LINES 10 /* a second, about messages that cannot be sent */
#define JSON_KEEP   (64 * 1024) /* bytes of the scratch buffer worth keeping */

/* What a command is to send. */
struct message {
    const uint8_t *data; /* borrowed */
    size_t len;
    enum protocol_form form;
};

/* What PHP sends as a string, never serialized. */
static bool is_scalar(const struct frame *f)
{
    static const uint8_t types[] = {'b', 'i', 'd', 's'};

    return f->body_len > 0 && memchr(types, f->body[0], sizeof(types));
}

static const char *why_unsendable(int err)
{
    switch (err) {
    case -EINVAL:
        return "only a websocket can have it, as JSON, and not raw";
    case -ENOTSUP:
        return "JSON has no objects of PHP, references, INF or NAN";
    case -E2BIG:
        return "nested too deep, or too long";
    default:
        return "it is not what PHP serializes";
    }
}

/* PHP's arrays and null come serialized. As with Workerman 5, a websocket gets
 * them as JSON, and the other protocols do not get them at all. Out of the way
 * of strings. */
__attribute__((noinline)) static int read_value(
    struct delivery *d, const struct frame *f, struct message *m)
{
    int err = -EINVAL;

    buf_clear(&d->json);
    buf_shrink(&d->json, JSON_KEEP);
    if (port_protocol(d->port)->has_types && m->form != PROTOCOL_AS_IS)
        err = is_scalar(f) ? -EPROTO
                           : phpjson_put_value(&d->json, f->body, f->body_len);
    if (err == 0) {
        m->data = d->json.data;
        m->len = d->json.len;
        return 0;
    }
    if (log_may(&d->faults, "messages that cannot be sent", FAULT_LINES, 1000))
        log_warn("message that is no string cannot be sent cmd=%s why=\"%s\"",
            frame_cmd_name(f->cmd), why_unsendable(err));
    return err;
}

static enum protocol_form form_of(const struct frame *f)
{
    if (!(f->flag & (FRAME_FLAG_RAW | FRAME_FLAG_TYPES)))
        return PROTOCOL_AS_USUAL;
    if (f->flag & FRAME_FLAG_RAW)
        return PROTOCOL_AS_IS;
    return f->flag & FRAME_FLAG_BINARY ? PROTOCOL_AS_BINARY : PROTOCOL_AS_TEXT;
}

/* The message in f's body. False: there is none that can be sent, logged. */
static bool read_message(
    struct delivery *d, const struct frame *f, struct message *m)
{
    *m = (struct message){f->body, f->body_len, form_of(f)};
    return (f->flag & FRAME_FLAG_STRING) || read_value(d, f, m) == 0;
}

/* How many messages err means: -ENOBUFS is counted by port. */
static size_t count_dropped(int err)
{
    return err == -ENOTCONN;
}

size_t delivery_to_one(
    struct delivery *d, const struct client *c, const struct frame *f)
{
    struct message m;

    if (!read_message(d, f, &m))
        return 1;
    return count_dropped(client_conn_send(c->conn, m.data, m.len, m.form));
}

size_t delivery_to_picked(
    struct delivery *d, const struct picked *picked, const struct frame *f)
{
    size_t dropped = 0;
    struct message m;
    struct blob *framed;

    if (picked->count == 0)
        return 0;
    if (!read_message(d, f, &m))
        return 1;
    framed = port_frame(d->port, m.data, m.len, m.form);
    for (size_t i = 0; i < picked->count; i++)
        dropped += count_dropped(
            client_conn_send_blob(picked->items[i]->conn, framed));
    blob_unref(framed);
    return dropped;
}

void delivery_fini(struct delivery *d)
{
    buf_fini(&d->json);
}
