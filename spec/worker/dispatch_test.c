/* Mailboxes: one event of a client at a time, in order; sessions that are
 * saved; limits; what happens around a change of scripts. */
#include "vm_fixture.h"

#include <malloc.h>

#include "net/clock.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"

static const struct gateways_ops no_ops;
static struct gateways *gateways;
static struct dispatch *d;
static struct vm *vm;
static bool is_timed; /* the time that handlers take in a turn counts */

static void serve(const char *script)
{
    char *error;

    is_timed = false;
    gateways = gateways_new(fixture.turn, &fixture.conf, 0, &no_ops, NULL);
    handlers_init(&fixture.handlers, turn_loop(fixture.turn));
    d = dispatch_new(fixture.turn, gateways, &fixture.conf, &fixture.handlers);
    vm = open_vm_for(script, gateways, &error);
    if (error)
        fail_msg("%s", error);
    dispatch_serve(d, vm);
}

static void unserve(void)
{
    if (vm)
        vm_close(vm);
    dispatch_free(d);
    gateways_close(gateways);
}

static void event_with(uint8_t cmd, uint8_t flag, uint32_t id, const char *body,
    const char *session)
{
    struct frame f = {
        .cmd = cmd,
        .flag = FRAME_FLAG_STRING | flag,
        .local_ip = 0x7f000001,
        .local_port = 2900,
        .client_ip = 0x0a000001,
        .client_port = 4000,
        .connection_id = id,
        .gateway_port = 8283,
    };
    /* Exact copies on the heap: the sanitizer sees a read behind the call. */
    uint8_t *b = xmemdup(body, strlen(body));
    uint8_t *s = xmemdup(session, strlen(session));

    f.body = b;
    f.body_len = strlen(body);
    f.ext = s;
    f.ext_len = strlen(session);
    if (!is_timed && vm)
        vm->spent = 0; /* a busy machine takes what it likes */
    dispatch_event(d, &f, 0);
    free(b);
    free(s);
}

static void event_with_session(
    uint8_t cmd, uint32_t id, const char *body, const char *session)
{
    event_with(cmd, 0, id, body, session);
}

static void event(uint8_t cmd, uint32_t id, const char *body)
{
    event_with_session(cmd, id, body, "");
}

static void message(uint32_t id, const char *body)
{
    event(FRAME_ON_MESSAGE, id, body);
}

static void calls_each_callback(void **state)
{
    serve("Events = {"
          " onConnect = function(...) note('c', ...) note(...) end,"
          " onWebSocketConnect = function(id, data) note('w' .. data) end,"
          " onMessage = function(id, m) note(m) end,"
          " onClose = function(id, info) note(id) note(info.cause) end }");
    event(FRAME_ON_CONNECT, 7, "");
    event(FRAME_ON_WEBSOCKET_CONNECT, 7, "data");
    message(7, "hello");
    event(FRAME_ON_CLOSE, 7, "");
    assert_string_equal(notes(),
        "c 7f0000010b5400000007 wdata hello 7f0000010b5400000007 nil ");
    assert_int_equal(fixture.handlers.begun, 4);
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static void tells_the_type_of_a_message(void **state)
{
    serve("Events = { onMessage = function(id, ...)"
          " local m, binary = ... note(m .. select('#', ...) .. '='"
          " .. tostring(binary)) if m == 'wait' then wait(m) end end }");
    event_with(FRAME_ON_MESSAGE, FRAME_FLAG_TEXT, 1, "a", "");
    event_with(FRAME_ON_MESSAGE, FRAME_FLAG_BINARY, 1, "b", "");
    event_with(FRAME_ON_MESSAGE, 0, 1, "c", "");
    event_with(FRAME_ON_MESSAGE, FRAME_FLAG_BINARY, 1, "wait", "");
    event_with(FRAME_ON_MESSAGE, FRAME_FLAG_TEXT, 1, "d", "");
    assert_string_equal(notes(), "a2=false b2=true c2=nil wait2=true ");
    wake("wait");
    assert_string_equal(notes(), "d2=false ");
    unserve();
}

/* What waits of that is nobody's any more when the link is lost: whoever gets
 * the client hears of it. */
static void forgets_who_was_bound_with_the_link(void **state)
{
    serve(
        "Events = { onMessage = function(id, m) note(m) wait(m) end,"
        " onClientBound = function(...) note(select('#', ...)) note(...) end }");
    event(FRAME_BOUND, 7, "");
    assert_string_equal(notes(), "1 7f0000010b5400000007 ");
    message(7, "wait");
    event(FRAME_BOUND, 7, "");
    assert_int_equal(dispatch_counts(d).queued, 1);
    dispatch_link_lost(d, (struct gateways_address){0x7f000001, 2900});
    assert_int_equal(dispatch_counts(d).queued, 0);
    assert_int_equal(dispatch_counts(d).forgotten, 0);
    wake("wait");
    assert_string_equal(notes(), "wait ");
    unserve();
}

static void ignores_events_without_a_callback(void **state)
{
    serve("Events = { onMessage = note }");
    event(FRAME_ON_CONNECT, 1, "");
    event(FRAME_ON_CLOSE, 1, "");
    event(99, 1, "");
    assert_string_equal(notes(), "");
    assert_int_equal(fixture.handlers.failed, 0);
    unserve();
}

static const char waiting_script[] =
    "Events = { onMessage = function(id, m)"
    " note('<' .. m) if m:find 'wait' then wait(m) end note(m .. '>') end,"
    " onClose = function() note 'closed' end }";

static void a_waiting_handler_holds_its_own_client_only(void **state)
{
    serve(waiting_script);
    message(1, "wait1");
    message(1, "b");
    message(2, "c");
    event(FRAME_ON_CLOSE, 1, "");
    assert_string_equal(notes(), "<wait1 <c c> ");
    assert_int_equal(dispatch_counts(d).queued, 2);
    wake("wait1");
    assert_string_equal(notes(), "wait1> <b b> closed ");
    assert_int_equal(dispatch_counts(d).queued, 0);
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static void keeps_order_over_many_waits(void **state)
{
    serve(waiting_script);
    message(1, "wait1");
    message(1, "wait2");
    message(1, "c");
    wake("wait1");
    message(1, "wait3");
    wake("wait2");
    assert_string_equal(notes(), "<wait1 wait1> <wait2 wait2> <c c> <wait3 ");
    wake("wait3");
    assert_string_equal(notes(), "wait3> ");
    unserve();
}

static void an_error_hurts_only_its_event(void **state)
{
    serve("Events = { onMessage = function(id, m) if m == 'bad' then error "
          "'boom' end note(m) end }");
    message(1, "bad");
    message(1, "good");
    assert_string_equal(notes(), "good ");
    assert_int_equal(fixture.handlers.failed, 1);
    unserve();
}

static void an_error_after_a_wait_lets_the_next_event_run(void **state)
{
    serve("Events = { onMessage = function(id, m) if m == 'bad' then wait 'x' "
          "error 'boom' end note(m) end }");
    message(1, "bad");
    message(1, "good");
    wake("x");
    assert_string_equal(notes(), "good ");
    assert_int_equal(fixture.handlers.failed, 1);
    unserve();
}

static void count_failures(
    enum log_level level, const char *who, const char *text, void *arg)
{
    *(int *)arg += strstr(text, "handler failed") != NULL;
}

/* So many lines a second, however long that takes here. */
static void logs_a_flood_of_errors_in_part(void **state)
{
    uint64_t began = clock_now(turn_loop(fixture.turn)) / 1000;
    uint64_t seconds;
    int lines = 0;

    log_set_sink(count_failures, &lines);
    serve("Events = { onMessage = function() error 'boom' end }");
    for (int i = 0; i < 1000; i++) {
        message(1, "x");
        run_turns(1);
    }
    assert_int_equal(fixture.handlers.failed, 1000);
    seconds = clock_now(turn_loop(fixture.turn)) / 1000 - began + 1;
    assert_in_range(lines, 1, seconds * HANDLERS_ERROR_LINES);
    log_set_sink(NULL, NULL);
    unserve();
}

static void clients_whose_handlers_have_ended_take_no_memory(void **state)
{
    const uint32_t count = 10000;
    size_t before;

    serve("Events = { onMessage = function() end }");
    message(1, "x");
    before = mallinfo2().uordblks;
    for (uint32_t i = 1; i <= count; i++) {
        message(i, "x");
        run_turns(1);
    }
    assert_int_equal(dispatch_counts(d).clients, 0);
    /* garbage of the script's, and no more than that */
    assert_true(
        mallinfo2().uordblks < before + count * sizeof(struct mailbox) / 2);
    unserve();
}

static bool is_held(uint16_t port)
{
    return gateways_find(gateways, 0x7f000001, port)->held;
}

/* A handler begins in a later turn where those of this one had their time. */
static void wake_handlers(int count)
{
    while (count > 0) {
        if (wake("x"))
            count--;
        else
            run_turns(1);
    }
}

/* Of the gateway whose events they hold; the other one's clients go on. */
static void full_queues_pause_reading_until_they_are_short(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:2900", "127.0.0.1:2901"};
    char body[1001];

    fixture.conf.queue_max = 9200; /* of eight, not of nine */
    memset(body, 'x', 1000);
    body[1000] = '\0';
    serve("Events = { onMessage = function(id, m) wait 'x' end }");
    gateways_set_addresses(addresses, 2, gateways);
    message(1, body);
    while (dispatch_counts(d).queued > 0)
        run_turns(1); /* loading may have taken all the time of the turn */
    for (int i = 0; i < 8; i++)
        message(1, body);
    assert_false(is_held(2900));
    message(1, body);
    assert_true(is_held(2900));
    assert_false(is_held(2901));
    wake_handlers(6);
    assert_true(is_held(2900));
    wake_handlers(2);
    while (is_held(2900))
        run_turns(1);
    wake_handlers(2);
    assert_int_equal(dispatch_counts(d).queued, 0);
    unserve();
}

static void a_lost_gateway_closes_its_clients(void **state)
{
    struct client_id id = {0x7f000001, 2900, 5};

    serve("Events = { onClose = function(id, info)"
          " note(id) note(info.cause) note(info.by) note(info.reason or 'none')"
          " end }");
    dispatch_lost(d, &id, true);
    assert_string_equal(
        notes(), "7f0000010b5400000005 gateway_lost lost none ");
    unserve();
}

/* ---- clients that go away while their handler waits ---- */

static struct dispatch_watch watch;

static void on_gone(struct dispatch_watch *w)
{
    list_remove(&w->node);
    buf_append_str(&fixture.notes, "gone ");
    wake("x");
}

/* watch() -> 0 or the error */
static int watch_client(lua_State *L)
{
    watch.gone = on_gone;
    lua_pushinteger(L, dispatch_watch_client(L, &watch));
    return 1;
}

static void open_libs_with_watch(lua_State *L)
{
    fixture_open_libs(L);
    lua_register(L, "watch", watch_client);
}

static void tells_a_waiting_handler_that_its_client_is_gone(void **state)
{
    struct client_id second = {0x7f000001, 2900, 2};

    fixture.conf.open_libs = open_libs_with_watch;
    serve("Events = { onMessage = function(id, m) note(m) watch() wait 'x' "
          "note(m) end, onClose = function() note 'closed' end }");
    message(1, "a");
    message(1, "next");
    event(FRAME_ON_CLOSE, 3, ""); /* somebody else */
    assert_string_equal(notes(), "a closed ");
    event(FRAME_ON_CLOSE, 1, "");
    assert_string_equal(notes(), ""); /* not inside the call */
    run_turns(2);
    assert_string_equal(notes(), "gone a next ");
    assert_true(wake("x"));
    assert_string_equal(notes(), "next closed ");
    message(2, "b");
    dispatch_lost(d, &second, true);
    run_turns(2);
    assert_string_equal(notes(), "b gone b closed ");
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static void knows_that_a_client_is_gone_already(void **state)
{
    char expected[64];

    fixture.conf.open_libs = open_libs_with_watch;
    serve("Events = { onMessage = function(id, m) if m ~= '' then wait(m) end "
          "note(watch()) end, onClose = function() note(watch()) end }");
    message(1, "y");
    message(1, "");
    event(FRAME_ON_CLOSE, 1, "");
    wake("y");
    snprintf(expected, sizeof(expected), "%d %d %d ", -ENOTCONN, -ENOTCONN,
        -ENOTCONN);
    assert_string_equal(notes(), expected);
    unserve();
}

static int watch_nobody(lua_State *L)
{
    lua_settop(L, 0);
    watch_client(L);
    return fixture_note(L);
}

static void watches_nobody_where_no_client_is_served(void **state)
{
    char expected[16];

    serve("Events = { onMessage = function() end }");
    coro_start(vm, "test", watch_nobody, NULL, NULL, NULL, NULL);
    snprintf(expected, sizeof(expected), "%d ", -EINVAL);
    assert_string_equal(notes(), expected);
    unserve();
}

/* ---- turns ---- */

/* As if handlers had computed all the time of this turn. */
static void spend_turn(void)
{
    vm->spent = DISPATCH_TURN;
    vm->spent_in = clock_now(&fixture.loop);
}

static void clients_take_turns_when_the_time_is_up(void **state)
{
    serve("Events = { onMessage = function(id, m) note(m) end }");
    is_timed = true;
    message(1, "now");
    spend_turn();
    message(1, "a1");
    message(1, "a2");
    message(1, "a3");
    message(2, "b1");
    message(2, "b2");
    assert_string_equal(notes(), "now ");
    assert_int_equal(dispatch_counts(d).queued, 5);
    run_turns(5);
    assert_string_equal(notes(), "a1 b1 a2 b2 a3 ");
    assert_int_equal(dispatch_counts(d).queued, 0);
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static void links_are_read_between_long_handlers(void **state)
{
    serve(
        "Events = { onMessage = function(id, m) note(m) if m ~= 'hi' then"
        " local t = os.clock() + 0.003 while os.clock() < t do end end end }");
    is_timed = true;
    spend_turn();
    message(1, "a1");
    message(1, "a2");
    message(1, "a3");
    run_turns(1);
    assert_string_equal(notes(), "a1 ");
    vm->spent = 0; /* the clock that counts it is a coarse one */
    message(2, "hi");
    assert_string_equal(notes(), "hi ");
    run_turns(1);
    assert_string_equal(notes(), "a2 ");
    run_turns(1);
    assert_string_equal(notes(), "a3 ");
    unserve();
}

static void a_long_queue_is_left_to_the_next_turn(void **state)
{
    serve(waiting_script);
    is_timed = true;
    message(1, "wait1");
    message(1, "a2");
    message(1, "a3");
    spend_turn();
    wake("wait1");
    assert_string_equal(notes(), "<wait1 wait1> ");
    message(1, "a4"); /* keeps its place behind them */
    run_turns(5);
    assert_string_equal(notes(), "<a2 a2> <a3 a3> <a4 a4> ");
    unserve();
}

static void on_quiet(struct vm *quiet_vm, void *arg)
{
    *(bool *)arg = true;
}

static void a_script_is_not_quiet_while_events_wait_for_a_turn(void **state)
{
    bool quiet = false;

    serve("Events = { onMessage = function(id, m) note(m)"
          " local t = os.clock() + 0.003 while os.clock() < t do end end }");
    is_timed = true;
    spend_turn();
    message(1, "a1");
    message(1, "a2");
    vm_when_quiet(vm, on_quiet, &quiet);
    run_turns(1);
    assert_false(quiet);
    run_turns(2);
    assert_string_equal(notes(), "a1 a2 ");
    assert_true(quiet);
    unserve();
}

/* ---- reload ---- */

static struct vm *second_vm(const char *script)
{
    char *error;
    struct vm *next = open_vm_for(script, gateways, &error);

    if (error)
        fail_msg("%s", error);
    return next;
}

static void order_holds_over_a_change_of_scripts(void **state)
{
    struct vm *old;

    serve("Events = { onMessage = function(id, m) note('old' .. m) wait 'x' "
          "note('old' .. m) end }");
    message(1, "1");
    message(1, "2");
    old = vm;
    vm = second_vm("Events = { onMessage = function(id, m) note('new' .. m) "
                   "end }");
    dispatch_serve(d, vm);
    message(1, "3");
    message(2, "4");
    assert_string_equal(notes(), "old1 new4 ");
    wake("x");
    assert_string_equal(notes(), "old1 new2 new3 ");
    vm_close(old);
    unserve();
}

static void abandoned_handlers_let_their_clients_go_on(void **state)
{
    struct vm *old;

    serve("Events = { onMessage = function(id, m) wait 'x' note 'never' end }");
    message(1, "1");
    message(1, "2");
    message(2, "3");
    old = vm;
    vm = second_vm("Events = { onMessage = function(id, m) note(m) end }");
    dispatch_serve(d, vm);
    assert_int_equal(dispatch_abandon(d, old), 2);
    vm_close(old);
    assert_int_equal(fixture.cancelled, 2);
    assert_string_equal(notes(), "");
    run_turns(2);
    assert_string_equal(notes(), "2 ");
    assert_int_equal(dispatch_counts(d).clients, 0);
    unserve();
}

static void events_wait_while_no_script_serves(void **state)
{
    serve("Events = { onMessage = function(id, m) note(m) end }");
    dispatch_serve(d, NULL);
    message(1, "a");
    message(1, "b");
    assert_string_equal(notes(), "");
    dispatch_serve(d, vm);
    run_turns(2);
    assert_string_equal(notes(), "a b ");
    unserve();
}

static void discards_what_is_queued_at_the_end(void **state)
{
    serve(waiting_script);
    message(1, "wait");
    message(1, "b");
    unserve();
    assert_int_equal(fixture.cancelled, 1);
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(calls_each_callback),
        CASE(tells_the_type_of_a_message),
        CASE(forgets_who_was_bound_with_the_link),
        CASE(ignores_events_without_a_callback),
        CASE(a_waiting_handler_holds_its_own_client_only),
        CASE(keeps_order_over_many_waits),
        CASE(an_error_hurts_only_its_event),
        CASE(an_error_after_a_wait_lets_the_next_event_run),
        CASE(logs_a_flood_of_errors_in_part),
        CASE(clients_whose_handlers_have_ended_take_no_memory),
        CASE(full_queues_pause_reading_until_they_are_short),
        CASE(a_lost_gateway_closes_its_clients),
        CASE(tells_a_waiting_handler_that_its_client_is_gone),
        CASE(knows_that_a_client_is_gone_already),
        CASE(watches_nobody_where_no_client_is_served),
        CASE(clients_take_turns_when_the_time_is_up),
        CASE(links_are_read_between_long_handlers),
        CASE(a_long_queue_is_left_to_the_next_turn),
        CASE(a_script_is_not_quiet_while_events_wait_for_a_turn),
        CASE(order_holds_over_a_change_of_scripts),
        CASE(abandoned_handlers_let_their_clients_go_on),
        CASE(events_wait_while_no_script_serves),
        CASE(discards_what_is_queued_at_the_end),
    };

    return cmocka_run_group_tests_name("worker.dispatch", tests, NULL, NULL);
}
