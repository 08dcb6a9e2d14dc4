/* Sessions that travel with events, and saves that cross them on the way. The
 * fixture's script sees the session as a string. */
#include "fake_gateway.h"
#include "vm_fixture.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"

static struct gateways *gateways;
static struct dispatch *d;
static struct vm *vm;
static struct fake_gateway gate;

static enum gateways_event on_event(
    const struct frame *f, uint32_t link, void *arg)
{
    return dispatch_event(d, f, link);
}

static const struct gateways_ops ops = {.on_event = on_event};

/* session() -> bytes; session(bytes) saves. */
static int lua_session(lua_State *L)
{
    size_t len;
    const uint8_t *bytes;

    if (lua_isstring(L, 1)) {
        const char *data = lua_tolstring(L, 1, &len);

        session_save(L, data, len);
        return 0;
    }
    bytes = session_bytes(L, &len);
    lua_pushlstring(L, (const char *)bytes, len);
    return 1;
}

static void flush(lua_State *L)
{
    lua_getglobal(L, "flush");
    if (lua_isfunction(L, -1))
        lua_call(L, 0, 0);
    else
        lua_pop(L, 1);
}

static void push_value(lua_State *L, const void *data, size_t len)
{
    lua_pushlstring(L, data, len);
}

static void open_libs(lua_State *L)
{
    static const struct session_hooks hooks = {flush, push_value};

    fixture_open_libs(L);
    lua_register(L, "session", lua_session);
    session_set_hooks(L, &hooks);
}

static void serve(const char *script)
{
    const char *addresses[] = {gate.address};
    char *error;

    memset(&gate, 0, sizeof(gate));
    fake_listen(&gate);
    fixture.conf.open_libs = open_libs;
    gateways = gateways_new(fixture.turn, &fixture.conf, 0, &ops, NULL);
    gateways_set_addresses(addresses, 1, gateways);
    d = dispatch_new(fixture.turn, gateways, &fixture.conf);
    vm = open_vm_for(script, gateways, &error);
    if (error)
        fail_msg("%s", error);
    dispatch_serve(d, vm);
    run_until(fake_has_events, &gate);
    fake_got(&gate);
}

static void unserve(void)
{
    vm_close(vm);
    dispatch_free(d);
    gateways_close(gateways);
    fake_close(&gate);
}

static bool noted_more(void *arg)
{
    return fixture.notes.len > *(size_t *)arg;
}

/* A message with this session; runs until the handler noted something. */
static void message(const char *body, const char *session)
{
    size_t before = fixture.notes.len;

    fake_event(&gate, FRAME_ON_MESSAGE, 1, body, session);
    run_until(noted_more, &before);
}

static const char echo_script[] =
    "Events = { onMessage = function(id, m) note('<' .. session() .. '>') "
    "if m ~= '' then session(m) end end, "
    "onClose = function(id, info) note('closed:' .. info.session) end }";

static void events_see_the_session_that_came_with_them(void **state)
{
    serve(echo_script);
    message("", "A");
    assert_string_equal(notes(), "<A> ");
    message("", "");
    assert_string_equal(notes(), "<> ");
    unserve();
}

static void a_saved_session_goes_to_the_gateway(void **state)
{
    serve(echo_script);
    message("B", "A");
    run_until(fake_heard, &gate);
    assert_string_equal(fake_got(&gate), "SET_SESSION:B: ");
    unserve();
}

static void events_sent_before_the_save_do_not_undo_it(void **state)
{
    serve(echo_script);
    message("B", "A");
    assert_string_equal(notes(), "<A> ");
    message("", "A"); /* left the gateway before the save came there */
    assert_string_equal(notes(), "<B> ");
    message("C", "A");
    assert_string_equal(notes(), "<B> ");
    message("", "A");
    assert_string_equal(notes(), "<C> ");
    message("", "B"); /* the first save is there, the second not yet */
    assert_string_equal(notes(), "<C> ");
    message("", "C");
    assert_string_equal(notes(), "<C> ");
    assert_int_equal(HASH_COUNT(d->mailboxes), 0);
    unserve();
}

static void a_change_by_others_wins(void **state)
{
    serve(echo_script);
    message("B", "A");
    message("", "X");
    message("", "A");
    assert_string_equal(notes(), "<A> <X> <A> ");
    unserve();
}

static void a_save_back_to_the_old_value_holds(void **state)
{
    serve(echo_script);
    message("B", "A");
    message("A", "A");
    message("", "A");
    message("", "B"); /* the gateway has the first save only */
    assert_string_equal(notes(), "<A> <B> <A> <A> ");
    unserve();
}

static void on_close_sees_the_last_session_and_forgets_it(void **state)
{
    serve(echo_script);
    message("B", "A");
    notes();
    fake_event(&gate, FRAME_ON_CLOSE, 1, "", "A");
    run_until_noted("closed");
    assert_string_equal(notes(), "closed:B ");
    assert_int_equal(HASH_COUNT(d->mailboxes), 0);
    assert_true(list_empty(&d->records));
    unserve();
}

static void the_session_stays_readable_over_waits(void **state)
{
    serve("Events = { onMessage = function(id, m) wait 'x' note(session()) "
          "session('B') wait 'y' note(session()) end }");
    fake_event(&gate, FRAME_ON_MESSAGE, 1, "", "A");
    while (list_empty(&fixture.waits))
        run_turns(1);
    wake("x");
    assert_string_equal(notes(), "A ");
    wake("y");
    assert_string_equal(notes(), "B ");
    unserve();
}

static void flushes_before_a_wait_and_at_the_end(void **state)
{
    serve("function flush() note 'flush' end "
          "Events = { onMessage = function() wait 'x' note 'woken' end }");
    fake_event(&gate, FRAME_ON_MESSAGE, 1, "", "");
    run_until_noted("flush");
    assert_string_equal(notes(), "flush ");
    wake("x");
    assert_string_equal(notes(), "woken flush ");
    unserve();
}

static void a_flush_that_fails_ends_the_wait(void **state)
{
    serve("function flush() error 'unsavable' end "
          "Events = { onMessage = function() note(select(2, pcall(wait))) "
          "end }");
    fake_event(&gate, FRAME_ON_MESSAGE, 1, "", "");
    run_until_noted("unsavable");
    notes();
    assert_int_equal(fixture.cancelled, 1);
    assert_int_equal(d->errors, 1); /* the flush at the end fails, too */
    unserve();
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(events_see_the_session_that_came_with_them),
        CASE(a_saved_session_goes_to_the_gateway),
        CASE(events_sent_before_the_save_do_not_undo_it),
        CASE(a_change_by_others_wins),
        CASE(a_save_back_to_the_old_value_holds),
        CASE(on_close_sees_the_last_session_and_forgets_it),
        CASE(the_session_stays_readable_over_waits),
        CASE(flushes_before_a_wait_and_at_the_end),
        CASE(a_flush_that_fails_ends_the_wait),
    };

    return cmocka_run_group_tests_name("worker.session", tests, NULL, NULL);
}
