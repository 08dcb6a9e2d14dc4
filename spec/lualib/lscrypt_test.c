/* Hashing of passwords when nobody waits for it any more. */
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

/* onWorkerStart hands the work to others, so that the script has started. */
static void load(const char *text)
{
    char script[2048];

    snprintf(script, sizeof(script),
        "local crypto = require 'gwrun.crypto' "
        "Events = { onMessage = print } "
        "function Events.onWorkerStart() %s end",
        text);
    script_load(script);
}

static bool has_note(void *arg)
{
    return fixture.notes.len > 0;
}

static void hashes_beside_the_loop(void **state)
{
    load("gwrun.spawn(function() "
         "note(crypto.verifyPassword('x', crypto.hashPassword('x'))) end) "
         "note 'started'");
    assert_string_equal(notes(), "started ");
    run_until(has_note, NULL);
    assert_string_equal(notes(), "true ");
}

/* Two are in threads by then, three wait for their turn. */
static void ends_with_the_script(void **state)
{
    load("for i = 1, 5 do gwrun.spawn(function() "
         "if i == 5 then note 'begun' end "
         "note(crypto.hashPassword 'x') end) end");
    run_until(has_note, NULL);
    assert_string_equal(notes(), "begun ");
    vm_close(vm);
    vm = NULL; /* unserve() waits for the threads */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, serve, unserve)
    static const struct CMUnitTest tests[] = {
        TEST(hashes_beside_the_loop),
        TEST(ends_with_the_script),
    };

    return cmocka_run_group_tests_name("lualib.lscrypt", tests, NULL, NULL);
}
