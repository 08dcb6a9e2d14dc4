/* gwrun.deadline, gwrun.whileConnected and the functions of gwrun.parallel:
 * handlers whose waits are cut short, in front of a gateway that is silent. */
#include "script.h"

static int serve(void **state)
{
    fixture_setup(state);
    script_serve();
    return 0;
}

static int unserve(void **state)
{
    script_end();
    return fixture_teardown(state);
}

static void returns_what_the_function_returns(void **state)
{
    assert_string_equal(
        run("return gwrun.deadline(5, function(...) Timer.sleep(0.001) return "
            "nil, ... end, 1, nil, 3)"),
        "nil 1 nil 3");
    assert_string_equal(
        run("return select('#', gwrun.deadline(5, function() end))"), "0");
    assert_string_equal(run("return gwrun.whileConnected(function(...) "
                            "Timer.sleep(0.001) return ... end, 1, nil)"),
        "1 nil");
}

static void raises_what_the_function_raises(void **state)
{
    assert_string_equal(
        run("local e = {} local ok, got = pcall(gwrun.deadline, 5, error, e) "
            "return ok, got == e"),
        "false true");
    assert_string_equal(
        run("return pcall(gwrun.whileConnected, function() Timer.sleep(0) "
            "error('boom') end)"),
        "false test:1: boom");
}

static void raises_for_wrong_arguments(void **state)
{
    static const struct {
        const char *call;
        const char *error;
    } cases[] = {
        {"gwrun.deadline(0, print)",
            "test:1: bad argument #1 to 'deadline' (seconds expected, at least "
            "0.001)"},
        {"gwrun.deadline('1', print)",
            "test:1: bad argument #1 to 'deadline' (seconds expected, at least "
            "0.001)"},
        {"gwrun.deadline(0/0, print)",
            "test:1: bad argument #1 to 'deadline' (seconds expected, at least "
            "0.001)"},
        {"gwrun.deadline(1)",
            "test:1: bad argument #2 to 'deadline' (function expected, got "
            "nil)"},
        {"gwrun.whileConnected(1)",
            "test:1: bad argument #1 to 'whileConnected' (function expected, "
            "got number)"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];

        snprintf(text, sizeof(text), "%s", cases[i].call);
        assert_string_equal(run(text), cases[i].error);
    }
}

static void cuts_every_kind_of_wait(void **state)
{
    static const char *const waits[] = {
        "Timer.sleep(60)",
        "gwrun.ticket():wait(60)",
        "gwrun.ticket():wait()",
        "Gateway.getSession(b)",
        "Gateway.getAllClientIdCount()",
        "gwrun.parallel(function() Timer.sleep(60) end)",
        "gwrun.settle(function() Timer.sleep(60) end)",
        ("local m <close> = setmetatable({}, { __close = function() "
         "Timer.sleep(60) end })"),
        "pcall(Timer.sleep, 60) Timer.sleep(60)",
    };

    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        char text[512];

        snprintf(text, sizeof(text),
            "return gwrun.deadline(0.005, function() %s end)", waits[i]);
        assert_string_equal(run(text), "nil deadline of 0.005 s passed "
                                       "deadline");
    }
    assert_int_equal(vm->nbusy, 0);
}

static void skips_the_late_answer_to_a_query_that_was_cut(void **state)
{
    assert_string_equal(
        run("return (select(3, gwrun.deadline(0.005, function() return "
            "Gateway.getSession(b) end)))"),
        "deadline");
    fake_got(&gate);
    script_event(FRAME_ON_MESSAGE, 1, "return Gateway.isOnline(b)", "");
    run_until(fake_heard, &gate);
    fake_answer(&gate, "a:1:{s:1:\"n\";i:1;}");
    fake_answer(&gate, "i:1;");
    run_until(script_has_notes, NULL);
    assert_string_equal(notes(), "true ");
}

static void of_nested_deadlines_the_nearest_wins(void **state)
{
    assert_string_equal(
        run("return gwrun.deadline(60, function() local _, m = "
            "gwrun.deadline(0.005, Timer.sleep, 60) Timer.sleep(0) return m "
            "end)"),
        "deadline of 0.005 s passed");
    assert_string_equal(
        run("return gwrun.deadline(0.005, function() return "
            "gwrun.deadline(60, Timer.sleep, 60) or 'not reached' end)"),
        "nil deadline of 0.005 s passed deadline");
}

static void the_error_can_be_told_apart(void **state)
{
    assert_string_equal(
        run("return gwrun.deadline(0.005, function() local ok, e = "
            "pcall(Timer.sleep, 60) return ok, tostring(e), e.code, e.message, "
            "'so: ' .. e end)"),
        "false deadline of 0.005 s passed deadline deadline of 0.005 s passed "
        "so: deadline of 0.005 s passed");
}

static void what_ended_in_time_is_not_cut_later(void **state)
{
    assert_string_equal(
        run("gwrun.deadline(0.005, Timer.sleep, 0) Timer.sleep(0.02) return "
            "'good'"),
        "good");
    assert_string_equal(
        run("pcall(gwrun.deadline, 0.005, error) Timer.sleep(0.02) return "
            "'good'"),
        "good");
}

static void a_script_that_closes_takes_its_limits_with_it(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1,
        "gwrun.whileConnected(gwrun.deadline, 0.005, gwrun.parallel, "
        "function() Timer.sleep(60) end)",
        "");
    run_turns(3);
    vm_close(vm);
    vm = NULL;
    script_event(FRAME_ON_CLOSE, 1, "", "");
    run_turns(3);
    assert_string_equal(notes(), "");
}

static void cuts_the_handler_of_a_client_that_goes_away(void **state)
{
    run("function Events.onClose(id) note('closed') note(gwrun.whileConnected("
        "note) == nil) end");
    script_event(FRAME_ON_MESSAGE, 1,
        "note(shown(gwrun.whileConnected(function() Timer.sleep(60) end))) "
        "Timer.sleep(0) return 'on'",
        "");
    script_event(FRAME_ON_MESSAGE, 1,
        "return select(2, gwrun.whileConnected(note, 'never'))", "");
    script_event(FRAME_ON_CLOSE, 2, "", "");
    assert_string_equal(notes(), "closed true ");
    script_event(FRAME_ON_CLOSE, 1, "", "");
    run_until_noted("true ");
    assert_string_equal(notes(), "nil the client is gone gone on the client is "
                                 "gone gone closed true ");
}

static void belongs_to_a_client(void **state)
{
    assert_string_equal(
        run("local t = gwrun.settle(function() gwrun.whileConnected(print) "
            "end) return (t[1][2]:gsub('\\n.*', ''))"),
        "test:1: whileConnected belongs to a client, and no client is served "
        "here");
}

static void functions_side_by_side_end_with_their_caller(void **state)
{
    assert_string_equal(
        run("local cut = {} local function slow() local ok, e = "
            "pcall(Timer.sleep, 60) cut[#cut + 1] = e.code Timer.sleep(60) "
            "cut[#cut + 1] = 'never' end "
            "local _, _, code = gwrun.deadline(0.005, gwrun.parallel, slow, "
            "print, function() gwrun.parallel(slow) end) Timer.sleep(0.001) "
            "return code, cut"),
        "deadline {ecanceled,ecanceled}");
    assert_int_equal(vm->nbusy, 0);
    assert_string_equal(
        run("local ran = false gwrun.deadline(0.005, function() "
            "pcall(Timer.sleep, 60) pcall(gwrun.parallel, function() ran = "
            "true end) end) Timer.sleep(0) Timer.sleep(0) return ran"),
        "false");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, serve, unserve)
    const struct CMUnitTest tests[] = {
        TEST(returns_what_the_function_returns),
        TEST(raises_what_the_function_raises),
        TEST(raises_for_wrong_arguments),
        TEST(cuts_every_kind_of_wait),
        TEST(skips_the_late_answer_to_a_query_that_was_cut),
        TEST(of_nested_deadlines_the_nearest_wins),
        TEST(the_error_can_be_told_apart),
        TEST(what_ended_in_time_is_not_cut_later),
        TEST(a_script_that_closes_takes_its_limits_with_it),
        TEST(cuts_the_handler_of_a_client_that_goes_away),
        TEST(belongs_to_a_client),
        TEST(functions_side_by_side_end_with_their_caller),
    };

    return cmocka_run_group_tests_name("lualib.llimit", tests, NULL, NULL);
}
