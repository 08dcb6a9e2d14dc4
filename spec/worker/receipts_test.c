/* What becomes of commands whose link breaks: gateways say which they have run,
 * the others are counted. */
#include <errno.h>

#include "fake_gateway.h"
#include "wire/receipt.h"
#include "worker/asks.h"
#include "worker/gateways_impl.h"

static struct gateways *g;
static struct fake_gateway gate;
static size_t events; /* that have come */

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    events++;
    return ACKS_ENDED;
}

static void on_link_lost(struct gateways_address from, void *arg)
{
}

static void on_client_lost(const struct client_id *id, bool certain, void *arg)
{
}

static const struct gateways_ops ops = {
    .on_event = on_event,
    .on_link_lost = on_link_lost,
    .on_client_lost = on_client_lost,
};

static bool links_are_up(void *arg)
{
    return g->nconnected == 1 && gate.events;
}

static void open_all(void)
{
    const char *addresses[] = {gate.address};

    memset(&gate, 0, sizeof(gate));
    events = 0;
    log_open("/dev/null");
    fake_listen(&gate);
    g = gateways_new(fixture.turn, &fixture.conf, 0, &ops, NULL);
    gateways_set_addresses(addresses, 1, g);
    run_until(links_are_up, NULL);
}

static void close_all(void)
{
    gateways_close(g);
    fake_close(&gate);
}

static struct peer *peer(void)
{
    return gateways_find(g, addr_ipv4(&gate.addr), addr_port(&gate.addr));
}

static void send_each_kind(void)
{
    static const uint8_t cmds[] = {FRAME_SEND_TO_ONE, FRAME_SEND_TO_GROUP,
        FRAME_KICK, FRAME_JOIN_GROUP, FRAME_SET_SESSION, FRAME_PATCH_SESSION,
        FRAME_IS_ONLINE};

    for (size_t i = 0; i < sizeof(cmds); i++) {
        struct frame f = {.cmd = cmds[i]};

        assert_int_equal(
            gateways_send(g, peer()->at.ip, peer()->at.port, &f), 0);
    }
}

/* The gateway says that so many of each kind have been run. */
static void tell_handled(
    uint32_t sends, uint32_t closes, uint32_t members, uint32_t sessions)
{
    const struct receipt r = {{0, sends, closes, members, sessions}};
    struct frame f = {.cmd = FRAME_HANDLED};
    uint8_t body[RECEIPT_LEN];

    receipt_put(body, &r);
    f.body = body;
    f.body_len = sizeof(body);
    frame_encode(conn_out(gate.events), &f);
}

static bool confirms(void *arg)
{
    return peer()->receipts.confirmed.orders[RECEIPT_SEND] ==
               *(uint32_t *)arg &&
           peer()->receipts.known;
}

static void wait_confirmed(uint32_t sends)
{
    run_until(confirms, &sends);
}

static bool has_lost(void *arg)
{
    return !peer() || peer()->lost_at != 0;
}

static void cut(void)
{
    fake_cut(&gate);
    run_until(has_lost, NULL);
}

static void counts_what_a_dead_link_has_not_run(void **state)
{
    open_all();
    tell_handled(0, 0, 0, 0);
    wait_confirmed(0);
    send_each_kind();
    tell_handled(1, 1, 0, 1);
    wait_confirmed(1);
    assert_int_equal(g->sends_lost, 0);
    cut();
    assert_int_equal(g->sends_lost, 3); /* of a question its asker is told */
    run_until(links_are_up, NULL);
    cut();
    assert_int_equal(g->sends_lost, 3); /* nothing was on these */
    close_all();
}

static void counts_nothing_that_was_run(void **state)
{
    open_all();
    tell_handled(0, 0, 0, 0);
    wait_confirmed(0);
    send_each_kind();
    tell_handled(2, 1, 1, 2);
    wait_confirmed(2);
    cut();
    assert_int_equal(g->sends_lost, 0);
    close_all();
}

/* PHP's gateways say nothing; what they ran nobody knows. */
static void counts_nothing_where_nobody_tells(void **state)
{
    open_all();
    send_each_kind();
    cut();
    assert_int_equal(g->sends_lost, 0);
    close_all();
}

/* It breaks again before the gateway could say anything. */
static void counts_what_the_next_link_of_such_a_gateway_loses(void **state)
{
    open_all();
    tell_handled(0, 0, 0, 0);
    wait_confirmed(0);
    cut();
    run_until(links_are_up, NULL);
    send_each_kind();
    cut();
    assert_int_equal(g->sends_lost, 6);
    close_all();
}

static bool got_event(void *arg)
{
    return events == 1;
}

/* One that gives events and has told nothing before is another one. */
static void counts_nothing_when_another_gateway_has_its_address(void **state)
{
    open_all();
    tell_handled(0, 0, 0, 0);
    wait_confirmed(0);
    cut();
    run_until(links_are_up, NULL);
    fake_event(&gate, FRAME_ON_CONNECT, 7, "", "");
    run_until(got_event, NULL);
    send_each_kind();
    cut();
    assert_int_equal(g->sends_lost, 0);
    close_all();
}

static void ends_links_that_have_run_what_was_not_sent(void **state)
{
    open_all();
    tell_handled(0, 0, 0, 0);
    wait_confirmed(0);
    send_each_kind();
    tell_handled(3, 0, 0, 0);
    run_until(has_lost, NULL);
    assert_int_equal(g->sends_lost, 6);
    run_until(links_are_up, NULL);
    frame_encode(conn_out(gate.events), &(struct frame){.cmd = FRAME_HANDLED});
    gate.events = NULL;
    run_until(has_lost, NULL);
    close_all();
}

/* ---- with a page ---- */

static struct claims *page;

static bool shows(void *arg)
{
    return peer()->receipts.shown != NULL;
}

static void open_with_page(void)
{
    struct frame f = {.cmd = FRAME_CLAIMS, .flag = FRAME_FLAG_STRING};

    fixture.conf.claims = fixture.dir;
    open_all();
    tell_handled(0, 0, 0, 0);
    wait_confirmed(0);
    assert_int_equal(claims_create(&page, fixture.dir), 0);
    f.body = (const uint8_t *)claims_name(page);
    f.body_len = strlen(claims_name(page));
    frame_encode(conn_out(gate.events), &(struct frame){.cmd = FRAME_ACK});
    frame_encode(conn_out(gate.events), &f);
    run_until(shows, NULL);
}

static void close_with_page(void)
{
    close_all();
    claims_close(page);
}

static uint64_t count_in_gateway(uint32_t sends)
{
    const struct receipt run = {{0, sends, 0, 0, 0}};
    struct receipt unrun;
    uint64_t sum = 0;

    assert_int_equal(claims_count_unrun(page, &run, &unrun), 0);
    for (int i = 0; i < RECEIPT_KINDS; i++)
        sum += unrun.orders[i];
    return sum;
}

static bool waits_for_nobody(void *arg)
{
    return list_empty(&g->uncounted);
}

/* Also of what was sent before there was a page. */
static void leaves_it_to_a_gateway_that_lives(void **state)
{
    open_with_page();
    send_each_kind();
    cut();
    assert_int_equal(g->sends_lost, 0);
    assert_int_equal(count_in_gateway(1), 5);
    run_until(waits_for_nobody, NULL);
    assert_int_equal(g->sends_lost, 0);
    close_with_page();
}

static void counts_what_it_sent_behind_that(void **state)
{
    open_with_page();
    assert_int_equal(count_in_gateway(0), 0);
    send_each_kind();
    cut();
    run_until(waits_for_nobody, NULL);
    assert_int_equal(g->sends_lost, 6);
    close_with_page();
}

static void counts_for_a_gateway_that_does_not(void **state)
{
    const struct receipt run = {{0}};
    struct receipt unrun;

    open_with_page();
    send_each_kind();
    tell_handled(1, 1, 0, 1);
    wait_confirmed(1);
    cut();
    assert_int_equal(g->sends_lost, 0);
    run_until(waits_for_nobody, NULL);
    assert_int_equal(g->sends_lost, 3);
    assert_int_equal(claims_count_unrun(page, &run, &unrun), -EALREADY);
    close_with_page();
}

/* Its loop is over before it has waited long enough. */
static void counts_at_its_own_end(void **state)
{
    const struct receipt run = {{0}};
    struct receipt unrun;

    open_with_page();
    send_each_kind();
    cut();
    close_all();
    assert_int_equal(claims_count_unrun(page, &run, &unrun), -EALREADY);
    claims_close(page);
}

/* The error of a question about the clients of this worker, or its answer. */
struct asked {
    bool done;
    int err;
    char answer[16];
};

static void on_answers(
    const struct queries_answer *answers, size_t count, void *arg)
{
    struct asked *asked = arg;

    assert_int_equal(count, 1);
    asked->err = answers[0].err;
    snprintf(asked->answer, sizeof(asked->answer), "%.*s", (int)answers[0].len,
        answers[0].data ? (const char *)answers[0].data : "");
    asked->done = true;
}

static bool is_answered(void *arg)
{
    return ((struct asked *)arg)->done;
}

static struct asked ask_mine(void)
{
    struct frame f = {.cmd = FRAME_SELECT, .flag = FRAME_FLAG_STRING};
    struct asked asked = {0};

    asks_put_mine(g, &f, 0, on_answers, &asked);
    run_until(is_answered, &asked);
    return asked;
}

static void answer_mine(struct fake_gateway *f, const struct frame *question)
{
    fake_answer(f, "mine");
}

static void asks_gateways_of_ours_about_our_clients(void **state)
{
    open_all();
    gate.on_command = answer_mine;
    assert_int_equal(ask_mine().err, -ENOSYS);
    tell_handled(0, 0, 0, 0);
    wait_confirmed(0);
    assert_string_equal(ask_mine().answer, "mine");
    close_all();
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(counts_what_a_dead_link_has_not_run),
        CASE(counts_nothing_that_was_run),
        CASE(counts_nothing_where_nobody_tells),
        CASE(counts_what_the_next_link_of_such_a_gateway_loses),
        CASE(counts_nothing_when_another_gateway_has_its_address),
        CASE(ends_links_that_have_run_what_was_not_sent),
        CASE(leaves_it_to_a_gateway_that_lives),
        CASE(counts_what_it_sent_behind_that),
        CASE(counts_for_a_gateway_that_does_not),
        CASE(counts_at_its_own_end),
        CASE(asks_gateways_of_ours_about_our_clients),
    };

    return cmocka_run_group_tests_name("worker.receipts", tests, NULL, NULL);
}
