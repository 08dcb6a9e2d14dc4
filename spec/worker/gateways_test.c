/* The links to gateways, against fake ones: what is said on connect, queries
 * and their answers, losses and returns. */
#include <errno.h>

#include "fake_gateway.h"
#include "wire/cmdjson.h"
#include "worker/asks.h"
#include "worker/gateways_impl.h"

static struct gateways *g;
static struct fake_gateway a, b;

/* What becomes of the events that come: their link is noted with "queue". */
static enum acks_event fate;
static uint32_t last_link;
static uint64_t last_arrived;

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    buf_printf(&fixture.notes, "%s:%u:%.*s ", frame_cmd_name(f->cmd),
        f->connection_id, (int)f->body_len, (const char *)f->body);
    last_link = link;
    last_arrived = g->arrived;
    return fate;
}

static void on_link_lost(struct gateways_address from, void *arg)
{
    buf_append_str(&fixture.notes, "link-lost ");
}

static void on_client_lost(const struct client_id *id, bool certain, void *arg)
{
    buf_printf(&fixture.notes, "lost:%u ", id->connection_id);
}

static const struct gateways_ops ops = {
    .on_event = on_event,
    .on_link_lost = on_link_lost,
    .on_client_lost = on_client_lost,
};

static bool links_are_up(void *arg)
{
    const struct gateways_address *list;

    return gateways_list(g, &list) == *(size_t *)arg &&
           (!a.listener || a.events) && (!b.listener || b.events);
}

static void wait_for_links(size_t count)
{
    run_until(links_are_up, &count);
}

static void open_at(const char *address)
{
    const char *addresses[] = {a.address};

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    addr_parse(&a.addr, address);
    fake_listen(&a);
    g = gateways_new(fixture.turn, &fixture.conf, 2, &ops, NULL);
    gateways_set_addresses(addresses, 1, g);
    wait_for_links(1);
}

static void open_one(void)
{
    open_at("127.0.0.1:0");
}

static void open_two(void)
{
    const char *addresses[2] = {a.address, b.address};

    open_one();
    fake_listen(&b);
    gateways_set_addresses(addresses, 2, g);
    wait_for_links(2);
}

static void close_all(void)
{
    gateways_close(g);
    fake_close(&a);
    fake_close(&b);
}

static struct gateways_address at(const struct fake_gateway *f)
{
    return (struct gateways_address){addr_ipv4(&f->addr), addr_port(&f->addr)};
}

static struct frame query(const char *ext)
{
    return (struct frame){.cmd = FRAME_GET_CLIENT_COUNT_BY_GROUP,
        .flag = FRAME_FLAG_STRING,
        .ext = (const uint8_t *)ext,
        .ext_len = strlen(ext)};
}

/* The answers of one query as text: "0:i:1; -104: ". */
struct answers {
    bool done;
    char text[256];
};

static void on_answers(
    const struct queries_answer *answers, size_t count, void *arg)
{
    struct answers *out = arg;
    size_t n = 0;

    assert_false(out->done);
    out->done = true;
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(out->text + n, sizeof(out->text) - n, "%d:%.*s ",
            answers[i].err, (int)answers[i].len,
            answers[i].data ? (const char *)answers[i].data : "");
}

/* ---- connecting ---- */

static const char *pair_of(const struct fake_gateway *f)
{
    const struct gateways_address to = at(f);

    return gateways_find(g, to.ip, to.port)->pair;
}

static void says_who_it_is_on_both_links(void **state)
{
    char want[512];

    fixture.conf.machine = "here";
    open_one();
    fixture.conf.machine = NULL;
    snprintf(want, sizeof(want),
        "WORKER_CONNECT::{\"worker_key\":\"W:2\",\"secret_key\":\"\","
        "\"gwrun\":{\"version\":1,\"features\":[\"close_info\",\"client_addr\","
        "\"handshake\",\"ack\",\"session\",\"limits\",\"name\",\"types\","
        "\"handshake_answer\",\"request\",\"api\",\"receipts\",\"bound\",\"left\",\"window\","
        "\"far_book\"],"
        "\"process\":\"%s\",\"pair\":\"%s\",\"machine\":\"here\"}} ",
        g->process, pair_of(&a));
    assert_int_equal(strlen(g->process), 32);
    assert_string_equal(fake_got(&a), want);
    snprintf(want, sizeof(want),
        "{\"secret_key\":\"\",\"gwrun\":{\"version\":1,\"features\":[],"
        "\"process\":\"%s\",\"pair\":\"%s\",\"machine\":\"here\"}}",
        g->process, pair_of(&a));
    assert_string_equal(a.greeting, want);
    assert_int_equal(a.accepted, 2);
    close_all();
}

static bool has_event_link(void *arg)
{
    return ((struct fake_gateway *)arg)->events != NULL;
}

/* Run until a's event link is there; the ms that it took. The other gateway is
 * at addr. */
static uint64_t join_beside(const union addr *addr)
{
    char address[ADDR_TEXT_SIZE];
    const char *addresses[] = {addr_format(address, addr), a.address};
    uint64_t began;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    fake_listen(&a);
    g = gateways_new(fixture.turn, &fixture.conf, 2, &ops, NULL);
    uv_update_time(&fixture.loop);
    began = uv_now(&fixture.loop);
    gateways_set_addresses(addresses, 2, g);
    run_until(has_event_link, &a);
    return uv_now(&fixture.loop) - began;
}

/* A backlog that is full: who else connects is not answered. */
static void waits_for_a_slow_gateway_before_it_asks_for_events(void **state)
{
    union addr addr;
    socklen_t len = sizeof(addr);
    int fd, fds[4];

    addr_parse(&addr, "127.0.0.1:0");
    fd = listener_bind(&addr, false);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, &addr.sa, &len), 0);
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fds[i], &addr.sa, addr_len(&addr));
    }
    assert_true(join_beside(&addr) >= GATEWAYS_JOIN_MS);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(fd);
    close_all();
}

static void does_not_wait_for_a_gateway_that_is_away(void **state)
{
    union addr addr;
    socklen_t len = sizeof(addr);
    int fd;

    addr_parse(&addr, "127.0.0.1:0");
    fd = listener_bind(&addr, false); /* bound, so nobody else listens there */
    assert_int_equal(getsockname(fd, &addr.sa, &len), 0);
    join_beside(&addr);
    assert_true(dialer_has_failed(
        gateways_find(g, addr_ipv4(&addr), addr_port(&addr))->dialer));
    close(fd);
    close_all();
}

static bool both_spoke(void *arg)
{
    return strstr(buf_text(&a.got), "WORKER_CONNECT") && a.greeting[0];
}

static void shows_the_secret_key_on_both_links(void **state)
{
    fixture.conf.secret_key = "open sesame";
    open_one();
    run_until(both_spoke, NULL);
    assert_non_null(strstr(fake_got(&a), "\"secret_key\":\"open sesame\""));
    assert_non_null(strstr(a.greeting, "{\"secret_key\":\"open sesame\","));
    close_all();
}

static bool both_pinged(void *arg)
{
    return strcmp(buf_text(&a.got), "PING:: PING:: ") == 0;
}

static void hands_on_events_and_skips_pings(void **state)
{
    open_one();
    fake_event(&a, FRAME_ON_CONNECT, 7, "", "");
    fake_event(&a, FRAME_PING, 0, "", "");
    fake_event(&a, FRAME_ON_MESSAGE, 7, "hello", "");
    run_until_noted("hello");
    assert_string_equal(notes(), "ON_CONNECT:7: ON_MESSAGE:7:hello ");
    close_all();
}

static void fake_arrived(uint64_t when)
{
    uint8_t body[FRAME_ARRIVED_LEN];
    struct frame f = {.cmd = FRAME_ARRIVED, .flag = FRAME_FLAG_STRING};

    put64(body, when);
    f.body = body;
    f.body_len = sizeof(body);
    frame_encode(conn_out(a.events), &f);
}

/* Who does not measure has not asked. */
static void tells_when_events_came_to_their_gateway(void **state)
{
    open_one();
    assert_null(strstr(fake_got(&a), "\"arrived\""));
    close_all();

    fixture.conf.measures = true;
    open_one();
    run_until(both_spoke, NULL);
    assert_non_null(strstr(fake_got(&a), "\"arrived\""));
    fake_event(&a, FRAME_ON_CONNECT, 7, "", "");
    run_until_noted("ON_CONNECT:7");
    assert_int_equal(last_arrived, 0);
    fake_arrived(5000000000);
    fake_event(&a, FRAME_ON_MESSAGE, 7, "one", "");
    fake_event(&a, FRAME_ON_MESSAGE, 7, "two", "");
    run_until_noted("two");
    assert_true(last_arrived == 5000000000);
    fake_arrived(0);
    fake_event(&a, FRAME_ON_MESSAGE, 7, "three", "");
    run_until_noted("three");
    assert_int_equal(last_arrived, 0);
    close_all();
    fixture.conf.measures = false;
}

static void pings_gateways_on_other_machines(void **state)
{
    open_one();
    g->pinged_at -= GATEWAYS_PING_MS + 1;
    gateways_tick_within(g, 0);
    fake_got(&a);
    run_turns(10);
    assert_string_equal(fake_got(&a), ""); /* 127.0.0.1 needs none */
    close_all();

    open_at("127.0.0.2:0");
    fake_got(&a);
    g->pinged_at -= GATEWAYS_PING_MS + 1;
    gateways_tick_within(g, 0);
    run_until(both_pinged, NULL);
    assert_string_equal(fake_got(&a), "PING:: PING:: ");
    close_all();
}

static void refuses_addresses_that_are_no_ipv4(void **state)
{
    const char *addresses[] = {a.address, "[::1]:2900", "nonsense", a.address};

    open_one();
    gateways_set_addresses(addresses, 4, g);
    assert_int_equal(g->npeers, 1);
    close_all();
}

/* ---- sending ---- */

/* Only those that are listed have an entry; nobody is reached there. */
static void finds_each_of_many_gateways(void **state)
{
    enum { MANY = 100 };
    char texts[MANY][ADDR_TEXT_SIZE];
    const char *addresses[MANY];

    for (uint16_t i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof(texts[i]), "127.0.0.%d:%d", 1 + i / 50,
            1 + i % 50);
        addresses[i] = texts[i];
    }
    g = gateways_new(fixture.turn, &fixture.conf, 2, &ops, NULL);
    assert_null(gateways_find(g, 0x7f000001, 1));
    gateways_set_addresses(addresses, MANY, g);
    gateways_set_addresses(addresses, MANY / 2, g);
    for (uint16_t i = 0; i < MANY; i++) {
        const struct peer *p =
            gateways_find(g, 0x7f000001 + i / 50, (uint16_t)(1 + i % 50));

        assert_int_equal(p != NULL, i < MANY / 2);
        assert_true(!p || strcmp(p->name, texts[i]) == 0);
    }
    assert_null(gateways_find(g, 0x7f000001, 51));
    gateways_close(g);
}

static void sends_to_one_and_to_all(void **state)
{
    struct frame f = query("x");
    size_t missed;

    open_two();
    fake_got(&a);
    fake_got(&b);
    assert_int_equal(gateways_send(g, at(&b).ip, at(&b).port, &f), 0);
    assert_int_equal(gateways_send(g, 1, 1, &f), -ENOTCONN);
    assert_int_equal(gateways_send_all(g, &f, &missed), 2);
    assert_int_equal(missed, 0);
    run_until(fake_heard, &a);
    assert_string_equal(fake_got(&a), "GET_CLIENT_COUNT_BY_GROUP:x: ");
    assert_int_equal(g->sends, 3);
    assert_int_equal(g->sends_failed, 1);
    close_all();
}

static void takes_nothing_over_the_high_water_mark(void **state)
{
    struct frame f = query("x");
    size_t missed;

    fixture.conf.gateway_high_water = 100;
    open_one();
    while (gateways_send(g, at(&a).ip, at(&a).port, &f) == 0)
        ;
    assert_int_equal(gateways_send(g, at(&a).ip, at(&a).port, &f), -ENOBUFS);
    assert_int_equal(gateways_send_all(g, &f, &missed), 0);
    assert_int_equal(missed, 1);
    close_all();
}

static bool heard_kick(void *arg)
{
    return strstr(buf_text(&((struct fake_gateway *)arg)->got), "KICK") != NULL;
}

static bool heard_uid(void *arg)
{
    return strstr(buf_text(&((struct fake_gateway *)arg)->got), "UID") != NULL;
}

static void asks_for_types_where_they_are_taken(void **state)
{
    static const struct frame types = {.cmd = FRAME_TYPES};
    struct frame f = query("x");
    size_t missed;

    open_two();
    fake_got(&a);
    fake_got(&b);
    f.flag |= FRAME_FLAG_BINARY;
    /* Nobody has said yet what he is. */
    assert_int_equal(gateways_send_all(g, &f, &missed), 2);
    frame_encode(conn_out(a.events), &types);
    fake_event(&a, FRAME_ON_CONNECT, 7, "", "");
    fake_event(&b, FRAME_ON_CONNECT, 8, "", "");
    run_until_noted("ON_CONNECT:7");
    run_until_noted("ON_CONNECT:8");
    assert_int_equal(gateways_send(g, at(&a).ip, at(&a).port, &f), 0);
    assert_int_equal(gateways_send(g, at(&b).ip, at(&b).port, &f), -ENOTSUP);
    assert_int_equal(gateways_send_all(g, &f, &missed), 1);
    assert_int_equal(missed, 1);
    /* Closing is never refused. */
    f.cmd = FRAME_KICK;
    assert_int_equal(gateways_send(g, at(&a).ip, at(&a).port, &f), 0);
    assert_int_equal(gateways_send(g, at(&b).ip, at(&b).port, &f), 0);
    run_until(heard_kick, &a);
    run_until(heard_kick, &b);
    assert_non_null(strstr(fake_got(&a), "KICK/binary:x: "));
    assert_non_null(strstr(fake_got(&b), "KICK:: "));
    close_all();
}

/* A gateway of gwrun's that is older than labels sends TYPES and shorter
 * LIMITS. It would take a label for a part of the message. */
static void sends_labels_where_they_are_taken(void **state)
{
    static const struct frame types = {.cmd = FRAME_TYPES};
    static const uint8_t allowed[16] = {
        0, 0, 0, 7, 4, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, FRAME_TAKES_LABELS};
    struct frame limits = {.cmd = FRAME_LIMITS,
        .flag = FRAME_FLAG_STRING,
        .body = allowed,
        .body_len = sizeof(allowed)};
    struct frame f = query("x");
    size_t missed;

    f.cmd = FRAME_SEND_TO_UID;
    f.flag |= FRAME_FLAG_LABEL;
    f.body = (const uint8_t *)"\004said\00242text";
    f.body_len = 12;
    open_two();
    fake_got(&a);
    fake_got(&b);
    frame_encode(conn_out(a.events), &types);
    frame_encode(conn_out(a.events), &limits);
    frame_encode(conn_out(b.events), &types);
    limits.body_len = 12;
    frame_encode(conn_out(b.events), &limits);
    fake_event(&a, FRAME_ON_CONNECT, 7, "", "");
    fake_event(&b, FRAME_ON_CONNECT, 8, "", "");
    run_until_noted("ON_CONNECT:7");
    run_until_noted("ON_CONNECT:8");
    assert_int_equal(gateways_send_all(g, &f, &missed), 2);
    run_until(heard_uid, &a);
    run_until(heard_uid, &b);
    assert_non_null(strstr(fake_got(&a), "SEND_TO_UID:x:\004said\00242text "));
    assert_non_null(strstr(fake_got(&b), "SEND_TO_UID:x:text "));
    close_all();
}

/* ---- queries ---- */

static void echo(struct fake_gateway *f, const struct frame *frame)
{
    framing_reply_encode(conn_out(f->commands), frame->ext, frame->ext_len);
}

static void pipelines_queries(void **state)
{
    struct answers first = {0}, second = {0}, third = {0};
    struct gateways_address to;
    struct frame f;

    open_one();
    a.on_command = echo;
    to = at(&a);
    f = query("one");
    asks_put(g, &to, 1, &f, 0, on_answers, &first);
    f = query("two");
    asks_put(g, &to, 1, &f, 0, on_answers, &second);
    f = query("three");
    asks_put(g, &to, 1, &f, 0, on_answers, &third);
    run_until_set(&third.done);
    assert_string_equal(first.text, "0:one ");
    assert_string_equal(second.text, "0:two ");
    assert_string_equal(third.text, "0:three ");
    close_all();
}

static void asks_all_and_some(void **state)
{
    struct answers all = {0}, some = {0};
    struct gateways_address to[2];
    struct frame f = query("all");

    open_two();
    a.on_command = echo;
    b.on_command = echo;
    to[0] = at(&b);
    to[1] = at(&a);
    asks_put(g, NULL, 0, &f, 0, on_answers, &all);
    f = query("some");
    asks_put(g, to, 2, &f, 0, on_answers, &some);
    run_until_set(&some.done);
    assert_string_equal(all.text, "0:all 0:all ");
    assert_string_equal(some.text, "0:some 0:some ");
    close_all();
}

static void tells_of_an_unknown_gateway_later(void **state)
{
    struct answers r = {0};
    struct gateways_address to = {1, 1};
    struct frame f = query("x");

    open_one();
    asks_put(g, &to, 1, &f, 0, on_answers, &r);
    assert_false(r.done);
    run_until_set(&r.done);
    assert_string_equal(r.text, "-107: ");
    close_all();
}

static void answers_at_once_when_there_is_no_gateway(void **state)
{
    struct answers r = {0};
    struct frame f = query("x");

    g = gateways_new(fixture.turn, &fixture.conf, 0, &ops, NULL);
    asks_put(g, NULL, 0, &f, 0, on_answers, &r);
    run_until_set(&r.done);
    assert_string_equal(r.text, "");
    gateways_close(g);
}

static void skips_the_late_answer_of_a_query_that_timed_out(void **state)
{
    struct answers late = {0}, next = {0};
    struct gateways_address to;
    struct frame f = query("x");

    open_one();
    to = at(&a);
    fake_got(&a);
    asks_put(g, &to, 1, &f, 0.01, on_answers, &late);
    run_until_set(&late.done);
    assert_string_equal(late.text, "-110: ");
    run_until(fake_heard, &a);
    asks_put(g, &to, 1, &f, 0, on_answers, &next);
    fake_answer(&a, "for the first");
    fake_answer(&a, "for the second");
    run_until_set(&next.done);
    assert_string_equal(next.text, "0:for the second ");
    close_all();
}

static bool a_has_answered(void *arg)
{
    struct peer *p = gateways_find(g, at(&a).ip, at(&a).port);

    return conn_bytes_in(p->commands) > 0;
}

static void gives_the_partial_result_at_a_timeout(void **state)
{
    static struct clock clock;
    struct answers r = {0};
    struct frame f = query("x");

    open_two();
    fixture.loop.data = &clock;
    a.on_command = echo;
    asks_put(g, NULL, 0, &f, 0.5, on_answers, &r);
    run_until(a_has_answered, NULL);
    assert_false(r.done);
    clock.now += 500;
    run_until_set(&r.done);
    assert_string_equal(r.text, "0:x -110: ");
    close_all();
}

static void a_cancelled_query_is_never_answered(void **state)
{
    struct answers r = {0}, next = {0};
    struct gateways_address to;
    struct frame f = query("x");

    open_one();
    a.on_command = echo;
    to = at(&a);
    queries_cancel(asks_put(g, &to, 1, &f, 0, on_answers, &r));
    asks_put(g, &to, 1, &f, 0, on_answers, &next);
    run_until_set(&next.done);
    assert_false(r.done);
    close_all();
}

static void a_lost_link_fails_its_queries(void **state)
{
    struct answers r = {0}, second = {0};
    struct gateways_address to;
    struct frame f = query("x");

    open_one();
    to = at(&a);
    asks_put(g, &to, 1, &f, 0, on_answers, &r);
    asks_put(g, &to, 1, &f, 0, on_answers, &second);
    fake_got(&a);
    run_until(fake_heard, &a);
    fake_cut(&a);
    run_until_set(&second.done);
    assert_string_equal(r.text, "-104: ");
    assert_string_equal(second.text, "-104: ");
    close_all();
}

static void queries_in_flight_end_silently_at_close(void **state)
{
    struct answers r = {0};
    struct frame f = query("x");

    open_two();
    asks_put(g, NULL, 0, &f, 0, on_answers, &r);
    close_all();
    assert_false(r.done);
}

/* ---- losses ---- */

static void comes_back_after_a_loss(void **state)
{
    open_one();
    fake_cut(&a);
    run_until(fake_has_events, &a);
    wait_for_links(1);
    assert_true(a.accepted >= 4);
    close_all();
}

static void losing_the_event_link_alone_renews_both(void **state)
{
    struct conn *events;

    open_one();
    events = a.events;
    fake_forget(&a, events);
    conn_close(events);
    run_until(fake_has_events, &a);
    wait_for_links(1);
    assert_true(a.accepted >= 4);
    close_all();
}

static void cut_events(void)
{
    struct conn *events = a.events;

    fake_forget(&a, events);
    conn_close(events);
}

static bool has_pause(void *arg)
{
    return ((struct peer *)arg)->events_after != 0;
}

static bool sends_again(void *arg)
{
    struct frame f = query("x");

    return gateways_send(g, at(&a).ip, at(&a).port, &f) == 0;
}

/* The gateway gives our place to another worker of our name. */
static void pauses_when_its_event_link_is_ended_again_and_again(void **state)
{
    struct clock clock = {.now = 100 * 1000};
    struct peer *p;

    log_open("/dev/null");
    fixture.loop.data = &clock;
    open_one();
    p = gateways_find(g, at(&a).ip, at(&a).port);
    for (unsigned i = 1; i < GATEWAYS_CUTS_MAX; i++) {
        cut_events();
        run_until(fake_has_events, &a);
        assert_int_equal(p->cuts, i);
        assert_int_equal(p->events_after, 0);
    }
    cut_events();
    run_until(has_pause, p);
    run_until(sends_again, NULL);
    clock.now += GATEWAYS_CUT_WAIT_MS - 1;
    gateways_tick_within(g, 0);
    run_turns(10);
    assert_null(a.events);
    clock.now++;
    gateways_tick_within(g, 0);
    run_until(fake_has_events, &a);
    cut_events();
    run_until(has_pause, p); /* at once: nothing is better */
    close_all();
    fixture.loop.data = NULL;
}

static void tries_at_once_when_the_whole_gateway_comes_and_goes(void **state)
{
    struct peer *p;

    open_one();
    p = gateways_find(g, at(&a).ip, at(&a).port);
    for (unsigned i = 0; i < GATEWAYS_CUTS_MAX + 1; i++) {
        fake_cut(&a);
        run_until(fake_has_events, &a);
        assert_int_equal(p->events_after, 0);
    }
    close_all();
}

static void broken_frames_end_the_link(void **state)
{
    open_one();
    buf_append(conn_out(a.events), "\0\0\0\5xxxxx", 9);
    a.events = NULL;
    run_until(fake_has_events, &a);
    close_all();
}

static void keeps_live_links_when_the_register_forgets_them(void **state)
{
    struct frame f = query("x");

    open_one();
    gateways_set_addresses(NULL, 0, g);
    run_turns(3);
    assert_int_equal(gateways_send(g, at(&a).ip, at(&a).port, &f), 0);
    close_all();
}

static bool no_peers(void *arg)
{
    return g->npeers == 0;
}

static void drops_an_unlisted_gateway_when_its_links_die(void **state)
{
    open_one();
    gateways_set_addresses(NULL, 0, g);
    fake_die(&a);
    run_until(no_peers, NULL);
    close_all();
}

static void reports_the_clients_of_a_dead_gateway(void **state)
{
    open_one();
    fake_event(&a, FRAME_ON_CONNECT, 7, "", "");
    fake_event(&a, FRAME_ON_CONNECT, 8, "", "");
    fake_event(&a, FRAME_ON_CLOSE, 7, "", "");
    run_until_noted("ON_CLOSE:7");
    notes();
    fake_die(&a);
    gateways_set_addresses(NULL, 0, g);
    run_until_noted("lost:8");
    assert_string_equal(notes(), "lost:8 ");
    close_all();
}

static void still_there_only_8(struct fake_gateway *f, const struct frame *q)
{
    if (q->cmd == FRAME_SELECT)
        fake_answer(f, "a:1:{i:8;a:1:{s:3:\"uid\";N;}}");
}

/* Client 8 of a gateway that is away and listed. */
static struct peer *lose_with_a_client(void)
{
    struct peer *p;

    open_one();
    fake_event(&a, FRAME_ON_CONNECT, 8, "", "");
    run_until_noted("ON_CONNECT:8");
    notes();
    p = gateways_find(g, at(&a).ip, at(&a).port);
    fake_die(&a);
    while (p->lost_at == 0)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    return p;
}

/* Let it have been away for ms, and look at the clock. */
static void let_it_be_away(struct peer *p, uint64_t ms)
{
    p->lost_at = clock_now(&fixture.loop) - ms;
    gateways_tick_within(g, 0);
    run_turns(5);
}

static void loses_no_client_of_a_gateway_that_is_listed(void **state)
{
    struct clock clock = {.now = 100 * 1000};
    struct peer *p;

    fixture.loop.data = &clock;
    p = lose_with_a_client();
    let_it_be_away(p, GATEWAYS_LISTED_GRACE_MS - 2000);
    assert_string_equal(notes(), "");
    a.on_command = still_there_only_8;
    fake_listen(&a);
    wait_for_links(1);
    assert_string_equal(notes(), "");
    assert_true(idmap_has(&p->clients, 8));
    close_all();
    fixture.loop.data = NULL;
}

static void loses_clients_as_soon_as_their_gateway_is_not_listed(void **state)
{
    struct clock clock = {.now = 100 * 1000};
    struct peer *p;

    fixture.loop.data = &clock;
    p = lose_with_a_client();
    let_it_be_away(p, GATEWAYS_LOST_GRACE_MS);
    assert_string_equal(notes(), "");
    gateways_set_addresses(NULL, 0, g);
    run_until_noted("lost:8");
    close_all();
    fixture.loop.data = NULL;
}

/* The register may be away itself, or know nothing of a machine's end. */
static void waits_for_a_listed_gateway_with_a_limit(void **state)
{
    struct clock clock = {.now = 100 * 1000};
    struct peer *p;

    fixture.loop.data = &clock;
    p = lose_with_a_client();
    let_it_be_away(p, GATEWAYS_LISTED_GRACE_MS);
    run_until_noted("lost:8");
    assert_int_equal(g->npeers, 1);
    close_all();
    fixture.loop.data = NULL;
}

static void asks_a_gateway_that_came_back_who_is_still_there(void **state)
{
    open_one();
    fake_event(&a, FRAME_ON_CONNECT, 7, "", "");
    fake_event(&a, FRAME_ON_CONNECT, 8, "", "");
    run_until_noted("ON_CONNECT:8");
    notes();
    a.on_command = still_there_only_8;
    fake_cut(&a);
    run_until_noted("lost:7");
    assert_string_equal(notes(), "lost:7 ");
    assert_true(
        idmap_has(&gateways_find(g, at(&a).ip, at(&a).port)->clients, 8));
    close_all();
}

static unsigned asked; /* questions about clients */

/* All are there; the next question waits for this answer. */
static void all_are_there(struct fake_gateway *f, const struct frame *q)
{
    struct cmdjson_select select;
    struct buf answer = {0};

    if (q->cmd != FRAME_SELECT)
        return;
    asked++;
    assert_int_equal(cmdjson_parse_select(&select, q->ext, q->ext_len), 0);
    assert_in_range(select.where_ids.count, 1, GATEWAYS_CENSUS_SLICE);
    buf_printf(&answer, "a:%zu:{", select.where_ids.count);
    for (size_t i = 0; i < select.where_ids.count; i++)
        buf_printf(&answer, "i:%u;a:0:{}", select.where_ids.items[i]);
    buf_append_byte(&answer, '}');
    framing_reply_encode(conn_out(f->commands), answer.data, answer.len);
    buf_fini(&answer);
    cmdjson_fini_select(&select);
}

static bool census_is_over(void *arg)
{
    struct peer *p = gateways_find(g, at(&a).ip, at(&a).port);

    return asked > 0 && !p->census;
}

static void asks_for_many_clients_in_slices(void **state)
{
    struct peer *p;

    asked = 0;
    open_one();
    p = gateways_find(g, at(&a).ip, at(&a).port);
    for (uint32_t id = 1; id <= 2 * GATEWAYS_CENSUS_SLICE + 1; id++)
        idmap_add(&p->clients, id);
    a.on_command = all_are_there;
    fake_cut(&a);
    run_until(census_is_over, NULL);
    assert_int_equal(asked, 3);
    assert_int_equal(p->clients.count, 2 * GATEWAYS_CENSUS_SLICE + 1);
    assert_string_equal(notes(), "");
    close_all();
}

static const char *no_list;

static void gives_no_list(struct fake_gateway *f, const struct frame *q)
{
    if (q->cmd != FRAME_SELECT)
        return;
    asked++;
    fake_answer(f, no_list);
}

static void loses_no_client_by_an_answer_that_is_no_list(void **state)
{
    static const char *const answers[] = {
        "b:0;", "N;", "i:0;", "", "a:1:{i:8;", "nonsense"};

    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        asked = 0;
        no_list = answers[i];
        open_one();
        fake_event(&a, FRAME_ON_CONNECT, 8, "", "");
        run_until_noted("ON_CONNECT:8");
        notes();
        a.on_command = gives_no_list;
        fake_cut(&a);
        run_until(census_is_over, NULL);
        assert_string_equal(notes(), "");
        close_all();
    }
}

static bool has_lost_links(void *arg)
{
    return gateways_find(g, at(&a).ip, at(&a).port)->lost_at != 0;
}

/* The gateway is back before the worker, which was stopped, looks again. */
static void loses_no_client_in_a_time_when_it_did_not_run(void **state)
{
    struct clock clock = {.now = 1000};

    fixture.loop.data = &clock;
    open_one();
    fake_event(&a, FRAME_ON_CONNECT, 8, "", "");
    run_until_noted("ON_CONNECT:8");
    notes();
    fake_die(&a);
    run_until(has_lost_links, NULL);
    clock.now += 60000;
    a.on_command = still_there_only_8;
    fake_listen(&a);
    wait_for_links(1);
    assert_string_equal(notes(), "");
    close_all();
    fixture.loop.data = NULL;
}

static void tells_the_end_of_a_client_once(void **state)
{
    open_one();
    fake_event(&a, FRAME_ON_CONNECT, 7, "", "");
    fake_event(&a, FRAME_ON_CONNECT, 8, "", "");
    run_until_noted("ON_CONNECT:8");
    notes();
    a.on_command = still_there_only_8;
    fake_cut(&a);
    run_until_noted("lost:7");
    notes();
    run_until(fake_has_events, &a);
    fake_event(&a, FRAME_ON_CLOSE, 7, "", "");
    fake_event(&a, FRAME_ON_CLOSE, 8, "", "");
    run_until_noted("ON_CLOSE:8");
    assert_string_equal(notes(), "ON_CLOSE:8: ");
    close_all();
}

static void holds_events_of_one_gateway_back(void **state)
{
    open_two();
    gateways_hold_events(g, at(&a), true);
    fake_event(&a, FRAME_ON_MESSAGE, 7, "held", "");
    fake_event(&b, FRAME_ON_MESSAGE, 8, "comes", "");
    run_until_noted("comes");
    run_turns(20);
    assert_string_equal(notes(), "ON_MESSAGE:8:comes ");
    gateways_hold_events(g, at(&a), false);
    run_until_noted("held");
    gateways_stop_events(g);
    fake_event(&b, FRAME_ON_MESSAGE, 8, "never", "");
    gateways_hold_events(g, at(&b), false);
    run_turns(20);
    assert_string_equal(notes(), "ON_MESSAGE:7:held ");
    close_all();
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(says_who_it_is_on_both_links),
        CASE(waits_for_a_slow_gateway_before_it_asks_for_events),
        CASE(does_not_wait_for_a_gateway_that_is_away),
        CASE(shows_the_secret_key_on_both_links),
        CASE(hands_on_events_and_skips_pings),
        CASE(tells_when_events_came_to_their_gateway),
        CASE(pings_gateways_on_other_machines),
        CASE(refuses_addresses_that_are_no_ipv4),
        CASE(finds_each_of_many_gateways),
        CASE(sends_to_one_and_to_all),
        CASE(takes_nothing_over_the_high_water_mark),
        CASE(asks_for_types_where_they_are_taken),
        CASE(sends_labels_where_they_are_taken),
        CASE(pipelines_queries),
        CASE(asks_all_and_some),
        CASE(tells_of_an_unknown_gateway_later),
        CASE(answers_at_once_when_there_is_no_gateway),
        CASE(skips_the_late_answer_of_a_query_that_timed_out),
        CASE(gives_the_partial_result_at_a_timeout),
        CASE(a_cancelled_query_is_never_answered),
        CASE(a_lost_link_fails_its_queries),
        CASE(queries_in_flight_end_silently_at_close),
        CASE(comes_back_after_a_loss),
        CASE(losing_the_event_link_alone_renews_both),
        CASE(pauses_when_its_event_link_is_ended_again_and_again),
        CASE(tries_at_once_when_the_whole_gateway_comes_and_goes),
        CASE(broken_frames_end_the_link),
        CASE(keeps_live_links_when_the_register_forgets_them),
        CASE(drops_an_unlisted_gateway_when_its_links_die),
        CASE(reports_the_clients_of_a_dead_gateway),
        CASE(loses_no_client_of_a_gateway_that_is_listed),
        CASE(loses_clients_as_soon_as_their_gateway_is_not_listed),
        CASE(waits_for_a_listed_gateway_with_a_limit),
        CASE(asks_a_gateway_that_came_back_who_is_still_there),
        CASE(asks_for_many_clients_in_slices),
        CASE(loses_no_client_by_an_answer_that_is_no_list),
        CASE(loses_no_client_in_a_time_when_it_did_not_run),
        CASE(tells_the_end_of_a_client_once),
        CASE(holds_events_of_one_gateway_back),
    };

    return cmocka_run_group_tests_name("worker.gateways", tests, NULL, NULL);
}
