/* fake_gateway.h - a gateway's inner port on the fixture's loop: it records
 * what workers send, and answers and speaks as the test says.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_WORKER_FAKE_GATEWAY_H
#define GW_SPEC_WORKER_FAKE_GATEWAY_H

#include "fixture.h"
#include "net/conn.h"
#include "net/listener.h"
#include "wire/ack.h"
#include "wire/bigendian.h"
#include "wire/frame.h"
#include "wire/framing.h"

#define FAKE_LINKS_MAX 8

struct fake_gateway {
    struct listener *listener;
    union addr addr;
    char address[ADDR_TEXT_SIZE]; /* "127.0.0.1:port" */
    struct conn *links[FAKE_LINKS_MAX];
    struct conn *events;   /* the link that said WORKER_CONNECT */
    struct conn *commands; /* the link that sent the last command */
    size_t accepted;
    struct buf got;     /* "SEND_TO_ONE:ext:body " for each frame but ACK, or
                           "SEND_TO_ONE/binary:ext:body " */
    char greeting[512]; /* body of the last GATEWAY_CLIENT_CONNECT */
    /* Called for each query-like command; NULL answers nothing. */
    void (*on_command)(struct fake_gateway *g, const struct frame *f);
};

static inline void fake_note_numbers(
    struct buf *out, const struct ack_numbers *numbers, const char *name)
{
    for (size_t i = 0; i < numbers->count; i++)
        buf_printf(out, " %s%u", name, ack_number(numbers, i));
}

/* "[2 taken, 1 ended, waits 0, begins 7] " */
static inline void fake_note_ack(struct buf *out, const struct frame *f)
{
    struct ack ack;

    assert_int_equal(ack_parse(&ack, f->body, f->body_len), 0);
    buf_printf(out, "[%u taken, %u ended", ack.taken, ack.ended);
    fake_note_numbers(out, &ack.waits, "waits ");
    fake_note_numbers(out, &ack.begins, "begins ");
    buf_append_str(out, "] ");
}

/* "[left of 3 4 5] ": of three that were taken those. */
static inline void fake_note_left(struct buf *out, const struct frame *f)
{
    struct ack_left left;

    assert_int_equal(ack_parse_left(&left, f->body, f->body_len), 0);
    assert_true(left.known);
    buf_printf(out, "[left of %u", left.taken);
    fake_note_numbers(out, &left.unbegun, "");
    buf_append_str(out, "] ");
}

static inline const char *fake_form(uint8_t flag)
{
    if (flag & FRAME_FLAG_RAW)
        return "/raw";
    if (flag & FRAME_FLAG_BINARY)
        return "/binary";
    return flag & FRAME_FLAG_TEXT ? "/text" : "";
}

static inline void fake_on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct fake_gateway *g = arg;
    struct frame f;

    assert_int_equal(frame_decode(&f, packet, len), 0);
    if (f.cmd == FRAME_ACK) {
        fake_note_ack(&g->got, &f);
        return;
    }
    if (f.cmd == FRAME_HANGS) {
        assert_int_equal(f.body_len, 4);
        buf_printf(&g->got, "[hangs in %u] ", get32(f.body));
        return;
    }
    if (f.cmd == FRAME_WANTS) {
        const struct ack_numbers ids = {f.body, f.body_len / 4};

        buf_append_str(&g->got, "[wants");
        fake_note_numbers(&g->got, &ids, "");
        buf_append_str(&g->got, "] ");
        return;
    }
    if (f.cmd == FRAME_LEFT) {
        fake_note_left(&g->got, &f);
        return;
    }
    if (f.cmd == FRAME_GATEWAY_CLIENT_CONNECT) {
        g->commands = c;
        snprintf(g->greeting, sizeof(g->greeting), "%.*s", (int)f.body_len,
            (const char *)f.body);
        return;
    }
    buf_printf(&g->got, "%s%s:%.*s:%.*s ", frame_cmd_name(f.cmd),
        fake_form(f.flag), (int)f.ext_len, (const char *)f.ext, (int)f.body_len,
        (const char *)f.body);
    if (f.cmd == FRAME_WORKER_CONNECT) {
        g->events = c;
        return;
    }
    g->commands = c;
    if (g->on_command)
        g->on_command(g, &f);
}

static inline void fake_forget(struct fake_gateway *g, struct conn *c)
{
    for (int i = 0; i < FAKE_LINKS_MAX; i++) {
        if (g->links[i] == c)
            g->links[i] = NULL;
    }
    if (g->events == c)
        g->events = NULL;
    if (g->commands == c)
        g->commands = NULL;
}

static inline void fake_on_close(struct conn *c, int err, void *arg)
{
    fake_forget(arg, c);
}

static const struct conn_ops fake_ops = {
    .measure = frame_measure,
    .on_packet = fake_on_packet,
    .on_close = fake_on_close,
};

static inline void fake_on_accept(
    struct listener *l, int fd, const union addr *peer, void *arg)
{
    static const struct conn_limits limits = {FRAME_MAX_LEN, FRAME_MAX_LEN};
    struct fake_gateway *g = arg;

    g->accepted++;
    for (int i = 0; i < FAKE_LINKS_MAX; i++) {
        if (g->links[i])
            continue;
        g->links[i] = conn_open(fixture.turn, fd, &fake_ops, &limits, g);
        return;
    }
    fail_msg("too many links");
}

/* port 0 of addr: the kernel chooses. */
static inline void fake_listen(struct fake_gateway *g)
{
    int fd;

    if (g->addr.sa.sa_family == 0)
        addr_parse(&g->addr, "127.0.0.1:0");
    fd = listener_bind(&g->addr, false);
    assert_true(fd >= 0);
    assert_int_equal(
        listener_open(&g->listener, &fixture.loop, fd, fake_on_accept, g), 0);
    listener_addr(g->listener, &g->addr);
    addr_format(g->address, &g->addr);
}

/* Cut the links; they may come again. */
static inline void fake_cut(struct fake_gateway *g)
{
    for (int i = 0; i < FAKE_LINKS_MAX; i++) {
        if (g->links[i])
            conn_close(g->links[i]);
        g->links[i] = NULL;
    }
    g->events = NULL;
    g->commands = NULL;
}

/* Gone: no port any more. */
static inline void fake_die(struct fake_gateway *g)
{
    fake_cut(g);
    if (g->listener)
        listener_close(g->listener);
    g->listener = NULL;
}

static inline void fake_close(struct fake_gateway *g)
{
    fake_die(g);
    buf_fini(&g->got);
}

/* What came since the last call. */
static inline const char *fake_got(struct fake_gateway *g)
{
    const char *text = buf_text(&g->got);

    buf_clear(&g->got);
    return text;
}

static inline bool fake_has_events(void *arg)
{
    return ((struct fake_gateway *)arg)->events != NULL;
}

static inline bool fake_heard(void *arg)
{
    return ((struct fake_gateway *)arg)->got.len > 0;
}

/* As fake_event(), with more flags. */
static inline void fake_flagged_event(struct fake_gateway *g, uint8_t cmd,
    uint8_t flags, uint32_t id, const char *body, const char *session)
{
    struct frame f = {
        .cmd = cmd,
        .flag = FRAME_FLAG_STRING | flags,
        .local_ip = addr_ipv4(&g->addr),
        .local_port = addr_port(&g->addr),
        .connection_id = id,
        .ext = (const uint8_t *)session,
        .ext_len = strlen(session),
        .body = (const uint8_t *)body,
        .body_len = strlen(body),
    };

    assert_non_null(g->events);
    frame_encode(conn_out(g->events), &f);
}

/* Send the worker an event with a plain body. */
static inline void fake_event(struct fake_gateway *g, uint8_t cmd, uint32_t id,
    const char *body, const char *session)
{
    fake_flagged_event(g, cmd, 0, id, body, session);
}

/* Ask for acknowledgements. */
static inline void fake_want_acks(struct fake_gateway *g)
{
    struct frame f = {.cmd = FRAME_ACK};

    frame_encode(conn_out(g->events), &f);
}

/* Ask what was left of the links of that pair. */
static inline void fake_want_left(struct fake_gateway *g, const char *pair)
{
    struct frame f = {.cmd = FRAME_LEFT,
        .flag = FRAME_FLAG_STRING,
        .body = (const uint8_t *)pair,
        .body_len = strlen(pair) + 1};

    frame_encode(conn_out(g->events), &f);
}

/* Let so many events be taken, before the first one; then up to that number,
 * and the first that waits of that client (0: of none) begin. */
static inline void fake_set_window(struct fake_gateway *g, uint8_t limit)
{
    const uint8_t body[] = {0, 0, 0, limit};
    struct frame f = {.cmd = FRAME_WINDOW,
        .flag = FRAME_FLAG_STRING,
        .body = body,
        .body_len = sizeof(body)};

    frame_encode(conn_out(g->events), &f);
}

static inline void fake_grant(struct fake_gateway *g, uint8_t limit, uint8_t id)
{
    const uint8_t body[] = {FRAME_GRANT, 0, 0, 0, limit, 0, 0, 0, id};

    framing_reply_encode(conn_out(g->commands), body, id > 0 ? 9 : 5);
}

static inline void fake_answer(struct fake_gateway *g, const char *text)
{
    framing_reply_encode(conn_out(g->commands), text, strlen(text));
}

#endif /* GW_SPEC_WORKER_FAKE_GATEWAY_H */
