/* Gateway: what goes to gateways and what comes back, byte for byte as
 * GatewayWorker's client has it (spec/vectors). */
#include "../wire/vectors.h"
#include "script.h"

static json_t *root;

/* The reply that the fake gateway gives to the next query, and the packets that
 * reached it, heads without the gateway's address. */
static struct bytes reply;
static struct buf packets;
static const char *failing; /* the call that runs, for messages */

static void on_command(struct fake_gateway *g, const struct frame *f)
{
    struct frame copy = *f;

    if (f->cmd == FRAME_PING)
        return;
    copy.local_ip = 0;
    copy.local_port = 0;
    frame_encode(&packets, &copy);
    if (reply.len > 0)
        buf_append(conn_out(g->commands), reply.data, reply.len);
}

static int serve(void **state)
{
    fixture_setup(state);
    script_serve();
    gate.on_command = on_command;
    buf_clear(&packets);
    return 0;
}

static int unserve(void **state)
{
    script_end();
    bytes_fini(&reply);
    reply = (struct bytes){0};
    return fixture_teardown(state);
}

static void set_reply(const void *data, size_t len)
{
    bytes_fini(&reply);
    reply = bytes_copy(data, len);
}

/* The next queries are answered with this serialized value. */
static void answer(const char *value)
{
    struct buf b = {0};

    framing_reply_encode(&b, value, strlen(value));
    set_reply(b.data, b.len);
    buf_fini(&b);
}

/* GatewayClient's calls as Lua, and what they return, shown. NULL: the bytes
 * differ on purpose. */
static const struct {
    const char *call;
    const char *lua;
    const char *result;
} calls[] = {
    {"isOnline(a)", "isOnline(a)", "true"},
    {"isOnline(gone)", "isOnline(gone)", "false"},
    {"bindUid(a,\"alice\")", "bindUid(a, 'alice')", "true"},
    {"bindUid(b,1001)", "bindUid(b, 1001)", "true"},
    {"isUidOnline(\"alice\")", "isUidOnline('alice')", "true"},
    {"isUidOnline(\"nobody\")", "isUidOnline('nobody')", "false"},
    {"isUidsOnline([\"alice\",1001,\"nobody\"])",
        "isUidsOnline{'alice', 1001, 'nobody'}",
        "{1001=true,alice=true,nobody=false}"},
    {"getClientIdByUid(\"alice\")", "getClientIdByUid('alice')",
        "{P00000001,P00000003}"},
    {"getClientIdByUid(1001)", "getClientIdByUid(1001)", "{P00000002}"},
    {"batchGetClientIdByUid", "batchGetClientIdByUid{'alice', 1001, 'nobody'}",
        "{1001={P00000002},alice={P00000001,P00000003},nobody={}}"},
    {"getUidByClientId(a)", "getUidByClientId(a)", "alice"},
    {"getUidByClientId(b)", "getUidByClientId(b)", "1001"},
    {"joinGroup(a,\"room1\")", "joinGroup(a, 'room1')", "true"},
    {"joinGroup(b,7)", "joinGroup(b, 7)", "true"},
    {"joinGroup(c,\"房间\")", "joinGroup(c, '房间')", "true"},
    {"getAllGroupIdList", "getAllGroupIdList()", "{7=7,room1=room1,房间=房间}"},
    {"getClientIdListByGroup(\"room1\")", "getClientIdListByGroup('room1')",
        "{P00000001=P00000001,P00000002=P00000002}"},
    {"getClientIdCountByGroup(\"room1\")", "getClientIdCountByGroup('room1')",
        "2"},
    {"getClientCountByGroup(\"none\")", "getClientCountByGroup('none')", "0"},
    {"batchGetClientIdCountByGroup",
        "batchGetClientIdCountByGroup{'room1', 7, 'none'}",
        "{7=1,none=0,room1=2}"},
    {"getUidListByGroup(\"room1\")", "getUidListByGroup('room1')",
        "{1001=1001,alice=alice}"},
    {"getUidCountByGroup(\"room1\")", "getUidCountByGroup('room1')", "2"},
    {"getSession(a)", "getSession(a)",
        "{deep={x={w=1,y=z}},f=1.5,list={9,2,3},n=6,name=张三,t=true,z=null}"},
    {"getSession(b)", "getSession(b)", "{get={n=1}}"},
    {"getSession(gone)", "getSession(gone)", "nil"},
    {"getAllClientSessions()", "getAllClientSessions()",
        "{P00000001={deep={x={w=1,y=z}},f=1.5,list={9,2,3},n=6,name=张三,"
        "t=true,z=null},P00000002={get={n=1}},P00000003={get={n=2}}}"},
    {"getClientSessionsByGroup(\"room1\")", "getClientSessionsByGroup('room1')",
        "{P00000001={deep={x={w=1,y=z}},f=1.5,list={9,2,3},n=6,name=张三,"
        "t=true,z=null},P00000002={get={n=1}}}"},
    {"getAllClientIdList", "getAllClientIdList()",
        "{P00000001=P00000001,P00000002=P00000002,P00000003=P00000003}"},
    {"getAllClientIdCount", "getAllClientIdCount()", "3"},
    {"getAllUidList", "getAllUidList()", "{1001=1001,alice=alice}"},
    {"getAllUidCount", "getAllUidCount()", "2"},
    {"getAllGroupUidList", "getAllGroupUidList()",
        "{7={1001=1001},room1={1001=1001,alice=alice},房间={alice=alice}}"},
    {"getAllGroupUidCount", "getAllGroupUidCount()", "{7=1,room1=2,房间=1}"},
    {"getAllGroupClientIdList", "getAllGroupClientIdList()",
        "{7={P00000002=P00000002},room1={P00000001=P00000001,"
        "P00000002=P00000002},房间={P00000003=P00000003}}"},
    {"getAllGroupClientIdCount", "getAllGroupClientIdCount()",
        "{7=1,room1=2,房间=1}"},
    {"sendToAll(\"all\")", "sendToAll('all')", "true"},
    {"sendToAll(\"some\",[a,c])", "sendToAll('some', { a, c })", "true"},
    {"sendToAll(\"not-b\",null,[b])", "sendToAll('not-b', nil, { b })", "true"},
    {"sendToAll(\"none\",[])", "sendToAll('none', {})", "true"},
    {"sendToAll(raw)", "sendToAll('\\x81\\x03raw', nil, nil, true)", "true"},
    {"sendToClient(a,\"one\")", "sendToClient(a, 'one')", "true"},
    {"sendToClient(gone,\"one\")", "sendToClient(gone, 'one')", "true"},
    {"sendToUid(\"alice\",\"uid\")", "sendToUid('alice', 'uid')", "true"},
    {"sendToUid([\"alice\",1001],\"uids\")",
        "sendToUid({ 'alice', 1001 }, 'uids')", "true"},
    {"sendToGroup(\"room1\",\"g\")", "sendToGroup('room1', 'g')", "true"},
    {"sendToGroup([\"room1\",7],\"g2\")", "sendToGroup({ 'room1', 7 }, 'g2')",
        "true"},
    {"sendToGroup(\"room1\",\"g-a\",[a])", "sendToGroup('room1', 'g-a', { a })",
        "true"},
    {"leaveGroup(b,\"room1\")", "leaveGroup(b, 'room1')", "true"},
    {"ungroup(\"room1\")", "ungroup('room1')", "true"},
    {"closeClient(b,\"bye\")", "closeClient(b, 'bye')", "true"},
    {"destoryClient(c)", "destoryClient(c)", "true"},
};

static json_t *find_call(const char *name)
{
    json_t *call;
    size_t i;

    json_array_foreach(json_object_get(root, "client_calls"), i, call)
    {
        if (strcmp(json_string_value(json_object_get(call, "call")), name) == 0)
            return call;
    }
    fail_msg("no such call in the vectors: %s", name);
    return NULL;
}

/* The hex digits under this key of the call's only connection. */
static struct bytes captured(const json_t *call, const char *key)
{
    const json_t *c = json_array_get(json_object_get(call, "connections"), 0);

    return bytes_from_hex(c ? json_string_value(json_object_get(c, key)) : "");
}

static bool heard_all(void *arg)
{
    return packets.len >= *(size_t *)arg;
}

static void speaks_as_gatewayworker_does(void **state)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        json_t *call = find_call(calls[i].call);
        struct bytes want = captured(call, "to_gateway");
        struct bytes back = captured(call, "from_gateway");
        char lua[256];
        const char *result;

        failing = calls[i].call;
        set_reply(back.data, back.len);
        snprintf(lua, sizeof(lua), "return Gateway.%s", calls[i].lua);
        result = run(lua);
        if (strcmp(result, calls[i].result) != 0)
            fail_msg("%s: %s instead of %s", failing, result, calls[i].result);
        run_until(heard_all, &want.len);
        if (packets.len != want.len ||
            memcmp(packets.data, want.data, want.len) != 0)
            fail_msg("%s: other bytes", failing);
        buf_clear(&packets);
        bytes_fini(&want);
        bytes_fini(&back);
    }
    fake_got(&gate);
    assert_silent();
}

static void has_every_function_of_gatewayworker(void **state)
{
    assert_string_equal(
        run("local missing = {} for name in ([[sendToAll sendToClient "
            "sendToCurrentClient sendToUid sendToGroup closeClient "
            "closeCurrentClient destoryClient destoryCurrentClient bindUid "
            "unbindUid joinGroup leaveGroup ungroup setSession updateSession "
            "getSession isOnline isUidOnline getClientIdByUid "
            "getUidByClientId getAllClientIdCount getAllClientCount "
            "getClientIdCountByGroup getClientCountByGroup getAllClientIdList "
            "getClientIdListByGroup getAllClientSessions "
            "getClientSessionsByGroup getUidListByGroup getAllUidList "
            "getUidCountByGroup getAllUidCount getAllGroupIdList "
            "getAllGroupUidList getAllGroupUidCount getAllGroupClientIdList "
            "getAllGroupClientIdCount isUidsOnline batchGetClientIdByUid "
            "batchGetClientIdCountByGroup getGroupsByClientId closeUid "
            "destroyClient destroyCurrentClient]]):gmatch '%S+' do "
            "if type(Gateway[name]) ~= 'function' then "
            "missing[#missing + 1] = name end end return missing"),
        "{}");
}

static void sends_to_the_current_client(void **state)
{
    assert_string_equal(run("return Gateway.sendToCurrentClient('x')"), "true");
    assert_string_equal(sent(), "SEND_TO_ONE::x ");
    run("Gateway.closeCurrentClient('bye')");
    assert_string_equal(sent(), "KICK::bye ");
    run("Gateway.destroyCurrentClient()");
    assert_string_equal(sent(), "DESTROY:: ");
}

static void current_client_is_an_error_elsewhere(void **state)
{
    script_event(FRAME_ON_MESSAGE, 1,
        "Timer.once(0.001, function() note(select(2, pcall("
        "Gateway.sendToCurrentClient, 'x'))) end)",
        "");
    buf_clear(&fixture.notes);
    run_until(script_has_notes, NULL);
    assert_string_equal(notes(),
        "Gateway.sendToCurrentClient: no client is served here (a timer and "
        "onWorkerStart have none): use Gateway.sendToClient(client_id, ...) ");
}

static void sends_numbers_as_text(void **state)
{
    static const char *const numbers[][2] = {{"42", "42"}, {"7.0", "7"},
        {"-2^53", "-9007199254740992"}, {"1700000000123456", NULL},
        {"1700000000123456.0", "1700000000123456"}, {"0.1", "0.1"},
        {"0.1 + 0.2", "0.30000000000000004"}, {"-0.0", "-0"},
        {"1e300", "1.0E+300"}, {"math.mininteger", "-9223372036854775808"}};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const char *text = numbers[i][1] ? numbers[i][1] : numbers[i][0];
        char code[128], wanted[128];

        snprintf(
            code, sizeof(code), "Gateway.sendToClient(a, %s)", numbers[i][0]);
        snprintf(wanted, sizeof(wanted), "SEND_TO_ONE::%s ", text);
        run(code);
        assert_string_equal(sent(), wanted);
    }
}

static void names_wrong_arguments(void **state)
{
    assert_string_equal(run("Gateway.sendToAll({})"),
        "test:1: bad argument #1 to 'sendToAll' (a table cannot be sent: "
        "encode it first, e.g. with json.encode of gwrun.json)");
    assert_string_equal(run("Gateway.sendToAll(nil)"),
        "test:1: bad argument #1 to 'sendToAll' (string expected, got nil)");
    assert_string_equal(run("Gateway.sendToClient('xyz', 'm')"),
        "test:1: bad argument #1 to 'sendToClient' (malformed client id "
        "\"xyz\", 20 hex digits expected)");
    assert_string_equal(run("Gateway.sendToClient(nil, 'm')"),
        "test:1: bad argument #1 to 'sendToClient' (client id expected, got "
        "nil)");
    assert_string_equal(run("Gateway.sendToAll('m', { a, 'x' })"),
        "test:1: bad argument #2 to 'sendToAll' (malformed client id \"x\", "
        "20 hex digits expected)");
    assert_string_equal(run("Gateway.sendToGroup('', 'm')"),
        "test:1: bad argument #1 to 'sendToGroup' (must not be empty or 0, "
        "and not longer than 255 bytes)");
    assert_string_equal(run("Gateway.bindUid(a, 0)"),
        "test:1: bad argument #2 to 'bindUid' (must not be empty or 0, and "
        "not longer than 255 bytes)");
    assert_string_equal(run("Gateway.bindUid(a, 'B\\xe9')"),
        "test:1: bad argument #2 to 'bindUid' (the name is not UTF-8, and many "
        "calls carry names as JSON)");
    assert_string_equal(run("Gateway.sendToGroup({ 'x', '\\xff' }, 'm')"),
        "test:1: bad argument #1 to 'sendToGroup' (the name is not UTF-8, and "
        "many calls carry names as JSON)");
    assert_string_equal(run("Gateway.joinGroup(a, { 'x', print })"),
        "test:1: bad argument #2 to 'joinGroup' (string or integer expected, "
        "got function)");
    assert_string_equal(run("Gateway.setSession(a, { f = print })"),
        "test:1: bad argument #2 to 'setSession' (session.f is a function, "
        "which cannot be saved)");
    assert_string_equal(run("Gateway.getSession('x')"),
        "test:1: bad argument #1 to 'getSession' (malformed client id \"x\", "
        "20 hex digits expected)");
    assert_string_equal(run("Gateway.getClientIdByUid()"),
        "test:1: bad argument #1 to 'getClientIdByUid' (string or integer "
        "expected, got nil)");
}

static bool is_alone(void *arg)
{
    return gateways->npeers == 0;
}

static void reads_options_where_raw_stands(void **state)
{
    static const char *const sends[][2] = {
        {"sendToClient(a, 'x', O)", "SEND_TO_ONE%s::x "},
        {"sendToCurrentClient('x', O)", "SEND_TO_ONE%s::x "},
        {"sendToUid('u', 'x', O)", "SEND_TO_UID%s:[\"u\"]:x "},
        {"sendToGroup('g', 'x', nil, O)",
            "SEND_TO_GROUP%s:{\"group\":[\"g\"],\"exclude\":null}:x "},
        {"sendToAll('x', nil, nil, O)", "SEND_TO_ALL%s::x "},
        {"closeClient(a, 'x', O)", "KICK%s::x "},
        {"closeCurrentClient('x', O)", "KICK%s::x "},
    };
    static const char *const options[][2] = {{"nil", ""}, {"false", ""},
        {"true", "/raw"}, {"{}", ""}, {"{ raw = true }", "/raw"},
        {"{ raw = false }", ""}, {"{ binary = true }", "/binary"},
        {"{ binary = false }", "/text"},
        {"{ raw = false, binary = true }", "/binary"}};
    char code[256], want[256];

    for (size_t i = 0; i < sizeof(sends) / sizeof(sends[0]); i++) {
        for (size_t o = 0; o < sizeof(options) / sizeof(options[0]); o++) {
            const char *at = strchr(sends[i][1], '%');

            snprintf(code, sizeof(code), "local O = %s return Gateway.%s",
                options[o][0], sends[i][0]);
            assert_string_equal(run(code), "true");
            snprintf(want, sizeof(want), "%.*s%s%s", (int)(at - sends[i][1]),
                sends[i][1], options[o][1], at + 2);
            assert_string_equal(sent(), want);
        }
    }
}

static void names_what_is_wrong_with_options(void **state)
{
    static const char *const wrong[][2] = {
        {"sendToClient(a, 'x', 1)",
            "#3 to 'sendToClient' (true, false or a table of options expected, "
            "got number)"},
        {"sendToClient(a, 'x', { binry = true })",
            "#3 to 'sendToClient' (there is no option \"binry\"; did you mean "
            "\"binary\"?)"},
        {"sendToClient(a, 'x', { ['raw\\0'] = true })",
            "#3 to 'sendToClient' (there is no option \"raw\\x00\"; did you mean "
            "\"raw\"?)"},
        {"sendToClient(a, 'x', setmetatable({}, { __index = { raw = true } }))",
            "#3 to 'sendToClient' (options must stand in the table itself, not "
            "behind __index of its metatable)"},
        {"sendToUid('u', 'x', { colour = 1 })",
            "#3 to 'sendToUid' (there is no option \"colour\")"},
        {"sendToGroup('g', 'x', nil, { a, b })",
            "#4 to 'sendToGroup' (options have names, as in { raw = true }; "
            "got a number as one)"},
        {"sendToAll('x', nil, nil, { raw = 1 })",
            "#4 to 'sendToAll' (option raw must be true or false, got number)"},
        {"sendToCurrentClient('x', { binary = 'yes' })",
            "#2 to 'sendToCurrentClient' (option binary must be true or false, "
            "got string)"},
        {"closeClient(a, 'x', { raw = true, binary = true })",
            "#3 to 'closeClient' (raw bytes have no type: give raw or binary)"},
        {"sendToClient(a, 'x', { code = 4000 })",
            "#3 to 'sendToClient' (there is no option \"code\")"},
        {"closeClient(a, 'x', { resaon = 'y' })",
            "#3 to 'closeClient' (there is no option \"resaon\"; did you mean "
            "\"reason\"?)"},
        {"closeClient(a, 'x', { code = 1005 })",
            "#3 to 'closeClient' (option code must be 1000 to 1003, 1007 to "
            "1014 or 3000 to 4999, not 1005)"},
        {"closeClient(a, nil, { code = 4000.5 })",
            "#3 to 'closeClient' (option code must be 1000 to 1003, 1007 to "
            "1014 or 3000 to 4999, not 4000.5)"},
        {"closeClient(a, nil, { code = '4000' })",
            "#3 to 'closeClient' (option code must be a number, got string)"},
        {"closeCurrentClient(nil, { reason = ('x'):rep(124) })",
            "#2 to 'closeCurrentClient' (option reason may have 123 bytes, not "
            "124)"},
        {"closeClient(a, nil, { reason = '\\xff' })",
            "#3 to 'closeClient' (option reason must be UTF-8, without a NUL)"},
        {"closeClient(a, { code = 4000 })",
            "#2 to 'closeClient' (a table cannot be sent; options are argument "
            "#3, behind the last message or nil)"},
        {"closeUid('u', nil, { code = 1 })",
            "#3 to 'closeUid' (option code must be 1000 to 1003, 1007 to 1014 "
            "or 3000 to 4999, not 1)"},
        {"closeUid('u', { code = 4000 })",
            "#2 to 'closeUid' (a table cannot be sent; options are argument "
            "#3, behind the last message or nil)"},
        {"closeGroup('g', nil, { timeot = 1 })",
            "#3 to 'closeGroup' (there is no option \"timeot\"; did you mean "
            "\"timeout\"?)"},
        {"closeGroup('', nil)",
            "#1 to 'closeGroup' (must not be empty or 0, and not longer than "
            "255 bytes)"},
        {"sendToAll('x', { binary = true })",
            "#2 to 'sendToAll' (client ids expected, got a table with binary = "
            "true; options are argument #4)"},
        {"sendToAll('x', nil, { raw = true })",
            "#3 to 'sendToAll' (client ids expected, got a table with raw = "
            "true; options are argument #4)"},
        {"sendToGroup('g', 'x', { raw = true })",
            "#3 to 'sendToGroup' (client ids expected, got a table with raw = "
            "true; options are argument #4)"},
    };
    char code[256], want[256];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(code, sizeof(code), "Gateway.%s", wrong[i][0]);
        snprintf(want, sizeof(want), "test:1: bad argument %s", wrong[i][1]);
        assert_string_equal(run(code), want);
    }
    assert_silent();
}

/* A table that is kept costs no memory for each message. */
static void allocates_nothing_for_options(void **state)
{
    assert_string_equal(
        run("local kept = { binary = true } "
            "local function send() Gateway.sendToClient(a, 'x', kept) end "
            "send() collectgarbage() collectgarbage 'stop' "
            "local before = collectgarbage 'count' "
            "for _ = 1, 100 do send() end "
            "local more = collectgarbage 'count' - before "
            "collectgarbage 'restart' return more == 0"),
        "true");
}

static void says_when_no_gateway_is_connected(void **state)
{
    fake_die(&gate);
    gateways_set_addresses(NULL, 0, gateways);
    run_until(is_alone, NULL);
    assert_string_equal(run("return Gateway.sendToAll('x')"),
        "nil no gateway connected enotconn");
    assert_string_equal(run("return Gateway.getAllClientIdCount()"),
        "nil no gateway connected enotconn 0");
    assert_string_equal(run("return Gateway.sendToClient("
                            "'0a0000010b5400000001', 'x')"),
        "nil gateway 10.0.0.1:2900 is not connected enotconn");
    assert_string_equal(run("return Gateway.isOnline("
                            "'0a0000010b5400000001')"),
        "nil gateway 10.0.0.1:2900 is not connected enotconn");
}

static void says_when_one_gateway_is_not_connected(void **state)
{
    const char *addresses[] = {gate.address, "127.0.0.1:1"};
    const char *missed = "nil 1 of 2 gateways did not take it enotconn";

    gateways_set_addresses(addresses, 2, gateways);
    assert_string_equal(run("return Gateway.sendToAll('x')"), missed);
    assert_string_equal(run("return Gateway.sendToAll('x', nil, a)"), missed);
    assert_string_equal(run("return Gateway.sendToGroup('g', 'x')"), missed);
    assert_string_equal(run("return Gateway.sendToGroup('g', 'x', a)"), missed);
    assert_string_equal(run("return Gateway.sendToUid('u', 'x')"), missed);
}

static void gives_up_on_a_silent_gateway(void **state)
{
    assert_string_equal(
        run("local _, m, c, p = Gateway.getAllClientIdCount(0.05) "
            "return _, m:gsub('%d+', '#'), c, p"),
        "nil gateway #.#.#.#:# did not answer in time etimedout 0");
    assert_string_equal(
        run("return (select(2, pcall(Gateway.getAllUidList, -1)):gsub('^.-%(', "
            "''))"),
        "timeout in seconds expected, above 0 and at most a day)");
}

static void reports_answers_that_make_no_sense(void **state)
{
    answer("O:1:\"X\":0:{");
    assert_string_equal(
        run("return select(3, Gateway.getSession(a))"), "eproto");
    answer("s:1:\"x\";");
    assert_string_equal(run("return Gateway.getAllUidList()"),
        "nil a gateway's answer has the wrong type eproto {}");
}

static void a_query_sees_the_session_of_its_handler(void **state)
{
    answer("a:0:{}");
    run("_SESSION.x = 1; Gateway.getSession(a)");
    assert_string_equal(sent(),
        "SET_SESSION:a:1:{s:1:\"x\";i:1;}: GET_SESSION_BY_CLIENT_ID:: ");
}

static void unbinds_only_the_uid_that_is_named(void **state)
{
    answer("a:1:{i:1;a:1:{s:3:\"uid\";s:3:\"ann\";}}");
    assert_string_equal(run("return Gateway.unbindUid(a, 'bob')"), "false");
    fake_got(&gate);
    assert_string_equal(run("return Gateway.unbindUid(a, 'ann')"), "true");
    run_until(fake_heard, &gate);
    assert_non_null(strstr(sent(), "SELECT:"));
    assert_string_equal(run("return Gateway.unbindUid(a)"), "true");
    assert_non_null(strstr(sent(), "UNBIND_UID:: "));
}

static void lists_a_clients_groups(void **state)
{
    answer("a:1:{i:1;a:1:{s:6:\"groups\";a:2:{s:1:\"b\";s:1:\"b\";i:7;s:1:"
           "\"7\";}}}");
    assert_string_equal(run("return Gateway.getGroupsByClientId(a)"), "{7,b}");
    answer("a:1:{i:1;a:1:{s:6:\"groups\";N;}}");
    assert_string_equal(run("return Gateway.getGroupsByClientId(a)"), "{}");
    answer("a:0:{}");
    assert_string_equal(run("return (Gateway.getGroupsByClientId(a))"), "nil");
}

static void has_no_uid_for_unbound_and_offline_clients(void **state)
{
    answer("a:1:{i:1;a:1:{s:3:\"uid\";N;}}");
    assert_string_equal(run("return Gateway.getUidByClientId(a)"), "nil");
    answer("a:0:{}");
    assert_string_equal(run("return (Gateway.getUidByClientId(a))"), "nil");
}

static void closes_all_clients_of_a_uid(void **state)
{
    answer("a:2:{i:0;i:1;i:1;i:3;}");
    assert_string_equal(run("return Gateway.closeUid('ann', 'bye')"), "2");
    assert_string_equal(sent(), "GET_CLIENT_ID_BY_UID:ann: ");
    assert_string_equal(sent(), "KICK::bye KICK::bye ");
}

static void closes_with_a_code_and_a_reason(void **state)
{
    run("Gateway.closeClient(a, 'bye', { code = 4000 })");
    assert_string_equal(sent(), "KICK:\x0f\xa0:bye ");
    run("Gateway.closeClient(a, nil, { code = 4001, reason = 'no' })");
    assert_string_equal(sent(), "KICK:\x0f\xa1no: ");
    run("Gateway.closeCurrentClient('x', { reason = 'no', binary = true })");
    assert_string_equal(sent(), "KICK/binary:\x03\xe8no:x ");
    answer("a:2:{i:0;i:1;i:1;i:3;}");
    run("Gateway.closeUid('ann', nil, { code = 4000, timeout = 3 })");
    assert_string_equal(sent(), "GET_CLIENT_ID_BY_UID:ann: ");
    assert_string_equal(sent(), "KICK:\x0f\xa0: KICK:\x0f\xa0: ");
    assert_string_equal(run("return (select(2, pcall(Gateway.closeUid, 'ann', "
                            "nil, { timeout = -1 })):match 'bad timeout')"),
        "bad timeout");
}

static void closes_all_clients_of_a_group(void **state)
{
    answer("a:2:{i:1;a:1:{s:3:\"uid\";N;}i:3;a:1:{s:3:\"uid\";N;}}");
    assert_string_equal(
        run("return Gateway.closeGroup('room', 'bye', { code = 4000 })"), "2");
    assert_string_equal(sent(),
        "SELECT:{\"fields\":[\"uid\"],\"where\":{\"groups\":[\"room\"]}}: ");
    assert_string_equal(sent(), "KICK:\x0f\xa0:bye KICK:\x0f\xa0:bye ");
}

static void takes_maps_of_its_own_results_as_lists(void **state)
{
    run("Gateway.sendToAll('x', { [a] = a }, b)");
    assert_string_equal(sent(), "SEND_TO_ALL:{\"connections\":{\"1\":1}}:x ");
    run("Gateway.sendToUid({ ann = 'ann' }, 'x')");
    assert_string_equal(sent(), "SEND_TO_UID:[\"ann\"]:x ");
}

static void leaves_excluded_clients_out_of_a_list(void **state)
{
    run("Gateway.sendToAll('x', { a, b, c }, { b })");
    assert_string_equal(
        sent(), "SEND_TO_ALL:{\"connections\":{\"1\":1,\"3\":3}}:x ");
}

static void joins_and_leaves_several_groups(void **state)
{
    run("Gateway.joinGroup(a, { 'x', 'y' })");
    assert_string_equal(sent(), "JOIN_GROUP:x: JOIN_GROUP:y: ");
    run("Gateway.leaveGroup(a, { 'x' })");
    assert_string_equal(sent(), "LEAVE_GROUP:x: ");
}

static void sets_and_updates_other_clients_sessions(void **state)
{
    run("Gateway.setSession(b, { n = 1 })");
    assert_string_equal(sent(), "SET_SESSION:a:1:{s:1:\"n\";i:1;}: ");
    run("Gateway.updateSession(b, { n = 2 })");
    assert_string_equal(sent(), "UPDATE_SESSION:a:1:{s:1:\"n\";i:2;}: ");
}

static void cannot_wait_where_lua_cannot_yield(void **state)
{
    assert_string_equal(
        run("return (select(2, pcall(table.sort, { 1, 2 }, function() "
            "Gateway.getSession(a) end)):gsub('.*: (cannot wait here)', "
            "'%1'):sub(1, 16))"),
        "cannot wait here");
}

static void a_closing_script_cancels_its_queries(void **state)
{
    script_event(
        FRAME_ON_MESSAGE, 1, "return Gateway.getAllClientIdCount()", "");
    run_until(fake_heard, &gate);
    vm_close(vm);
    vm = NULL;
    fake_answer(&gate, "i:1;");
    run_turns(5);
    assert_string_equal(notes(), "");
}

static int load_vectors(void **state)
{
    root = vectors_load("spec/vectors/gatewayworker-conversations.json");
    return 0;
}

static int free_vectors(void **state)
{
    json_decref(root);
    buf_fini(&packets);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, serve, unserve)
    static const struct CMUnitTest tests[] = {
        TEST(speaks_as_gatewayworker_does),
        TEST(has_every_function_of_gatewayworker),
        TEST(sends_to_the_current_client),
        TEST(current_client_is_an_error_elsewhere),
        TEST(sends_numbers_as_text),
        TEST(names_wrong_arguments),
        TEST(reads_options_where_raw_stands),
        TEST(names_what_is_wrong_with_options),
        TEST(allocates_nothing_for_options),
        TEST(says_when_no_gateway_is_connected),
        TEST(says_when_one_gateway_is_not_connected),
        TEST(gives_up_on_a_silent_gateway),
        TEST(reports_answers_that_make_no_sense),
        TEST(a_query_sees_the_session_of_its_handler),
        TEST(unbinds_only_the_uid_that_is_named),
        TEST(lists_a_clients_groups),
        TEST(has_no_uid_for_unbound_and_offline_clients),
        TEST(closes_all_clients_of_a_uid),
        TEST(closes_with_a_code_and_a_reason),
        TEST(closes_all_clients_of_a_group),
        TEST(takes_maps_of_its_own_results_as_lists),
        TEST(leaves_excluded_clients_out_of_a_list),
        TEST(joins_and_leaves_several_groups),
        TEST(sets_and_updates_other_clients_sessions),
        TEST(cannot_wait_where_lua_cannot_yield),
        TEST(a_closing_script_cancels_its_queries),
    };

    return cmocka_run_group_tests_name(
        "lualib.lgateway", tests, load_vectors, free_vectors);
}
