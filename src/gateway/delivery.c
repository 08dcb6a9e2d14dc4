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
    struct protocol_message what;
    struct label label;
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
    if (port_protocol(d->port)->has_types && m->what.form != PROTOCOL_AS_IS)
        err = is_scalar(f) ? -EPROTO
                           : phpjson_put_value(&d->json, f->body, f->body_len);
    if (err == 0) {
        m->what.data = d->json.data;
        m->what.len = d->json.len;
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

/* The label in front of a message. */
static bool read_label(
    struct delivery *d, const struct frame *f, struct message *m)
{
    ssize_t used = label_read(&m->label, f->body, f->body_len);

    if (used < 0) {
        if (log_may(
                &d->faults, "messages that cannot be sent", FAULT_LINES, 1000))
            log_warn("message whose label is not valid cannot be sent cmd=%s",
                frame_cmd_name(f->cmd));
        return false;
    }
    m->what.data = f->body + used;
    m->what.len = f->body_len - (size_t)used;
    m->what.label = &m->label;
    return true;
}

/* The message in f's body. False: there is none that can be sent, logged. */
static bool read_message(
    struct delivery *d, const struct frame *f, struct message *m)
{
    m->what = (struct protocol_message){f->body, f->body_len, form_of(f), NULL};
    if (f->flag & FRAME_FLAG_LABEL)
        return read_label(d, f, m);
    return (f->flag & FRAME_FLAG_STRING) || read_value(d, f, m) == 0;
}

/* How many messages err means: -ENOBUFS is counted by port. */
static size_t count_dropped(int err)
{
    return err == -ENOTCONN;
}

/* The message for a client that has an event stream, made once for all of
 * these; NULL: it cannot have it, which is counted. Out of the way of all
 * others. */
__attribute__((noinline)) static struct blob *frame_event(struct delivery *d,
    const struct client *c, const struct message *m, struct blob **event)
{
    const struct client_protocol *p = client_conn_protocol(c->conn);

    if (p->goes_one_way && m->what.form == PROTOCOL_AS_BINARY) {
        port_count_binary(d->port);
        return NULL;
    }
    if (!*event)
        *event = port_frame(d->port, p, &m->what);
    return *event;
}

/* Clients of a port speak its protocol, or have event streams: each of the two
 * gets its own framing, once. */
static size_t deliver(struct delivery *d, struct client *const *clients,
    size_t count, const struct message *m)
{
    struct blob *own = NULL, *event = NULL;
    size_t dropped = 0;

    for (size_t i = 0; i < count; i++) {
        const struct client *c = clients[i];
        struct blob *framed = own;

        if (__builtin_expect(c->streams, 0)) {
            framed = frame_event(d, c, m, &event);
            if (!framed)
                continue;
        } else if (!framed) {
            own = port_frame(d->port, port_protocol(d->port), &m->what);
            framed = own;
        }
        dropped += count_dropped(client_conn_send_blob(c->conn, framed));
    }
    if (own)
        blob_unref(own);
    if (event)
        blob_unref(event);
    return dropped;
}

size_t delivery_to_one(
    struct delivery *d, struct client *c, const struct frame *f)
{
    struct message m;

    if (!read_message(d, f, &m))
        return 1;
    if (c->streams)
        return deliver(d, &c, 1, &m);
    return count_dropped(
        client_conn_send(c->conn, m.what.data, m.what.len, m.what.form));
}

size_t delivery_to_picked(
    struct delivery *d, const struct picked *picked, const struct frame *f)
{
    struct message m;

    if (picked->count == 0)
        return 0;
    if (!read_message(d, f, &m))
        return 1;
    return deliver(d, picked->items, picked->count, &m);
}

void delivery_fini(struct delivery *d)
{
    buf_fini(&d->json);
}
