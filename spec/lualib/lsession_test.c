/* _SESSION and _SERVER in client events. */
#include "script.h"

static const char ann[] = "a:1:{s:4:\"name\";s:3:\"Ann\";}";

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

static void is_an_empty_table_for_a_new_client(void **state)
{
    assert_string_equal(run("return _SESSION"), "{}");
    assert_silent();
}

static void shows_what_the_gateway_keeps(void **state)
{
    assert_string_equal(run_with(ann, "return _SESSION.name"), "Ann");
    assert_silent();
}

static void is_saved_when_it_changed(void **state)
{
    run_with(ann, "_SESSION.n = 1");
    assert_string_equal(
        sent(), "SET_SESSION:a:2:{s:4:\"name\";s:3:\"Ann\";s:1:\"n\";i:1;}: ");
}

static void is_not_saved_when_only_its_order_differs(void **state)
{
    assert_string_equal(
        run_with("a:2:{s:1:\"z\";i:1;s:1:\"a\";i:2;}", "return _SESSION"),
        "{a=2,z=1}");
    assert_silent();
}

static void is_not_saved_when_a_change_was_undone(void **state)
{
    run_with(ann, "_SESSION.n = 1; _SESSION.n = nil");
    assert_silent();
}

static void is_saved_before_the_handler_waits(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1, "_SESSION.n = 1; wait 'x'", "");
    assert_string_equal(sent(), "SET_SESSION:a:1:{s:1:\"n\";i:1;}: ");
    wake("x");
    assert_silent();
}

static void stays_the_same_table_over_a_wait(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1,
        "local s = _SESSION; s.n = 1; wait 'x'; s.m = 2; "
        "return s == _SESSION",
        "");
    wake("x");
    assert_string_equal(notes(), "true ");
    assert_string_equal(sent(),
        "SET_SESSION:a:1:{s:1:\"n\";i:1;}: "
        "SET_SESSION:a:2:{s:1:\"n\";i:1;s:1:\"m\";i:2;}: ");
}

static void does_not_leak_into_the_next_event(void **state)
{
    /* one coroutine from the pool serves all of them */
    run_with(ann, "kept = _SESSION");
    run_with(ann, "kept.name = 'Eve'"); /* of an event that is over */
    assert_string_equal(run_with(ann, "return _SESSION.name"), "Ann");
    assert_string_equal(run_with("", "return _SESSION"), "{}");
    assert_silent();
}

static void forgets_what_a_failed_handler_did(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1, "))", ann); /* load() fails */
    assert_string_equal(run_with(ann, "return _SESSION.name"), "Ann");
    assert_silent();
}

static void can_be_replaced_and_emptied(void **state)
{
    run_with(ann, "_SESSION = { x = 1 }");
    assert_string_equal(sent(), "SET_SESSION:a:1:{s:1:\"x\";i:1;}: ");
    assert_string_equal(
        run_with("a:1:{s:1:\"x\";i:1;}", "_SESSION = nil; return _SESSION"),
        "{}");
    assert_string_equal(sent(), "SET_SESSION:a:0:{}: ");
}

static void must_be_a_table(void **state)
{
    assert_string_equal(run("_SESSION = 'Ann'"),
        "test:1: _SESSION must be a table or nil, got string");
    assert_string_equal(
        run("_SERVER = {}"), "test:1: _SERVER cannot be replaced");
}

static void says_what_cannot_be_saved(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1,
        "_SESSION.a = { print }; local ok, e = pcall(wait, 'x') "
        "_SESSION.a = nil; return e",
        "");
    assert_string_equal(
        notes(), "_SESSION.a[1] is a function, which cannot be saved ");
    assert_int_equal(fixture.cancelled, 1);
    script_event(FRAME_ON_MESSAGE, 1, "_SESSION.a = print", "");
    assert_int_equal(fixture.handlers.failed, 1);
}

/* A number n, and one object in two places. */
#define TWICE(n) \
    "a:3:{s:1:\"n\";i:" n ";s:1:\"o\";O:1:\"X\":0:{}s:1:\"p\";r:3;}"

static void leaves_php_references_their_meaning(void **state)
{
    const char *inside = "a:1:{s:1:\"t\";a:2:{i:0;O:1:\"X\":0:{}i:1;r:3;}}";

    run_with(TWICE("1"), "_SESSION.n = { 7 }");
    assert_string_equal(sent(),
        "SET_SESSION:a:3:{s:1:\"n\";a:1:{i:0;i:7;}s:1:\"o\";O:1:\"X\":0:{}"
        "s:1:\"p\";r:4;}: ");
    run_with(TWICE("2"), "_SESSION.n = nil");
    assert_string_equal(
        sent(), "SET_SESSION:a:2:{s:1:\"o\";O:1:\"X\":0:{}s:1:\"p\";r:2;}: ");
    assert_string_equal(
        run_with(TWICE("3"), "return Gateway.updateSession(a, { n = { 7 } })"),
        "true");
    assert_string_equal(sent(),
        "SET_SESSION:a:3:{s:1:\"n\";a:1:{i:0;i:7;}s:1:\"o\";O:1:\"X\":0:{}"
        "s:1:\"p\";r:4;}: ");
    assert_string_equal(
        run_with(TWICE("5"),
            "return (select(2, Gateway.updateSession(a, { o = 1 })))"),
        "a PHP reference in the session would lose what it means");
    run_with(inside, "_SESSION.m = 1");
    assert_string_equal(sent(),
        "SET_SESSION:a:2:{s:1:\"t\";a:2:{i:0;O:1:\"X\":0:{}i:1;r:3;}"
        "s:1:\"m\";i:1;}: ");
    run_with("a:2:{i:0;i:1;i:1;a:2:{i:0;O:1:\"X\":0:{}i:1;r:4;}}",
        "_SESSION[1].x = 1");
    run_with(TWICE("4"), "_SESSION.o = 1");
    run_with(TWICE("6"), "_SESSION.n = 6");
    assert_silent();
}

static void shows_nil_for_php_objects_and_leaves_them_where_they_are(
    void **state)
{
    const char *object =
        "a:2:{s:1:\"o\";O:1:\"X\":0:{}s:1:\"n\";a:1:{i:5;E:3:\"A:B\";}}";

    assert_string_equal(run_with(object, "return _SESSION"), "{n={}}");
    assert_silent();
    run_with(object, "_SESSION.n.a = 1");
    assert_string_equal(sent(),
        "SET_SESSION:a:2:{s:1:\"o\";O:1:\"X\":0:{}"
        "s:1:\"n\";a:2:{i:5;E:3:\"A:B\";s:1:\"a\";i:1;}}: ");
    run_with(object, "_SESSION.n = nil");
    assert_string_equal(sent(), "SET_SESSION:a:1:{s:1:\"o\";O:1:\"X\":0:{}}: ");
    run_with(object, "Gateway.updateSession(a, { n = 2 })");
    assert_string_equal(
        sent(), "SET_SESSION:a:2:{s:1:\"o\";O:1:\"X\":0:{}s:1:\"n\";i:2;}: ");
    run_with(object, "_SESSION.o = 1; _SESSION.n = nil");
    assert_string_equal(sent(), "SET_SESSION:a:1:{s:1:\"o\";i:1;}: ");
    run_with(object, "_SESSION = { 1 }");
    assert_string_equal(sent(), "SET_SESSION:a:1:{i:0;i:1;}: ");
}

/* PHP has no other keys than these. */
static void takes_the_text_of_an_integer_for_the_integer(void **state)
{
    static const char counted[] =
        "a:2:{i:42;i:1;s:1:\"t\";a:1:{i:-7;a:1:{i:9;i:1;}}}";

    run("_SESSION['42'] = (_SESSION['42'] or 0) + 1");
    assert_string_equal(sent(), "SET_SESSION:a:1:{i:42;i:1;}: ");
    assert_string_equal(
        run_with(counted,
            "local s = _SESSION s['42'] = s['42'] + 1 "
            "s.t['-7']['9'] = s.t['-7']['9'] + 1 "
            "return s[42], s['42'], s.t[-7][9], s['042'], s['-0']"),
        "2 2 2 nil nil");
    assert_string_equal(sent(),
        "SET_SESSION:a:2:{i:42;i:2;s:1:\"t\";a:1:{i:-7;a:1:{i:9;i:2;}}}: ");
    assert_string_equal(
        run_with(counted, "local t = {} for k in pairs(_SESSION) do "
                          "t[#t + 1] = math.type(k) or k end "
                          "table.sort(t) return t"),
        "{integer,t}");
    assert_string_equal(run_with("a:1:{i:-7;a:1:{i:9;i:1;}}",
                            "return require 'gwrun.json'.encode(_SESSION), "
                            "require 'cjson'.encode(_SESSION)"),
        "{\"-7\":{\"9\":1}} {\"-7\":[null,null,null,null,null,null,null,null,1]}");
    assert_silent();
}

static void takes_it_so_in_tables_of_the_script(void **state)
{
    run("_SESSION.cart = { ['42'] = { ['1'] = 5, x = 1 } }");
    assert_string_equal(sent(),
        "SET_SESSION:a:1:{s:4:\"cart\";a:1:{i:42;a:2:{i:1;i:5;"
        "s:1:\"x\";i:1;}}}: ");
    run("_SESSION = { ['42'] = 1 }; _SESSION['42'] = _SESSION['42'] + 1");
    assert_string_equal(sent(), "SET_SESSION:a:1:{i:42;i:2;}: ");
    run("_SESSION = {}; _SESSION['42'] = 1; _SESSION[42] = _SESSION['42'] + 1");
    assert_string_equal(sent(), "SET_SESSION:a:1:{i:42;i:2;}: ");
    script_event(FRAME_ON_MESSAGE, 1,
        "_SESSION = { ['42'] = 1, [42] = 2 } wait 'x'", "");
    script_event(FRAME_ON_MESSAGE, 2,
        "_SESSION.t = { ['42'] = 1 } wait 'x' _SESSION.n = 1", "");
    assert_string_equal(
        sent(), "SET_SESSION:a:1:{s:1:\"t\";a:1:{i:42;i:1;}}: ");
    wake("x"); /* … and t is not saved again */
    assert_string_equal(
        sent(), "SET_SESSION:a:2:{s:1:\"t\";a:1:{i:42;i:1;}s:1:\"n\";i:1;}: ");
    assert_int_equal(fixture.handlers.failed, 1);
}

static void keeps_lists_and_maps_apart(void **state)
{
    run("_SESSION = { 1, 2 }");
    assert_string_equal(sent(), "SET_SESSION:a:2:{i:0;i:1;i:1;i:2;}: ");
    run_with("a:2:{i:0;i:1;i:1;i:2;}", "_SESSION[2] = 3");
    assert_string_equal(sent(), "SET_SESSION:a:2:{i:0;i:1;i:1;i:3;}: ");
    run_with("a:2:{i:0;i:4;i:1;i:5;}", "_SESSION[1] = nil");
    assert_string_equal(sent(), "SET_SESSION:a:1:{i:2;i:5;}: ");
    run_with("a:1:{i:2;i:2;}", "_SESSION[1] = 1");
    run("return Gateway.destroyClient(b)");
    assert_int_equal(strncmp(sent(), "SET_SESSION:a:2:{i:", 19), 0);
    assert_string_equal(
        run_with("a:2:{i:0;i:1;i:1;i:2;}", "return _SESSION"), "{1,2}");
    run_with("a:2:{i:0;a:0:{}i:1;N;}", "table.insert(_SESSION, 3)");
    assert_string_equal(sent(), "SET_SESSION:a:3:{i:0;a:0:{}i:1;N;i:2;i:3;}: ");
}

static void sees_every_kind_of_change(void **state)
{
    static const char all[] =
        "a:6:{s:1:\"i\";i:1;s:1:\"f\";d:0.5;s:1:\"b\";b:1;s:1:\"n\";N;"
        "s:1:\"t\";a:1:{s:1:\"x\";a:2:{i:0;i:1;i:1;i:2;}}s:1:\"e\";a:0:{}}";
    static const char *const changes[] = {"s.i = 1.0", "s.f = 0.25",
        "s.b = false", "s.n = nil", "s.n = 0", "s.t.x[2] = nil", "s.t.x[3] = 3",
        "s.t.x[2] = 2.0", "s.t.x = nil", "s.t = { x = 1 }", "s.e.e = {}",
        "s.new = ''", "s.f = 0/0", "s.f = -0.0", "s.i = '1'", "s.f = '0.5'",
        "s.f = true", "s.b = 1", "s.t = 1", "s.n = {}"};

    run_with(all, "local s = _SESSION s.t = { x = { 1, 2 } } s.e = {} "
                  "s.n = require 'cjson'.null s.f = 1 / 2");
    assert_silent();
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char text[64];

        snprintf(text, sizeof(text), "local s = _SESSION %s", changes[i]);
        run_with(all, text);
        run("return Gateway.destroyClient(b)");
        if (strncmp(sent(), "SET_SESSION", 11) != 0)
            fail_msg("%s", changes[i]);
    }
}

static void works_in_the_scripts_own_coroutines(void **state)
{
    assert_string_equal(
        run_with(ann,
            "return coroutine.wrap(function() return _SESSION.name end)()"),
        "Ann");
}

static void keeps_two_waiting_clients_apart(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1,
        "_SESSION.n = 1; wait '1'; "
        "return _SESSION",
        "");
    script_event(FRAME_ON_MESSAGE, 2,
        "_SESSION.n = 2; wait '2'; "
        "return _SESSION",
        "");
    wake("1");
    wake("2");
    assert_string_equal(notes(), "{n=1} {n=2} ");
}

static void follows_set_session_of_the_current_client(void **state)
{
    assert_string_equal(
        run_with(ann, "local s = _SESSION; Gateway.setSession(a, { x = 1 "
                      "}); s.y = 2; return s, s == _SESSION"),
        "{x=1,y=2} true");
    assert_string_equal(sent(),
        "SET_SESSION:a:1:{s:1:\"x\";i:1;}: "
        "SET_SESSION:a:2:{s:1:\"x\";i:1;s:1:\"y\";i:2;}: ");
}

static void follows_update_session_of_the_current_client(void **state)
{
    assert_string_equal(
        run_with(ann, "_SESSION.n = { k = 1 }; Gateway.updateSession(a, "
                      "{ n = { j = 2 } }); return _SESSION"),
        "{n={j=2,k=1},name=Ann}");
    assert_string_equal(sent(),
        "SET_SESSION:a:2:{s:4:\"name\";s:3:\"Ann\";"
        "s:1:\"n\";a:1:{s:1:\"k\";i:1;}}: "
        "SET_SESSION:a:2:{s:4:\"name\";s:3:\"Ann\";"
        "s:1:\"n\";a:2:{s:1:\"k\";i:1;s:1:\"j\";i:2;}}: ");
    run_with(
        "a:1:{s:1:\"q\";i:1;}", "Gateway.updateSession(a, { name = 'Bob' })");
    assert_string_equal(
        sent(), "SET_SESSION:a:2:{s:1:\"q\";i:1;s:4:\"name\";s:3:\"Bob\";}: ");
}

static void is_nil_outside_of_client_events(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1,
        "Timer.once(0.001, function() note(shown(_SESSION, _SERVER, "
        "select(2, pcall(function() _SESSION = {} end)))) end)",
        "");
    buf_clear(&fixture.notes);
    run_until(script_has_notes, NULL);
    assert_string_equal(notes(),
        "nil nil test:1: _SESSION belongs to a client, and no client is "
        "served here; use Gateway.setSession(client_id, table) ");
}

static void server_describes_the_connection(void **state)
{
    assert_string_equal(run("local s = _SERVER return s.REMOTE_ADDR, "
                            "s.REMOTE_PORT, s.GATEWAY_ADDR, s.GATEWAY_PORT, "
                            "s.GATEWAY_CLIENT_ID == a"),
        "10.0.0.1 4000 127.0.0.1 8283 true");
}

static void server_knows_ipv6_clients(void **state)
{
    static const char text[] = "wait() return _SERVER.REMOTE_ADDR";
    struct frame f = {
        .cmd = FRAME_ON_MESSAGE,
        .flag = FRAME_FLAG_STRING | FRAME_FLAG_IPV6,
        .local_ip = 0x7f000001,
        .client_ip6 = {0x20, 0x01, 0x0d, 0xb8, [15] = 1},
        .connection_id = 1,
        .body = (const uint8_t *)text,
        .body_len = sizeof(text) - 1,
    };

    buf_clear(&fixture.notes);
    dispatch_event(d, &f, 0);
    assert_true(wake(""));
    assert_string_equal(notes(), "2001:db8::1 ");
}

static void other_globals_work_as_ever(void **state)
{
    assert_string_equal(
        run("x1 = 5; return x1, x2, rawget(_G, 'x1')"), "5 nil 5");
    assert_string_equal(run("return setmetatable(_G, nil) == _G, "
                            "getmetatable(_G), _SERVER.GATEWAY_PORT"),
        "true nil 8283");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, serve, unserve)
    static const struct CMUnitTest tests[] = {
        TEST(is_an_empty_table_for_a_new_client),
        TEST(shows_what_the_gateway_keeps),
        TEST(is_saved_when_it_changed),
        TEST(is_not_saved_when_only_its_order_differs),
        TEST(is_not_saved_when_a_change_was_undone),
        TEST(is_saved_before_the_handler_waits),
        TEST(stays_the_same_table_over_a_wait),
        TEST(does_not_leak_into_the_next_event),
        TEST(forgets_what_a_failed_handler_did),
        TEST(can_be_replaced_and_emptied),
        TEST(must_be_a_table),
        TEST(says_what_cannot_be_saved),
        TEST(leaves_php_references_their_meaning),
        TEST(shows_nil_for_php_objects_and_leaves_them_where_they_are),
        TEST(takes_the_text_of_an_integer_for_the_integer),
        TEST(takes_it_so_in_tables_of_the_script),
        TEST(keeps_lists_and_maps_apart),
        TEST(sees_every_kind_of_change),
        TEST(works_in_the_scripts_own_coroutines),
        TEST(keeps_two_waiting_clients_apart),
        TEST(follows_set_session_of_the_current_client),
        TEST(follows_update_session_of_the_current_client),
        TEST(is_nil_outside_of_client_events),
        TEST(server_describes_the_connection),
        TEST(server_knows_ipv6_clients),
        TEST(other_globals_work_as_ever),
    };

    return cmocka_run_group_tests_name("lualib.lsession", tests, NULL, NULL);
}
