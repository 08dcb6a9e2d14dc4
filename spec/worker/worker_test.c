/* A whole worker between a fake register and a fake gateway: start, events,
 * reload, stop. */
#include <errno.h>

#include "fake_gateway.h"
#include "wire/regmsg.h"
#include "worker/vm_impl.h"
#include "worker/worker.h"

static struct fake_gateway gate;
static struct worker *w;

/* ---- a register that knows one gateway ---- */

static struct {
    struct listener *listener;
    struct conn *conn;
    char address[ADDR_TEXT_SIZE];
} reg;

static void on_register_line(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    const char *addresses[] = {gate.address};

    if (!memmem(packet, len, "worker_connect", 14))
        return;
    regmsg_put_broadcast_addresses(conn_out(c), addresses, 1);
}

static void on_register_close(struct conn *c, int err, void *arg)
{
    reg.conn = NULL;
}

static const struct conn_ops register_ops = {
    .measure = framing_line_measure,
    .on_packet = on_register_line,
    .on_close = on_register_close,
};

static void on_register_accept(
    struct listener *l, int fd, const union addr *peer, void *arg)
{
    static const struct conn_limits limits = {1000, 100000};

    reg.conn = conn_open(fixture.turn, fd, &register_ops, &limits, NULL);
}

static void open_register(void)
{
    union addr addr;
    int fd;

    memset(&reg, 0, sizeof(reg));
    addr_parse(&addr, "127.0.0.1:0");
    fd = listener_bind(&addr, false);
    assert_int_equal(listener_open(&reg.listener, &fixture.loop, fd,
                         on_register_accept, NULL),
        0);
    listener_addr(reg.listener, &addr);
    addr_format(reg.address, &addr);
}

static void close_register(void)
{
    if (reg.conn)
        conn_close(reg.conn);
    listener_close(reg.listener);
}

/* ---- the worker ---- */

static bool ready, failed, stopped, full;
static char message_text[1024];

static void on_ready(void *arg)
{
    ready = true;
}

static void on_failed(const char *message, void *arg)
{
    failed = true;
    snprintf(message_text, sizeof(message_text), "%s", message);
}

static void on_stopped(void *arg)
{
    stopped = true;
}

static void on_full(const char *message, void *arg)
{
    full = true;
    snprintf(message_text, sizeof(message_text), "%s", message);
}

static const struct worker_events events = {
    .on_ready = on_ready,
    .on_failed = on_failed,
    .on_stopped = on_stopped,
    .on_full = on_full,
};

static void start(const char *script)
{
    static const char *registers[2];

    memset(&gate, 0, sizeof(gate));
    fake_listen(&gate);
    open_register();
    registers[0] = reg.address;
    fixture.conf.discovery.registers = registers;
    ready = failed = stopped = full = false;
    fixture_script(script);
    w = worker_new(&fixture.loop, &fixture.conf, 0, &events, NULL);
    assert_false(ready);
}

static void start_and_connect(const char *script)
{
    start(script);
    run_until_set(&ready);
    run_until(fake_has_events, &gate);
}

static void end(void)
{
    worker_free(w);
    fake_close(&gate);
    close_register();
}

static void message(uint32_t id, const char *body)
{
    fake_event(&gate, FRAME_ON_MESSAGE, id, body, "");
}

static bool is_waiting(void *arg)
{
    return !list_empty(&fixture.waits);
}

/* ---- reload ---- */

struct verdict {
    bool done;
    char *message; /* owned */
};

static void on_prepared(const char *message, void *arg)
{
    struct verdict *v = arg;

    assert_false(v->done);
    v->done = true;
    v->message = message ? xstrdup(message) : NULL;
}

/* The error of preparing this script; NULL when it may take over. */
static char *prepare(const char *script)
{
    struct verdict v = {0};

    fixture_script(script);
    assert_int_equal(worker_prepare(w, on_prepared, &v), 0);
    assert_false(v.done);
    assert_int_equal(worker_prepare(w, on_prepared, &v), -EALREADY);
    run_until_set(&v.done);
    return v.message;
}

static unsigned generation(void)
{
    struct worker_status s;

    worker_status(w, &s);
    return s.generation;
}

#define SCRIPT(name)                                         \
    "Events = { onMessage = function(id, m) note('" name     \
    "' .. m) if m:find 'wait' then wait(m) note('" name      \
    "-end') end end, onWorkerStart = function() note '" name \
    "-start' end, onWorkerStop = function() note '" name "-stop' end }"

static void joins_the_system_when_its_script_is_ready(void **state)
{
    start("Events = { onWorkerStart = function() wait 'database' end, "
          "onMessage = function(id, m) note(m) end }");
    run_turns(5);
    assert_null(reg.conn);
    wake("database");
    run_until_set(&ready);
    run_until(fake_has_events, &gate);
    message(1, "hello");
    run_until_noted("hello");
    notes();
    end();
}

static void tells_why_the_first_script_failed(void **state)
{
    start("Events = { onMessage = function( }");
    run_until_set(&failed);
    assert_non_null(strstr(message_text, "events.lua:1:"));
    assert_null(reg.conn);
    end();
}

static void counts_for_the_status(void **state)
{
    struct worker_status s;

    start_and_connect(SCRIPT("a"));
    message(1, "wait");
    message(1, "queued");
    message(2, "x");
    run_until_noted("ax");
    worker_status(w, &s);
    assert_string_equal(s.name, "W");
    assert_int_equal(s.gateways, 1);
    assert_int_equal(s.gateways_known, 1);
    assert_int_equal(s.clients, 1);
    assert_int_equal(s.queued, 1);
    assert_int_equal(s.coroutines, 1);
    assert_int_equal(s.events, 2);
    assert_int_equal(s.errors, 0);
    assert_true(s.memory > 10000);
    assert_int_equal(s.generation, 1);
    end();
}

static void a_broken_script_never_replaces_a_good_one(void **state)
{
    static const char *const broken[] = {
        "Events = {",
        "error 'at load'",
        "Events = nil",
        "Events = { onMessage = 5 }",
        ("Events = { onMessage = print, onWorkerStart = function() error 'no' "
         "end }"),
    };

    start_and_connect(SCRIPT("a"));
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char *error = prepare(broken[i]);

        assert_non_null(error);
        assert_non_null(strstr(error, "events.lua"));
        free(error);
        assert_int_equal(generation(), 1);
        message(1, "m");
        run_until_noted("am");
        notes();
    }
    end();
}

static void a_new_script_takes_over_on_commit(void **state)
{
    start_and_connect(SCRIPT("a"));
    assert_null(prepare(SCRIPT("b")));
    message(1, "1");
    run_until_noted("a1");
    worker_commit(w);
    assert_int_equal(generation(), 2);
    message(1, "2");
    run_until_noted("a-stop");
    run_until_noted("b2");
    notes();
    end();
    assert_int_equal(gate.accepted, 2); /* no link was touched */
}

static void running_handlers_finish_in_the_old_script(void **state)
{
    fixture.conf.drain_time = 60;
    start_and_connect(SCRIPT("a"));
    message(1, "wait");
    message(1, "next");
    run_until(is_waiting, NULL);
    notes();
    assert_null(prepare(SCRIPT("b")));
    worker_commit(w);
    run_turns(3);
    assert_string_equal(notes(), "b-start ");
    wake("wait");
    run_until_noted("a-stop");
    assert_string_equal(notes(), "a-end bnext a-stop ");
    end();
}

static void handlers_past_the_drain_time_are_cut_off(void **state)
{
    start_and_connect(SCRIPT("a"));
    message(1, "wait");
    message(1, "next");
    run_until(is_waiting, NULL);
    notes();
    assert_null(prepare(SCRIPT("b")));
    worker_commit(w);
    run_until_noted("bnext");
    assert_int_equal(fixture.cancelled, 1);
    assert_string_equal(notes(), "b-start a-stop bnext ");
    end();
}

static void on_worker_stop_may_wait_but_not_for_ever(void **state)
{
    static struct clock clock;

    start_and_connect("Events = { onMessage = print, onWorkerStop = function() "
                      "wait 'stop' note 'stopped' wait 'for ever' end }");
    assert_null(prepare(SCRIPT("b")));
    fixture.loop.data = &clock;
    worker_commit(w);
    run_until(is_waiting, NULL);
    wake("stop");
    run_until_noted("stopped");
    while (fixture.cancelled == 0) {
        clock.now += 10;
        uv_run(&fixture.loop, UV_RUN_ONCE);
    }
    notes();
    end();
}

static void abort_closes_the_new_script(void **state)
{
    start_and_connect(SCRIPT("a"));
    assert_null(prepare(SCRIPT("b")));
    worker_abort(w);
    message(1, "m");
    run_until_noted("am");
    assert_int_equal(generation(), 1);
    assert_null(prepare(SCRIPT("c")));
    worker_commit(w);
    message(1, "m");
    run_until_noted("cm");
    notes();
    end();
}

static void abort_ends_a_preparation_that_waits(void **state)
{
    struct verdict v = {0};

    start_and_connect(SCRIPT("a"));
    fixture_script("Events = { onWorkerStart = function() wait 'x' end }");
    assert_int_equal(worker_prepare(w, on_prepared, &v), 0);
    run_turns(2);
    worker_abort(w);
    assert_int_equal(fixture.cancelled, 1);
    run_turns(2);
    assert_false(v.done);
    notes();
    end();
}

static void a_verdict_may_come_after_a_stop(void **state)
{
    start_and_connect(SCRIPT("a"));
    message(1, "wait");
    run_until(is_waiting, NULL);
    assert_null(prepare(SCRIPT("b")));
    worker_stop(w, 0);
    worker_commit(w);
    assert_int_equal(generation(), 1);
    run_until_set(&stopped);
    notes();
    end();
}

static void survives_reload_after_reload(void **state)
{
    start_and_connect(SCRIPT("a"));
    message(1, "wait1");
    run_until(is_waiting, NULL);
    for (int i = 0; i < 5; i++) {
        assert_null(prepare(SCRIPT("b")));
        worker_commit(w);
    }
    assert_int_equal(generation(), 6);
    message(1, "m");
    wake("wait1");
    run_until_noted("bm");
    notes();
    end();
}

/* ---- stop and loss ---- */

static void stop_lets_handlers_finish(void **state)
{
    start_and_connect(SCRIPT("a"));
    message(1, "wait");
    message(1, "next");
    run_until(is_waiting, NULL);
    notes();
    worker_stop(w, 60);
    run_turns(5);
    assert_false(stopped);
    wake("wait");
    run_until_set(&stopped);
    assert_string_equal(notes(), "a-end anext a-stop ");
    end();
}

static void stop_has_a_deadline(void **state)
{
    start_and_connect(SCRIPT("a"));
    message(1, "wait");
    run_until(is_waiting, NULL);
    notes();
    worker_stop(w, 0.05);
    run_until_set(&stopped);
    assert_int_equal(fixture.cancelled, 1);
    assert_string_equal(notes(), "a-stop ");
    end();
}

static void stops_while_its_script_loads(void **state)
{
    start("Events = { onWorkerStart = function() wait 'x' end }");
    run_turns(2);
    worker_stop(w, 5);
    assert_false(stopped);
    run_until_set(&stopped);
    assert_false(ready);
    end();
}

static void begins_no_event_with_a_full_memory(void **state)
{
    start_and_connect("keep = {} Events = { onMessage = function(id, m) note(m)"
                      " if m == 'wait' then wait(m) note 'end' return end"
                      " while true do keep[#keep + 1] = {} end end }");
    fixture.conf.drain_time = 60;
    message(1, "wait");
    for (uint32_t i = 1; i <= VM_FULL_ERRORS + 2; i++)
        message(1 + i, "fill");
    message(100, "next");
    run_until_set(&full);
    assert_non_null(strstr(message_text, "3 handlers failed in a row"));
    assert_non_null(strstr(message_text, "memory_limit=16777216 in_use="));
    worker_stop(w, 60);
    wake("wait");
    run_until_set(&stopped);
    assert_string_equal(notes(), "wait fill fill fill end ");
    end();
}

static void frees_in_the_middle_of_everything(void **state)
{
    start_and_connect(SCRIPT("a"));
    message(1, "wait");
    message(1, "next");
    run_until(is_waiting, NULL);
    assert_null(prepare(SCRIPT("b")));
    worker_commit(w);
    assert_null(prepare(SCRIPT("c")));
    end();
    assert_int_equal(fixture.cancelled, 1);
    notes();
}

static void clients_of_a_dead_gateway_are_closed(void **state)
{
    start_and_connect("Events = { onClose = function(id, info) note(id) "
                      "note(info.cause) end }");
    fake_event(&gate, FRAME_ON_CONNECT, 7, "", "");
    fake_event(&gate, FRAME_ON_CONNECT, 8, "", "");
    fake_event(&gate, FRAME_ON_CLOSE, 8, "", "");
    run_until_noted("nil");
    notes();
    fake_die(&gate);
    regmsg_put_broadcast_addresses(conn_out(reg.conn), NULL, 0);
    run_until_noted("gateway_lost");
    notes();
    end();
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(joins_the_system_when_its_script_is_ready),
        CASE(tells_why_the_first_script_failed),
        CASE(counts_for_the_status),
        CASE(a_broken_script_never_replaces_a_good_one),
        CASE(a_new_script_takes_over_on_commit),
        CASE(running_handlers_finish_in_the_old_script),
        CASE(handlers_past_the_drain_time_are_cut_off),
        CASE(on_worker_stop_may_wait_but_not_for_ever),
        CASE(abort_closes_the_new_script),
        CASE(abort_ends_a_preparation_that_waits),
        CASE(a_verdict_may_come_after_a_stop),
        CASE(survives_reload_after_reload),
        CASE(stop_lets_handlers_finish),
        CASE(stop_has_a_deadline),
        CASE(stops_while_its_script_loads),
        CASE(begins_no_event_with_a_full_memory),
        CASE(frees_in_the_middle_of_everything),
        CASE(clients_of_a_dead_gateway_are_closed),
    };

    return cmocka_run_group_tests_name("worker.worker", tests, NULL, NULL);
}
