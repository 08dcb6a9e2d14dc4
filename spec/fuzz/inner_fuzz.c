/* The inner port: what workers and other programs may send a gateway, in any
 * order and in pieces, while clients come, speak and leave. The input is a
 * program; each step is a byte, and a few more say how. */
#include "fuzz.h"

#include "inner_world.h"
#include "net/clock.h"

#define STEPS_MAX 400

struct program {
    const uint8_t *at, *end;
};

static uint8_t take(struct program *p)
{
    return p->at < p->end ? *p->at++ : 0;
}

/* So many bytes, or those that are left. */
static void take_bytes(struct buf *out, struct program *p, size_t len)
{
    if (len > (size_t)(p->end - p->at))
        len = (size_t)(p->end - p->at);
    buf_append(out, p->at, len);
    p->at += len;
}

/* ---- texts: valid ones of every kind, and any bytes ---- */

static const char *take_name(struct program *p)
{
    static const char *const names[] = {
        "a", "b", "7", "07", "-7", "0", "", "room 1"};

    return names[take(p) % (sizeof(names) / sizeof(names[0]))];
}

static void put_names(struct buf *out, struct program *p)
{
    unsigned count = take(p) % 5;

    buf_append_byte(out, '[');
    for (unsigned i = 0; i < count; i++)
        buf_printf(out, "%s\"%s\"", i > 0 ? "," : "", take_name(p));
    buf_append_byte(out, ']');
}

/* As PHP writes them: a list, or an object. */
static void put_ids(struct buf *out, struct program *p)
{
    unsigned bits = take(p);
    bool list = take(p) % 2;
    const char *before = "";

    buf_append_byte(out, list ? '[' : '{');
    for (unsigned id = 1; id <= 8; id++) {
        if (!(bits & 1U << (id - 1)))
            continue;
        buf_append_str(out, before);
        if (list)
            buf_printf(out, "%u", id);
        else
            buf_printf(out, "\"%u\":%u", id, id);
        before = ",";
    }
    buf_append_byte(out, list ? ']' : '}');
}

static void put_target(struct buf *out, struct program *p)
{
    unsigned parts = take(p);

    buf_append_str(out, "{\"x\":null");
    if (parts & 1) {
        buf_append_str(out, ",\"connections\":");
        put_ids(out, p);
    }
    if (parts & 2) {
        buf_append_str(out, ",\"exclude\":");
        put_ids(out, p);
    }
    if (parts & 4) {
        buf_append_str(out, ",\"group\":");
        put_names(out, p);
    }
    buf_append_byte(out, '}');
}

static void put_select(struct buf *out, struct program *p)
{
    unsigned parts = take(p);

    buf_printf(out, "{\"fields\":[%s%s%s\"x\"]", parts & 1 ? "\"uid\"," : "",
        parts & 2 ? "\"groups\"," : "", parts & 4 ? "\"session\"," : "");
    if (parts & 8) {
        buf_append_str(out, ",\"where\":{\"groups\":");
        put_names(out, p);
        buf_append_str(out, ",\"uid\":");
        put_names(out, p);
        buf_append_str(out, ",\"connection_id\":");
        put_ids(out, p);
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, '}');
}

static void put_session(struct buf *out, struct program *p, unsigned depth)
{
    unsigned count = take(p) % 4;

    phpser_put_array(out, count);
    for (unsigned i = 0; i < count; i++) {
        const char *name = take_name(p);

        phpser_put_key(out, name, strlen(name));
        if (depth > 0 && take(p) % 2)
            put_session(out, p, depth - 1);
        else
            phpser_put_string(out, name, strlen(name));
    }
    phpser_put_end(out);
}

static void put_introduction(struct buf *out, struct program *p)
{
    static const char *const offer[] = {
        "close_info", "on_handshake", "limits", "ack", "left", "window", NULL};
    struct cmdjson_tokens tokens = {0};
    unsigned parts = take(p);

    if (parts & 8)
        tokens.process = take_name(p);
    if (parts & 16)
        tokens.pair = take_name(p);
    if (parts & 32)
        tokens.machine = parts & 64 ? WORLD_MACHINE : take_name(p);
    cmdjson_put_auth(out, parts & 1 ? take_name(p) : NULL,
        parts & 2 ? "wrong" : WORLD_KEY, parts & 4 ? offer : NULL, &tokens);
}

/* What lets somebody in, or not. */
static void put_answer(struct buf *out, struct program *p)
{
    unsigned parts = take(p);
    size_t start;

    answer_put_status(out, parts & 1 ? 401 : 0);
    if (parts & 2)
        answer_put(out, ANSWER_HEADER, "A: b", 4);
    if (parts & 4)
        answer_put(out, ANSWER_BODY, "no", 2);
    if (parts & 8) {
        start = answer_begin(out, ANSWER_SESSION);
        put_session(out, p, 3);
        answer_end(out, start);
    }
    for (unsigned i = 0; i < parts / 16 % 4; i++) {
        const char *name = take_name(p);

        answer_put(out, i % 2 ? ANSWER_UID : ANSWER_GROUP, name, strlen(name));
    }
}

static void put_text(struct buf *out, struct program *p)
{
    uint8_t kind = take(p);
    const char *name;

    switch (kind % 9) {
    case 0:
        break;
    case 1:
        name = take_name(p);
        buf_append(out, name, strlen(name));
        break;
    case 2:
        put_names(out, p);
        break;
    case 3:
        put_target(out, p);
        break;
    case 4:
        put_select(out, p);
        break;
    case 5:
        put_session(out, p, 3);
        break;
    case 6:
        put_introduction(out, p);
        break;
    case 7: /* a word on a handshake */
        buf_printf(out, "%u no", take(p) * 4U);
        break;
    default:
        if (kind / 9 % 4 == 1)
            put_answer(out, p);
        else
            take_bytes(out, p, take(p));
    }
    if (kind >= 192 && out->len > 0) /* damage it */
        out->data[take(p) % out->len] ^= take(p);
}

/* ---- steps ---- */

/* Of a client that is there, or any. */
static uint32_t take_id(struct program *p)
{
    uint8_t byte = take(p);
    const struct socket *s = world.sockets[byte % WORLD_SOCKETS];

    return byte < 192 && s && s->client ? s->client->id : byte % 16U;
}

static uint8_t take_cmd(struct program *p)
{
    static const uint8_t others[] = {0, FRAME_ON_MESSAGE, 29,
        FRAME_WORKER_CONNECT, FRAME_PING, FRAME_GATEWAY_CLIENT_CONNECT,
        FRAME_GET_SESSION_BY_CLIENT_ID, FRAME_SET_SESSION,
        FRAME_ON_WEBSOCKET_CONNECT, FRAME_HANDSHAKE_WATCH, FRAME_HANDSHAKE,
        FRAME_ACK, FRAME_PATCH_SESSION, FRAME_HANGS, FRAME_LEFT, FRAME_WANTS};
    uint8_t byte = take(p);

    if (byte < 128)
        return (uint8_t)(FRAME_SEND_TO_ONE +
                         byte % (FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP - 4));
    return byte < 192 ? others[byte % sizeof(others)] : take(p);
}

static void send_packet(struct program *p, struct link_end *l)
{
    struct buf ext = {0}, body = {0}, packet = {0};
    struct frame f = {.cmd = take_cmd(p)};
    uint8_t how = take(p);

    f.flag = how & (FRAME_FLAG_STRING | FRAME_FLAG_RAW);
    f.connection_id = take_id(p);
    put_text(&ext, p);
    put_text(&body, p);
    f.ext = ext.data;
    f.ext_len = ext.len;
    f.body = body.data;
    f.body_len = body.len;
    frame_encode(&packet, &f);
    if (how >= 240) /* lie about a length */
        packet.data[how % 2 ? 3 : 27] ^= take(p);
    link_feed(l, packet.data, packet.len, how & 4 ? 1 + how / 4U : packet.len);
    buf_fini(&ext);
    buf_fini(&body);
    buf_fini(&packet);
}

static void send_bytes(struct program *p, struct link_end *l)
{
    struct buf bytes = {0};
    size_t len = take(p) * 256U;

    take_bytes(&bytes, p, len + take(p));
    link_feed(l, bytes.data, bytes.len, bytes.len);
    buf_fini(&bytes);
}

static void step_of_link(struct program *p, unsigned what, size_t i)
{
    struct link_end *l = world.links[i];

    if (!l) {
        link_open(i);
        if (what % 2)
            link_introduce(world.links[i], take_name(p), what % 4 == 3,
                what > 4 ? i ^ WORLD_PARTNER : WORLD_LINKS);
        return;
    }
    if (what < 8 && l->acking && world.links[i ^ WORLD_PARTNER]) {
        uint32_t taken = take(p);
        uint8_t bits = take(p);

        link_acknowledge(
            l, world.links[i ^ WORLD_PARTNER], taken, bits, what / 2);
    } else if (what < 8)
        send_packet(p, l);
    else if (what == 8)
        send_bytes(p, l);
    else if (what == 9)
        link_end_by_peer(l);
    else if (what == 10)
        l->conn.full = true;
    else
        link_drain(l);
}

static void step_of_socket(struct program *p, unsigned what, size_t i)
{
    struct socket *s = world.sockets[i];

    if (!s && what == 15)
        socket_ask(i);
    else if (!s)
        socket_open(i, what % 2);
    else if (what == 15)
        socket_close(i);
    else
        socket_speak(s);
}

static void step(struct program *p)
{
    uint8_t byte = take(p);
    unsigned what = byte / 16;

    if (what < 12)
        step_of_link(p, what, byte % WORLD_LINKS);
    else
        step_of_socket(p, what, byte % WORLD_SOCKETS);
    world_check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uv_loop_t loop;
    static struct turn *turn;
    struct program p = {data, data + len};
    uint8_t how = take(&p);

    if (!turn) {
        log_set_level(LOG_ERROR);
        assert(clock_loop_init(&loop) == 0);
        turn = turn_new(&loop);
    }
    world_start(turn, how % 4, how & 4);
    for (size_t i = 0; i < 3; i++)
        socket_open(i, how & 8);
    link_open(0);
    for (int i = 0; i < STEPS_MAX && p.at < p.end; i++)
        step(&p);
    world_finish();
    uv_run(&loop, UV_RUN_NOWAIT); /* closes the timer */
    return 0;
}
