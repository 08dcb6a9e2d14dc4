/* Gateways of other machines that keep a book: what this worker leaves to them,
 * and what is left to it. */
#include <errno.h>

#include "fake_gateway.h"
#include "worker/gateways_impl.h"

static struct gateways *g;
static struct fake_gateway a, b;

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    buf_printf(
        &fixture.notes, "%s:%u ", frame_cmd_name(f->cmd), f->connection_id);
    return ACKS_ENDED;
}

static void on_link_lost(struct gateways_address from, void *arg)
{
}

static void on_client_lost(const struct client_id *id, bool certain, void *arg)
{
    buf_printf(&fixture.notes, "lost:%u:%d ", id->connection_id, certain);
}

static const struct gateways_ops ops = {
    .on_event = on_event,
    .on_link_lost = on_link_lost,
    .on_client_lost = on_client_lost,
};

static struct peer *peer_of(const struct fake_gateway *f)
{
    return gateways_find(g, addr_ipv4(&f->addr), addr_port(&f->addr));
}

static void keep(struct fake_gateway *f, const char *where)
{
    struct frame keeps = {.cmd = FRAME_KEEPS,
        .flag = FRAME_FLAG_STRING,
        .body = (const uint8_t *)where,
        .body_len = strlen(where)};

    run_until(fake_has_events, f);
    frame_encode(conn_out(f->events), &keeps);
}

static void connect_one(struct fake_gateway *f, uint32_t id)
{
    fake_event(f, FRAME_ON_CONNECT, id, "", "");
    run_until_noted("ON_CONNECT");
    notes();
}

/* Client 7 of a gateway whose book lies at "here". */
static struct peer *set_scene(void)
{
    const char *addresses[] = {a.address, b.address};

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    fake_listen(&a);
    fake_listen(&b);
    fixture.conf.gateway_lost = 60;
    g = gateways_new(fixture.turn, &fixture.conf, 2, &ops, NULL);
    gateways_set_addresses(addresses, 2, g);
    keep(&a, "the here");
    connect_one(&a, 7);
    assert_true(idmap_has(&peer_of(&a)->clients, 7));
    return peer_of(&a);
}

static void strike(void)
{
    gateways_close(g);
    fake_close(&a);
    fake_close(&b);
}

static bool is_away(void *arg)
{
    return ((struct peer *)arg)->lost_at != 0;
}

static void die(struct fake_gateway *f)
{
    fake_die(f);
    run_until(is_away, peer_of(f));
}

/* Let it have been away for ms, and look at the clock. */
static void let_it_be_away(struct peer *p, uint64_t ms)
{
    p->lost_at = clock_now(&fixture.loop) - ms;
    gateways_tick_within(g, 0);
    run_turns(5);
}

static void offers_to_leave_all_closes_to_the_gateway(void **state)
{
    set_scene();
    assert_non_null(strstr(fake_got(&a), "\"far_book\""));
    strike();
}

static void makes_up_no_close_when_links_broke(void **state)
{
    struct peer *p = set_scene();

    fake_got(&a);
    fake_cut(&a);
    run_until(is_away, p);
    gateways_set_addresses(NULL, 0, g);
    keep(&a, "the here");
    connect_one(&a, 8);
    assert_false(idmap_has(&p->clients, 7)); /* another worker's, or gone */
    assert_true(idmap_has(&p->clients, 8));
    assert_null(strstr(fake_got(&a), "SELECT"));
    strike();
}

/* The links come again, and the gateway's machine is gone before it has told
 * whom this worker has. */
static struct peer *reconnect_and_lose(struct clock *clock, bool told)
{
    struct peer *p;

    log_set_level(LOG_ERROR);
    fixture.loop.data = clock;
    p = set_scene();
    connect_one(&a, 8);
    connect_one(&a, 9);
    fake_cut(&a);
    run_until(is_away, p);
    keep(&a, "the here");
    fake_event(&a, FRAME_BOUND, 8, "q", "");
    fake_event(&a, FRAME_ON_CLOSE, 9, "", "");
    run_until_noted("ON_CLOSE:9");
    if (told)
        fake_event(&a, FRAME_KEEPS, 0, "", "");
    fake_event(&a, FRAME_ON_MESSAGE, 8, "", "");
    run_until_noted("ON_MESSAGE:8");
    notes();
    assert_false(idmap_has(&p->clients, 7));
    die(&a);
    gateways_set_addresses(NULL, 0, g);
    let_it_be_away(p, 60 * 1000);
    return p;
}

static void gives_up_whom_it_had_until_it_is_told_of_all(void **state)
{
    struct clock clock = {.now = 100 * 1000};
    const char *lost;

    reconnect_and_lose(&clock, false);
    lost = notes();
    assert_non_null(strstr(lost, "lost:7:0 "));
    assert_non_null(strstr(lost, "lost:8:0 "));
    assert_null(strstr(lost, "lost:9"));
    strike();
    fixture.loop.data = NULL;
}

static void gives_up_whom_it_was_told_of(void **state)
{
    struct clock clock = {.now = 100 * 1000};

    reconnect_and_lose(&clock, true);
    assert_string_equal(notes(), "lost:8:0 ");
    strike();
    fixture.loop.data = NULL;
}

static void hears_whom_it_has_no_longer(void **state)
{
    struct peer *p = set_scene();

    connect_one(&a, 8);
    fake_event(&a, FRAME_KEEPS, 7, "", "");
    connect_one(&a, 9);
    assert_false(idmap_has(&p->clients, 7));
    assert_true(idmap_has(&p->clients, 8));
    strike();
}

/* What the gateway tells for that is nothing for a script. */
static void hears_quietly_whom_it_has_got(void **state)
{
    struct peer *p = set_scene();

    fake_event(&a, FRAME_BOUND, 5, "q", "");
    fake_event(&a, FRAME_ON_CONNECT, 9, "", "");
    run_until_noted("ON_CONNECT:9");
    assert_string_equal(notes(), "ON_CONNECT:9 ");
    assert_true(idmap_has(&p->clients, 5));
    strike();
}

static void gives_clients_up_when_the_machine_is_gone(void **state)
{
    struct clock clock = {.now = 100 * 1000};
    struct peer *p;

    log_set_level(LOG_ERROR);
    fixture.loop.data = &clock;
    p = set_scene();
    keep(&b, "another!");
    connect_one(&b, 1);
    die(&a);
    gateways_set_addresses(NULL, 0, g);
    let_it_be_away(p, 59 * 1000);
    assert_string_equal(notes(), "");
    let_it_be_away(p, 60 * 1000);
    assert_string_equal(notes(), "lost:7:0 ");
    strike();
    fixture.loop.data = NULL;
}

static void gives_nobody_up_while_the_machine_is_there(void **state)
{
    struct clock clock = {.now = 100 * 1000};
    struct peer *p;

    fixture.loop.data = &clock;
    p = set_scene();
    keep(&b, "the here");
    connect_one(&b, 1);
    die(&a);
    let_it_be_away(p, 60 * 1000);
    assert_string_equal(notes(), "");
    assert_false(idmap_has(&p->clients, 7));
    strike();
    fixture.loop.data = NULL;
}

/* The book was in the memory of a machine that has another boot now. */
static void gives_clients_up_when_the_machine_was_booted(void **state)
{
    log_set_level(LOG_ERROR);
    set_scene();
    fake_cut(&a);
    keep(&a, "anew! ..");
    run_until_noted("lost:7:0");
    assert_string_equal(notes(), "lost:7:0 ");
    strike();
}

/* An older version has come in its place. */
static void asks_where_there_is_a_book_no_more(void **state)
{
    static const uint8_t body[16];
    struct frame limits = {
        .cmd = FRAME_LIMITS, .body = body, .body_len = sizeof(body)};

    log_set_level(LOG_ERROR);
    set_scene();
    fake_got(&a);
    fake_cut(&a);
    run_until(fake_has_events, &a);
    frame_encode(conn_out(a.events), &limits);
    fake_event(&a, FRAME_ON_CONNECT, 9, "", "");
    run_until_noted("ON_CONNECT:9");
    while (!strstr(buf_text(&a.got), "SELECT"))
        uv_run(&fixture.loop, UV_RUN_ONCE);
    strike();
}

static bool may_begin(uint8_t cmd, uint32_t id, uint8_t flag, uint8_t book)
{
    struct frame f = {.cmd = cmd,
        .flag = FRAME_FLAG_BOOK | flag,
        .book = book,
        .place = 4099,
        .local_ip = addr_ipv4(&a.addr),
        .local_port = addr_port(&a.addr),
        .connection_id = id};

    return gateways_may_begin(g, &f, 1);
}

static void begins_nothing_that_it_has_begun(void **state)
{
    set_scene();
    assert_true(may_begin(FRAME_ON_CLOSE, 7, 0, 0));
    assert_false(may_begin(FRAME_ON_CLOSE, 7, FRAME_FLAG_AGAIN, 0));
    assert_true(may_begin(FRAME_ON_CLOSE, 8, FRAME_FLAG_AGAIN, 0));
    fake_cut(&a);
    keep(&a, "the here");
    connect_one(&a, 9);
    assert_false(may_begin(FRAME_ON_CLOSE, 8, FRAME_FLAG_AGAIN, 0));
    fake_cut(&a);
    keep(&a, "anew! ..");
    connect_one(&a, 9);
    assert_true(may_begin(FRAME_ON_CLOSE, 8, FRAME_FLAG_AGAIN, 0));
    strike();
}

/* More than are remembered: the oldest make room, all others are known. */
static void remembers_the_last_ones(void **state)
{
    const uint32_t kept = 65535, more = 100000;

    set_scene();
    for (uint32_t id = 1; id <= more; id++)
        assert_true(may_begin(FRAME_ON_CLOSE, id, 0, 0));
    for (uint32_t id = more; id > more - kept; id--)
        assert_false(may_begin(FRAME_ON_CLOSE, id, FRAME_FLAG_AGAIN, 0));
    assert_true(may_begin(FRAME_ON_CLOSE, more - kept, FRAME_FLAG_AGAIN, 0));
    strike();
}

static void closes_nobody_whose_connect_it_has_not_begun(void **state)
{
    set_scene();
    assert_true(may_begin(FRAME_ON_CONNECT, 7, 0, 0));
    assert_true(
        may_begin(FRAME_ON_CLOSE, 7, FRAME_FLAG_AGAIN, 1 | FRAME_BOOK_MAYBE));
    assert_false(
        may_begin(FRAME_ON_CLOSE, 8, FRAME_FLAG_AGAIN, 1 | FRAME_BOOK_MAYBE));
    strike();
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(offers_to_leave_all_closes_to_the_gateway),
        CASE(makes_up_no_close_when_links_broke),
        CASE(gives_up_whom_it_had_until_it_is_told_of_all),
        CASE(gives_up_whom_it_was_told_of),
        CASE(hears_whom_it_has_no_longer),
        CASE(hears_quietly_whom_it_has_got),
        CASE(gives_clients_up_when_the_machine_is_gone),
        CASE(gives_nobody_up_while_the_machine_is_there),
        CASE(gives_clients_up_when_the_machine_was_booted),
        CASE(asks_where_there_is_a_book_no_more),
        CASE(begins_nothing_that_it_has_begun),
        CASE(remembers_the_last_ones),
        CASE(closes_nobody_whose_connect_it_has_not_begun),
    };

    return cmocka_run_group_tests_name("worker.keepers", tests, NULL, NULL);
}
