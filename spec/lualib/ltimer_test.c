/* Timer: on a real loop, waiting for what must happen. */
#include "script.h"

static int serve(void **state)
{
    fixture_setup(state);
    return 0;
}

static int unserve(void **state)
{
    script_end();
    return fixture_teardown(state);
}

static void load(const char *text)
{
    char script[2048];

    snprintf(script, sizeof(script),
        "Events = { onMessage = print } "
        "function Events.onWorkerStart() %s end",
        text);
    script_load(script);
}

static bool has_notes(void *arg)
{
    return fixture.notes.len >= *(size_t *)arg;
}

/* Wait for so many bytes of notes. */
static const char *notes_of(size_t len)
{
    run_until(has_notes, &len);
    return notes();
}

static void fires_again_and_again(void **state)
{
    load("local n = 0 id = Timer.add(0.001, function(x, y) n = n + 1 "
         "note(n .. x .. y) if n == 3 then note(Timer.del(id)) end end, "
         "{ 'a', 'b' })");
    assert_string_equal(notes_of(17), "1ab 2ab 3ab true ");
    assert_int_equal(vm->timers, 0);
}

static void fires_once(void **state)
{
    load("id = Timer.add(0.001, note, { 'one' }, false) "
         "Timer.once(0.02, function() note(Timer.del(id)) end)");
    assert_string_equal(notes_of(10), "one false ");
    assert_int_equal(vm->timers, 0);
}

static void is_deleted(void **state)
{
    load("local id = Timer.add(0.001, note, { 'never' }) "
         "note(Timer.del(id)) note(Timer.del(id)) "
         "Timer.add(0.001, note, { 'never' }) Timer.delAll() "
         "Timer.once(0.01, note, { 'end' })");
    assert_string_equal(notes_of(15), "true false end ");
}

static void does_not_overtake_its_own_waiting_callback(void **state)
{
    load("local n = 0 id = Timer.add(0.001, function() n = n + 1 note 'in' "
         "Timer.sleep(0.02) note 'out' if n == 2 then Timer.del(id) end end)");
    assert_string_equal(notes_of(14), "in out in out ");
}

static void goes_on_after_an_error(void **state)
{
    load("local n = 0 Timer.add(0.001, function() n = n + 1 note(n) "
         "if n == 1 then error 'boom' end if n == 3 then Timer.delAll() end "
         "Timer.sleep(0.001) error { 'no string' } end)");
    assert_string_equal(notes_of(6), "1 2 3 ");
}

static void sleeps_in_order(void **state)
{
    load("Timer.once(0.001, function() Timer.sleep(3600) note 'never' end) "
         "Timer.once(0.001, function() Timer.sleep(0.005) note 'a' "
         "Timer.sleep(0) note 'b' end)");
    assert_string_equal(notes_of(4), "a b ");
}

static void names_wrong_arguments(void **state)
{
    load("local function e(f, ...) "
         "note((select(2, pcall(f, ...)):match('%(.*'))) end "
         "e(Timer.add, 0, print) e(Timer.add, 1) e(Timer.add, 'x', print) "
         "e(Timer.add, 0/0, print) e(Timer.add, 1, print, 'x') "
         "e(Timer.sleep, -1)");
    assert_string_equal(notes(), "(seconds expected, at least 0.001) "
                                 "(function expected, got no value) "
                                 "(number expected, got string) "
                                 "(seconds expected, at least 0.001) "
                                 "(table expected, got string) "
                                 "(seconds expected) ");
}

static void limits_how_many_there_are(void **state)
{
    fixture.conf.handler_timeout = 0;
    fixture.conf.memory_max = 256 << 20;
    load("note(select(2, pcall(function() for i = 1, 100001 do "
         "Timer.once(1000, print) end end)):match('more than.*'))");
    assert_string_equal(notes(), "more than 100000 timers ");
    assert_int_equal(vm->timers, 100000);
}

static void sleep_cannot_be_called_at_load_time(void **state)
{
    script_load("Events = { onMessage = print } "
                "note((select(2, pcall(Timer.sleep, 1)):match 'cannot.-:'))");
    assert_string_equal(notes(), "cannot wait here: ");
}

static void everything_ends_with_the_script(void **state)
{
    load("Timer.add(0.001, function() note 'x' Timer.sleep(100) end) "
         "Timer.add(100, print) Timer.once(0.001, Timer.sleep, { 100 })");
    notes_of(2);
    run_turns(5);
    vm_close(vm);
    vm = NULL;
    run_turns(5);
}

static void stops_when_a_newer_script_took_over(void **state)
{
    load("Timer.add(0.001, note, { 'x' })");
    notes_of(2);
    vm->serving = false;
    notes();
    for (int i = 0; i < 3; i++)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    assert_string_equal(notes(), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, serve, unserve)
    static const struct CMUnitTest tests[] = {
        TEST(fires_again_and_again),
        TEST(fires_once),
        TEST(is_deleted),
        TEST(does_not_overtake_its_own_waiting_callback),
        TEST(goes_on_after_an_error),
        TEST(sleeps_in_order),
        TEST(names_wrong_arguments),
        TEST(limits_how_many_there_are),
        TEST(sleep_cannot_be_called_at_load_time),
        TEST(everything_ends_with_the_script),
        TEST(stops_when_a_newer_script_took_over),
    };

    return cmocka_run_group_tests_name("lualib.ltimer", tests, NULL, NULL);
}
