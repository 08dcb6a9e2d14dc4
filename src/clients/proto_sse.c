/* Event streams (WHATWG HTML, server-sent events), which a request becomes when
 * a script says so (exchange.c): lines of fields, an empty line behind each
 * message. They go one way. What breaks a line in a message begins a field of
 * its own, so no message can forge another, or an event's name. */
#include <stdio.h>
#include <string.h>

#include "clients/client_conn_impl.h"
#include "clients/recv.h"
#include "util/utf8.h"

#define KEEP_ALIVE ":\n\n" /* a comment, which pages do not see */

/* Nobody knows what it would be an answer to. */
static size_t take(struct client_conn *c, uint8_t *data, size_t len)
{
    recv_fail(c, CLIENT_CONN_PROTOCOL_ERROR, 1002,
        "bytes behind the request of an event stream");
    return len;
}

static void put_field(
    struct buf *out, const char *name, const void *value, size_t len)
{
    buf_append_str(out, name);
    buf_append(out, ": ", 2);
    buf_append(out, value, len);
    buf_append_byte(out, '\n');
}

/* How many bytes of a line stand at data, and in *next those with its end. No
 * byte behind it is looked at: a message may be of nothing but ends. */
static size_t measure_line(const char *data, size_t len, size_t *next)
{
    size_t line = 0;

    while (line < len && data[line] != '\n' && data[line] != '\r')
        line++;
    *next = line + (line < len);
    if (line + 1 < len && data[line] == '\r' && data[line + 1] == '\n')
        ++*next;
    return line;
}

static void put_lines(struct buf *out, const char *data, size_t len)
{
    bool ended = true;

    while (len > 0 || ended) {
        size_t next, line = measure_line(data, len, &next);

        put_field(out, "data", data, line);
        ended = next > line;
        data += next;
        len -= next;
    }
    buf_append_byte(out, '\n');
}

/* What is not UTF-8 would become U+FFFD in the browser all the same. */
static void put(struct client_shared *shared, struct buf *out, const void *data,
    size_t len, enum protocol_form form)
{
    struct buf text = {0};

    if (utf8_valid(data, len)) {
        put_lines(out, data, len);
        return;
    }
    utf8_repair(&text, data, len);
    put_lines(out, (const char *)text.data, text.len);
    buf_fini(&text);
    shared->counters.repaired++;
}

static void put_label(struct buf *out, const struct label *label)
{
    if (label->event_len > 0)
        put_field(out, "event", label->event, label->event_len);
    if (label->id_len > 0)
        put_field(out, "id", label->id, label->id_len);
}

static void ping(struct client_conn *c)
{
    client_conn_queue(c, KEEP_ALIVE, strlen(KEEP_ALIVE));
}

/* As a string of JSON. */
static void put_string(struct buf *out, const char *text)
{
    buf_append_byte(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            buf_append_byte(out, '\\');
        if ((uint8_t)*text < ' ')
            buf_printf(out, "\\u%04x", (uint8_t)*text);
        else
            buf_append_byte(out, (uint8_t)*text);
    }
    buf_append_byte(out, '"');
}

/* A page that gets it closes its EventSource; otherwise that asks again. */
static void say_goodbye(struct client_conn *c, int code, const char *reason)
{
    struct buf out = {0};

    buf_printf(&out, "event: close\ndata: {\"code\":%d,\"reason\":", code);
    put_string(&out, reason != NULL ? reason : "");
    buf_append_str(&out, "}\n\n");
    client_conn_queue(c, out.data, out.len);
    buf_fini(&out);
}

const struct client_protocol proto_sse = {
    .name = "sse",
    .goes_one_way = true,
    .take = take,
    .put = put,
    .put_label = put_label,
    .ping = ping,
    .say_goodbye = say_goodbye,
};
