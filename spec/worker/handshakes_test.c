/* What is made of onHandshake's answers for gateways that know tables, and for
 * those of an older gwrun. The reader of tables is a fake: [1] is the answer.
 */
#include "fake_gateway.h"
#include "vm_fixture.h"
#include "wire/answer.h"
#include "worker/gateways_impl.h"
#include "worker/handshakes.h"

static struct fake_gateway gate;
static struct gateways *gateways;
static struct handshakes handshakes;
static struct vm *vm;
static struct handshakes_rules seen;
static char offered[64];

static const char *read_table(lua_State *L, int index,
    const struct handshakes_rules *rules, struct buf *out)
{
    const char *bytes;
    size_t len;

    seen = *rules;
    snprintf(offered, sizeof(offered), "%s",
        rules->offered ? rules->offered : "none");
    lua_rawgeti(L, index, 1);
    bytes = lua_tolstring(L, -1, &len);
    buf_append(out, bytes, len);
    lua_rawgeti(L, index - 1, 2);
    return lua_tostring(L, -1);
}

static void push_info(lua_State *L, const void *data, size_t len)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushlstring(L, data, len);
    lua_setfield(L, -2, "sec-websocket-protocol");
    lua_setfield(L, -2, "headers");
}

static void open_libs(lua_State *L)
{
    static const struct session_hooks hooks = {.push_info = push_info};

    fixture_open_libs(L);
    session_set_hooks(L, &hooks);
    handshakes_set_reader(L, read_table);
}

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    return ACKS_ENDED;
}

static void on_handshake(
    struct gateways_address from, const struct frame *f, void *arg)
{
    handshakes_ask(&handshakes, from, f);
}

static const struct gateways_ops ops = {
    .on_event = on_event, .on_handshake = on_handshake};

/* A script whose onHandshake returns that. */
static void serve(const char *answer)
{
    const char *addresses[1];
    char script[512];
    char *error;

    snprintf(script, sizeof(script),
        "Events = {}\nfunction Events.onHandshake(request)\n"
        "if request.wait then wait 'x' end\nreturn %s end",
        answer);
    fixture.conf.open_libs = open_libs;
    memset(&gate, 0, sizeof(gate));
    fake_listen(&gate);
    addresses[0] = gate.address;
    gateways = gateways_new(fixture.turn, &fixture.conf, 0, &ops, NULL);
    handlers_init(&fixture.handlers, turn_loop(fixture.turn));
    handshakes_init(&handshakes, gateways, &fixture.handlers);
    vm = open_vm_for(script, gateways, &error);
    if (error)
        fail_msg("%s", error);
    handshakes.vm = vm;
    gateways_set_addresses(addresses, 1, gateways);
    run_until(fake_has_events, &gate);
    fake_got(&gate);
}

static void unserve(void)
{
    vm_close(vm);
    handshakes_abandon(&handshakes, NULL);
    gateways_close(gateways);
    fake_close(&gate);
    run_turns(3);
}

/* The answer to a question; limits: those of a gateway that knows tables. */
static const char *answer_to(bool limits)
{
    uint8_t ext[8];
    struct frame f = {
        .cmd = FRAME_HANDSHAKE,
        .connection_id = 7,
        .ext = ext,
        .ext_len = limits ? sizeof(ext) : 0,
        .body = (const uint8_t *)"v1, v2",
        .body_len = 6,
    };

    put32(ext, 4096);
    put32(ext + 4, 10);
    frame_encode(conn_out(gate.events), &f);
    run_until(fake_heard, &gate);
    return fake_got(&gate);
}

static void a_word_is_said_alike_to_all(void **state)
{
    serve("401, 'who are\\nyou'");
    assert_string_equal(answer_to(false), "HANDSHAKE::401 who are you ");
    assert_string_equal(answer_to(true), "HANDSHAKE::401 who are you ");
    unserve();
}

static void a_table_goes_to_who_knows_it(void **state)
{
    serve("{ '\\0\\0\\1\\x91b\\0\\0\\0\\2no' }");
    answer_to(true);
    assert_int_equal(seen.session_max, 4096);
    assert_int_equal(seen.groups_max, 10);
    assert_string_equal(offered, "v1, v2");
    assert_int_equal(fixture.handlers.failed, 0);
    unserve();
}

static void an_older_gateway_gets_what_it_can_be_told(void **state)
{
    serve("{ '\\0\\0\\1\\x91h\\0\\0\\0\\4A: bb\\0\\0\\0\\2no' }");
    assert_string_equal(answer_to(false), "HANDSHAKE::401 no ");
    assert_int_equal(fixture.handlers.failed, 0);
    unserve();
    serve("{ '\\0\\0\\0\\0' }");
    assert_string_equal(answer_to(false), "HANDSHAKE::0  ");
    assert_int_equal(fixture.handlers.failed, 0);
    unserve();
}

static void nobody_gets_in_with_less_than_was_meant(void **state)
{
    serve("{ '\\0\\0\\0\\0u\\0\\0\\0\\3ann' }"); /* a uid */
    assert_string_equal(answer_to(false), "HANDSHAKE::500  ");
    assert_int_equal(fixture.handlers.failed, 1);
    unserve();
    serve("{ '\\0\\0\\1\\x2e' }"); /* 302, which was no refusal then */
    assert_string_equal(answer_to(false), "HANDSHAKE::500  ");
    assert_int_equal(fixture.handlers.failed, 1);
    unserve();
}

static void what_is_wrong_is_500(void **state)
{
    serve("{ '\\0\\0\\0\\0', 'something is wrong' }");
    assert_string_equal(answer_to(true), "HANDSHAKE::500  ");
    assert_int_equal(fixture.handlers.failed, 1);
    unserve();
    serve("{ '\\0\\0\\0\\0' }, 'behind it'");
    assert_string_equal(answer_to(true), "HANDSHAKE::500  ");
    assert_int_equal(fixture.handlers.failed, 1);
    unserve();
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_word_is_said_alike_to_all),
        CASE(a_table_goes_to_who_knows_it),
        CASE(an_older_gateway_gets_what_it_can_be_told),
        CASE(nobody_gets_in_with_less_than_was_meant),
        CASE(what_is_wrong_is_500),
    };

    return cmocka_run_group_tests_name("worker.handshakes", tests, NULL, NULL);
}
