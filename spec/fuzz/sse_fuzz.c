/* Messages of event streams, with a label in front: what a browser reads out of
 * the bytes is the message, its line breaks made one kind, and nothing else,
 * whatever stands in it. */
#include "fuzz.h"

#include <string.h>

#include "clients/client_shared.h"
#include "clients/protocol.h"
#include "util/utf8.h"
#include "wire/label.h"

/* What an EventSource knows of one event. */
struct event {
    struct buf data, name, id;
    unsigned count; /* of events */
};

static void set(struct buf *field, const char *value, size_t len)
{
    buf_clear(field);
    buf_append(field, value, len);
}

/* A line, as WHATWG HTML section 9.2.6 interprets it. */
static void read_line(struct event *e, const char *line, size_t len)
{
    const char *colon = len > 0 ? memchr(line, ':', len) : NULL;
    size_t name = colon ? (size_t)(colon - line) : len;
    const char *value = colon ? colon + 1 : line + len;
    size_t value_len = (size_t)(line + len - value);

    if (len == 0) {
        e->count++;
        return;
    }
    if (value_len > 0 && *value == ' ') {
        value++;
        value_len--;
    }
    if (name == 4 && memcmp(line, "data", 4) == 0) {
        buf_append(&e->data, value, value_len);
        buf_append_byte(&e->data, '\n');
    } else if (name == 5 && memcmp(line, "event", 5) == 0) {
        set(&e->name, value, value_len);
    } else {
        assert(name == 2 && memcmp(line, "id", 2) == 0);
        set(&e->id, value, value_len);
    }
}

static void read_stream(struct event *e, const struct buf *bytes)
{
    const char *at = (const char *)bytes->data;
    const char *end = at + bytes->len;

    assert(utf8_valid(bytes->data, bytes->len));
    while (at < end) {
        const char *line = at;

        while (at < end && *at != '\n' && *at != '\r')
            at++;
        assert(at < end && *at == '\n');
        read_line(e, line, (size_t)(at - line));
        at++;
    }
    assert(e->data.len > 0);
    e->data.len--; /* the last line break */
}

static void normalize(struct buf *out, const struct buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] == '\r' && i + 1 < text->len &&
            text->data[i + 1] == '\n')
            continue;
        buf_append_byte(out, text->data[i] == '\r' ? '\n' : text->data[i]);
    }
}

static bool is(const struct buf *b, const char *text, size_t len)
{
    return b->len == len && (len == 0 || memcmp(b->data, text, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct client_shared shared;
    struct label label, again;
    ssize_t used = label_read(&label, data, len);
    struct buf out = {0}, text = {0}, want = {0}, bytes = {0};
    struct event e = {0};

    if (used < 0)
        return 0;
    label_put(&bytes, &label);
    assert(label_read(&again, bytes.data, bytes.len) == (ssize_t)bytes.len);
    assert(
        (size_t)used == bytes.len && memcmp(bytes.data, data, bytes.len) == 0);
    proto_sse.put_label(&out, &label);
    proto_sse.put(
        &shared, &out, data + used, len - (size_t)used, PROTOCOL_AS_USUAL);
    read_stream(&e, &out);
    assert(e.count == 1);
    assert(is(&e.name, label.event, label.event_len));
    assert(is(&e.id, label.id, label.id_len));
    utf8_repair(&text, data + used, len - (size_t)used);
    normalize(&want, &text);
    assert(fuzz_same(&e.data, &want));
    buf_fini(&out);
    buf_fini(&text);
    buf_fini(&want);
    buf_fini(&bytes);
    buf_fini(&e.data);
    buf_fini(&e.name);
    buf_fini(&e.id);
    return 0;
}
