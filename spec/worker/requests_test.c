/* On which link the answer to a request leaves. What a script returns is read
 * by a fake: a text. */
#include "fake_gateway.h"
#include "vm_fixture.h"
#include "wire/answer.h"
#include "wire/bigendian.h"
#include "worker/gateways_impl.h"
#include "worker/requests.h"

static struct fake_gateway gate;
static struct gateways *gateways;
static struct requests requests;
static struct vm *vm;
static struct conn *came_on; /* the link that brought the last answer */

static void push(lua_State *L, const uint8_t *data, size_t len)
{
    lua_pushlstring(L, (const char *)data, len);
}

static const char *read_text(
    lua_State *L, const struct handshakes_rules *rules, struct buf *out)
{
    size_t len;
    const char *text = lua_tolstring(L, -3, &len);

    answer_put_status(out, 200);
    answer_put(out, ANSWER_BODY, text, len);
    return NULL;
}

static void open_libs(lua_State *L)
{
    static const struct requests_hooks hooks = {
        .push = push, .read = read_text};

    fixture_open_libs(L);
    requests_set_hooks(L, &hooks);
}

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    return ACKS_ENDED;
}

static void on_request(
    struct gateways_address from, const struct frame *f, void *arg)
{
    requests_take(&requests, from, f);
}

static void on_command(struct fake_gateway *g, const struct frame *f)
{
    if (f->cmd == FRAME_REQUEST)
        came_on = g->commands;
}

static const struct gateways_ops ops = {
    .on_event = on_event, .on_request = on_request};

/* A script that answers with so many bytes as the request says. */
static void serve(void)
{
    const char *addresses[1];
    char *error;

    fixture.conf.open_libs = open_libs;
    memset(&gate, 0, sizeof(gate));
    fake_listen(&gate);
    gate.on_command = on_command;
    addresses[0] = gate.address;
    gateways = gateways_new(fixture.turn, &fixture.conf, 0, &ops, NULL);
    handlers_init(&fixture.handlers, turn_loop(fixture.turn));
    requests_init(&requests, gateways, &fixture.handlers);
    vm = open_vm_for("Events = {}\n"
                     "function Events.onRequest(n) return ('x'):rep(n) end",
        gateways, &error);
    if (error)
        fail_msg("%s", error);
    requests.vm = vm;
    gateways_set_addresses(addresses, 1, gateways);
    run_until(fake_has_events, &gate);
    fake_want_acks(&gate);
}

static void unserve(void)
{
    vm_close(vm);
    requests_abandon(&requests, NULL);
    gateways_close(gateways);
    fake_close(&gate);
    run_turns(3);
}

static bool is_answered(void *arg)
{
    return came_on != NULL;
}

/* Whether the answer to a request comes on the link of the events. */
static bool is_with_events(uint8_t flags, const char *size)
{
    uint8_t ext[4];
    struct frame f = {
        .cmd = FRAME_REQUEST,
        .flag = FRAME_FLAG_STRING | flags,
        .connection_id = 7,
        .ext = ext,
        .ext_len = sizeof(ext),
        .body = (const uint8_t *)size,
        .body_len = strlen(size),
    };

    put32(ext, 1 << 20);
    came_on = NULL;
    frame_encode(conn_out(gate.events), &f);
    run_until(is_answered, NULL);
    return came_on == gate.events;
}

static void a_short_answer_comes_with_the_commands_where_it_may(void **state)
{
    serve();
    assert_true(is_with_events(0, "100"));
    assert_false(is_with_events(FRAME_FLAG_BEHIND, "100"));
    assert_false(is_with_events(FRAME_FLAG_BEHIND, "16000"));
    assert_true(is_with_events(FRAME_FLAG_BEHIND, "17000"));
    assert_int_equal(fixture.handlers.failed, 0);
    unserve();
}

static bool has_watched(void *arg)
{
    return strstr(buf_text(&gate.got), "REQUEST_WATCH") != NULL;
}

/* The gateway has given them to another worker: nobody answers here. */
static void begins_no_request_that_was_taken_back(void **state)
{
    struct frame name = {.cmd = FRAME_CLAIMS, .flag = FRAME_FLAG_STRING};
    struct frame request = {.cmd = FRAME_REQUEST,
        .flag = FRAME_FLAG_STRING,
        .connection_id = 8,
        .ext = (const uint8_t *)"\0\1\0\0",
        .ext_len = 4,
        .body = (const uint8_t *)"1",
        .body_len = 1};
    struct claims *page;

    fixture.conf.claims = fixture.dir;
    serve();
    assert_int_equal(claims_create(&page, fixture.dir), 0);
    name.body = (const uint8_t *)claims_name(page);
    name.body_len = strlen(claims_name(page));
    frame_encode(conn_out(gate.events), &name);
    assert_true(is_with_events(0, "100"));
    assert_true(is_with_events(0, "100"));
    assert_int_equal(fixture.handlers.begun, 2);
    assert_int_equal(claims_revoke_requests(page), 2);
    frame_encode(conn_out(gate.events), &request);
    frame_encode(conn_out(gate.events),
        &(struct frame){.cmd = FRAME_REQUEST_WATCH}); /* has its answer */
    run_until(has_watched, NULL);
    assert_int_equal(fixture.handlers.begun, 2);
    unserve();
    claims_close(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_short_answer_comes_with_the_commands_where_it_may, fixture_setup,
            fixture_teardown),
        cmocka_unit_test_setup_teardown(begins_no_request_that_was_taken_back,
            fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests_name("worker.requests", tests, NULL, NULL);
}
