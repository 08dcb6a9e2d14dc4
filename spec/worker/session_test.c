/* Sessions that travel with events, and saves that cross them on the way. The
 * fixture's script sees the session as a letter: "A" is a:1:{i:0;s:1:"A";}. */
#include "fake_gateway.h"
#include "vm_fixture.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"

static struct gateways *gateways;
static struct dispatch *d;
static struct vm *vm;
static struct fake_gateway gate;

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    return dispatch_event(d, f, link);
}

static void on_session(
    const struct client_id *id, const struct frame *f, void *arg)
{
    dispatch_session(d, id, f);
}

static void on_link_lost(struct gateways_address from, void *arg)
{
    dispatch_link_lost(d, from);
}

static const struct gateways_ops ops = {
    .on_event = on_event,
    .on_link_lost = on_link_lost,
    .on_session = on_session,
};

#define SESSION(letter) "a:1:{i:0;s:1:\"" letter "\";}"
#define LETTER_AT       14

static const char *session_of(const char *letter)
{
    static char text[64];

    snprintf(text, sizeof(text), SESSION("%s"), letter);
    return *letter ? text : "";
}

static void push_letter(lua_State *L, const void *data, size_t len)
{
    lua_pushlstring(
        L, (const char *)data + (len > 0 ? LETTER_AT : 0), len > 0 ? 1 : 0);
}

/* session() -> letter; session(letter) saves. */
static int lua_session(lua_State *L)
{
    size_t len;
    const uint8_t *bytes;

    if (lua_isstring(L, 1)) {
        const char *text = session_of(lua_tostring(L, 1));
        struct phpser_patch patch = {text, strlen(text), NULL, 0};

        assert_int_equal(session_save(L, &patch, &len), 0);
        return 0;
    }
    bytes = session_bytes(L, &len);
    push_letter(L, bytes, len);
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

static void open_libs(lua_State *L)
{
    static const struct session_hooks hooks = {
        flush, flush, push_letter, push_letter, push_letter};

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
    handlers_init(&fixture.handlers, turn_loop(fixture.turn));
    d = dispatch_new(fixture.turn, gateways, &fixture.conf, &fixture.handlers);
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

    fake_event(&gate, FRAME_ON_MESSAGE, 1, body, session_of(session));
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
    assert_string_equal(fake_got(&gate), "SET_SESSION:" SESSION("B") ": ");
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
    assert_int_equal(dispatch_counts(d).clients, 0);
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
    fake_event(&gate, FRAME_ON_CLOSE, 1, "", SESSION("A"));
    run_until_noted("closed");
    assert_string_equal(notes(), "closed:B ");
    assert_int_equal(dispatch_counts(d).clients, 0);
    assert_true(list_empty(&d->sessions.records));
    unserve();
}

/* ---- gateways that say when a session has changed ---- */

/* "So many changes have come" (id 0), or "forget it". */
static void tell(uint32_t id, uint8_t changes)
{
    const uint8_t body[] = {0, 0, 0, 200, 0, 0, 0, changes};
    struct frame f = {.cmd = FRAME_SESSION,
        .connection_id = id,
        .body = body,
        .body_len = id == 0 ? sizeof(body) : 0};

    frame_encode(conn_out(gate.events), &f);
}

static void serve_knowing(const char *script)
{
    serve(script);
    fake_want_acks(&gate);
    tell(0, 0);
}

/* An event that brings the session and says how many changes have come. */
static void put_known(const char *body, uint32_t changes, const char *session)
{
    struct frame f = {
        .cmd = FRAME_ON_MESSAGE,
        .flag = FRAME_FLAG_STRING | FRAME_FLAG_SESSION,
        .local_ip = addr_ipv4(&gate.addr),
        .local_port = addr_port(&gate.addr),
        .connection_id = 1,
        .changes = changes,
        .ext = (const uint8_t *)session_of(session),
        .ext_len = strlen(session_of(session)),
        .body = (const uint8_t *)body,
        .body_len = strlen(body),
    };

    frame_encode(conn_out(gate.events), &f);
}

static void known(const char *body, uint32_t changes, const char *session)
{
    size_t before = fixture.notes.len;

    put_known(body, changes, session);
    run_until(noted_more, &before);
}

static void what_came_once_is_there_until_something_else_comes(void **state)
{
    serve_knowing(echo_script);
    message("", "");
    known("", 0, "A");
    message("", "");
    message("", "");
    known("", 0, "");
    message("", "");
    assert_string_equal(notes(), "<> <A> <A> <A> <> <> ");
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static bool got_patch(void *arg)
{
    return strstr(buf_text(&gate.got), "PATCH_SESSION:" SESSION("B") ": ");
}

static void a_change_is_sent_as_one(void **state)
{
    serve_knowing(echo_script);
    message("B", "");
    run_until(got_patch, NULL);
    message("", "");
    assert_string_equal(notes(), "<> <B> ");
    unserve();
}

static void changes_that_cross_an_event_are_done_again(void **state)
{
    serve_knowing(echo_script);
    message("B", "");
    message("C", "");
    known("", 1, "X"); /* somebody else's, with the first of ours in it */
    known("", 0, "Y"); /* from before that cannot be, but it is harmless */
    known("", 2, "Z");
    assert_string_equal(notes(), "<> <B> <C> <C> <Z> ");
    unserve();
}

static void changes_that_came_are_forgotten(void **state)
{
    const struct session_record *r;

    serve_knowing(echo_script);
    for (int i = 0; i < 3; i++)
        message("B", "");
    tell(0, 3);
    message("C", "");
    r = d->mailboxes.by_key->record;
    assert_true(r->changes.next == r->changes.prev); /* the last one only */
    unserve();
}

static void forgets_when_it_is_told_to(void **state)
{
    serve_knowing(echo_script);
    known("", 0, "A");
    tell(1, 0);
    tell(7, 0); /* nobody */
    message("", "");
    assert_string_equal(notes(), "<A> <> ");
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static void events_that_wait_have_it_although_it_is_to_be_forgotten(
    void **state)
{
    serve_knowing("Events = { onMessage = function(id, m) "
                  "wait(m) note(m .. session()) end }");
    put_known("x", 0, "A");
    fake_event(&gate, FRAME_ON_MESSAGE, 1, "y", "");
    tell(1, 0);
    fake_event(&gate, FRAME_ON_MESSAGE, 2, "z", "");
    while (list_empty(&fixture.waits) ||
           fixture.waits.next->next == &fixture.waits)
        run_turns(1);
    wake("x");
    wake("y");
    assert_string_equal(notes(), "xA yA ");
    wake("z");
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static void a_handler_that_waits_sees_what_came_meanwhile(void **state)
{
    serve_knowing("Events = { onMessage = function(id, m) "
                  "wait(m) note(m .. session()) end }");
    fake_event(&gate, FRAME_ON_MESSAGE, 1, "x", "");
    put_known("y", 0, "A");
    fake_event(&gate, FRAME_ON_MESSAGE, 2, "z", "");
    while (list_empty(&fixture.waits) ||
           fixture.waits.next->next == &fixture.waits)
        run_turns(1);
    wake("x");
    wake("y");
    wake("z");
    assert_string_equal(notes(), "xA yA z ");
    unserve();
}

static bool forgot_all(void *arg)
{
    return dispatch_counts(d).clients == 0;
}

static void forgets_all_of_a_gateway_whose_link_is_lost(void **state)
{
    serve_knowing(echo_script);
    known("B", 0, "A");
    assert_int_equal(dispatch_counts(d).clients, 1);
    fake_cut(&gate);
    run_until(forgot_all, NULL);
    run_until(fake_has_events, &gate);
    message("", ""); /* this gateway does not say, and has none */
    assert_string_equal(notes(), "<A> <> ");
    unserve();
}

static void the_session_stays_readable_over_waits(void **state)
{
    serve("Events = { onMessage = function(id, m) wait 'x' note(session()) "
          "session('B') wait 'y' note(session()) end }");
    fake_event(&gate, FRAME_ON_MESSAGE, 1, "", SESSION("A"));
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
    assert_int_equal(
        fixture.handlers.failed, 1); /* the flush at the end fails, too */
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
        CASE(what_came_once_is_there_until_something_else_comes),
        CASE(a_change_is_sent_as_one),
        CASE(changes_that_cross_an_event_are_done_again),
        CASE(changes_that_came_are_forgotten),
        CASE(forgets_when_it_is_told_to),
        CASE(events_that_wait_have_it_although_it_is_to_be_forgotten),
        CASE(a_handler_that_waits_sees_what_came_meanwhile),
        CASE(forgets_all_of_a_gateway_whose_link_is_lost),
        CASE(the_session_stays_readable_over_waits),
        CASE(flushes_before_a_wait_and_at_the_end),
        CASE(a_flush_that_fails_ends_the_wait),
    };

    return cmocka_run_group_tests_name("worker.session", tests, NULL, NULL);
}
