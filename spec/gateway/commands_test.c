/* The captured conversations of GatewayWorker (spec/vectors), and what they do
 * not show. */
#include "fakes.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/commands.h"
#include "wire/framing.h"
#include "wire/phpser.h"

#define CLIENTS 3

struct test {
    struct commands commands;
    struct client_conn sockets[CLIENTS];
    struct client *client[CLIENTS];
    struct buf answer;
};

/* Clients 1, 2, 3. */
static struct test *start(void)
{
    static const union addr nowhere = {.sa.sa_family = AF_INET};
    struct router_conf conf = {.mode = GATEWAY_ROUTER_LEAST};
    struct test *t = xcalloc(1, sizeof(*t));

    log_set_level(LOG_ERROR);
    assert_int_equal(roster_new(&t->commands.roster, -1), 0);
    t->commands.router = router_new(&conf);
    for (int i = 0; i < CLIENTS; i++)
        t->client[i] =
            roster_add(t->commands.roster, &t->sockets[i], &nowhere, 0);
    return t;
}

static void finish(struct test *t)
{
    for (int i = 0; i < CLIENTS; i++) { /* the sockets close */
        t->client[i]->conn = NULL;
        roster_release(t->client[i]);
    }
    router_free(t->commands.router);
    roster_free(t->commands.roster);
    commands_fini(&t->commands);
    for (int i = 0; i < CLIENTS; i++)
        fake_fini(&t->sockets[i]);
    buf_fini(&t->answer);
    free(t);
}

static int run_flagged(struct test *t, uint8_t cmd, uint8_t flag, uint32_t id,
    const char *ext, const char *body)
{
    struct frame f = {
        .cmd = cmd,
        .flag = FRAME_FLAG_STRING | flag,
        .connection_id = id,
        .ext = (const uint8_t *)ext,
        .ext_len = strlen(ext),
        .body = (const uint8_t *)body,
        .body_len = strlen(body),
    };

    return commands_run(&t->commands, &f, &t->answer);
}

static int run(
    struct test *t, uint8_t cmd, uint32_t id, const char *ext, const char *body)
{
    return run_flagged(t, cmd, 0, id, ext, body);
}

static void expect(struct test *t, uint8_t cmd, uint32_t id, const char *ext,
    const char *answer)
{
    assert_int_equal(run(t, cmd, id, ext, ""), 1);
    buf_append_byte(&t->answer, 0);
    assert_string_equal(t->answer.data, answer);
}

static void expect_received(struct test *t, int i, const char *want)
{
    struct buf *received = &t->sockets[i].received;

    buf_append_byte(received, 0);
    assert_string_equal(received->data, want);
    buf_clear(received);
}

static void append_hex(struct buf *out, const char *hex)
{
    for (; *hex; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};

        buf_append_byte(out, (uint8_t)strtoul(digits, NULL, 16));
    }
}

/* What one connection sent, and whether what it got is what was captured. */
static void replay(struct test *t, const json_t *connection)
{
    struct buf in = {0};
    struct buf want = {0};
    struct buf got = {0};
    struct frame f;
    ssize_t n;

    append_hex(
        &in, json_string_value(json_object_get(connection, "to_gateway")));
    append_hex(
        &want, json_string_value(json_object_get(connection, "from_gateway")));
    while ((n = frame_measure(in.data, in.len, FRAME_MAX_LEN)) > 0) {
        assert_int_equal(frame_decode(&f, in.data, (size_t)n), 0);
        if (commands_run(&t->commands, &f, &t->answer) == 1)
            framing_reply_encode(&got, t->answer.data, t->answer.len);
        buf_consume(&in, (size_t)n);
    }
    assert_int_equal(got.len, want.len);
    if (want.len > 0)
        assert_memory_equal(got.data, want.data, want.len);
    buf_fini(&in);
    buf_fini(&want);
    buf_fini(&got);
}

/* The sessions that the captured worker had set before the calls. */
static void set_first_sessions(struct test *t)
{
    for (uint32_t id = 1; id <= CLIENTS; id++) {
        char session[64];

        snprintf(session, sizeof(session),
            "a:1:{s:3:\"get\";a:1:{s:1:\"n\";s:1:\"%u\";}}", id - 1);
        assert_int_equal(run(t, FRAME_SET_SESSION, id, session, ""), 0);
    }
}

static void answers_as_gatewayworker_byte_for_byte(void **state)
{
    struct test *t = start();
    json_t *root = json_load_file(
        "spec/vectors/gatewayworker-conversations.json", 0, NULL);
    size_t calls = 0;
    const json_t *call;
    const json_t *connection;
    size_t i;
    size_t j;

    assert_non_null(root);
    set_first_sessions(t);
    json_array_foreach(json_object_get(root, "client_calls"), i, call)
    {
        json_array_foreach(json_object_get(call, "connections"), j, connection)
            replay(t, connection);
        calls++;
    }
    json_decref(root);
    assert_int_equal(calls, 62);
    /* Captured, but for the second "g2", which was one too many. */
    expect_received(t, 0,
        "all\nsome\nnot-b\n\x81\x03raw raw\none\nuid\nuids\ng\ng2\nafter-leave\n");
    expect_received(t, 1, "all\n\x81\x03raw raw\nuids\ng\ng2\ng-a\nbye\n");
    expect_received(t, 2, "all\nsome\nnot-b\n\x81\x03raw raw\nuid\nuids\n");
    assert_int_equal(t->sockets[1].closed, 1000);
    assert_true(t->sockets[2].destroyed);
    finish(t);
}

static void sends_in_the_form_that_is_asked_for(void **state)
{
    static const struct {
        uint8_t flag;
        const char *got;
    } forms[] = {
        {0, "x\n"},
        {FRAME_FLAG_TEXT, "x text\n"},
        {FRAME_FLAG_BINARY, "x binary\n"},
        {FRAME_FLAG_RAW | FRAME_FLAG_BINARY, "x raw\n"},
    };
    struct test *t = start();

    run(t, FRAME_BIND_UID, 1, "ann", "");
    run(t, FRAME_JOIN_GROUP, 1, "g", "");
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        uint8_t flag = forms[i].flag;

        run_flagged(t, FRAME_SEND_TO_ONE, flag, 1, "", "x");
        expect_received(t, 0, forms[i].got);
        run_flagged(t, FRAME_SEND_TO_UID, flag, 0, "[\"ann\"]", "x");
        expect_received(t, 0, forms[i].got);
        run_flagged(
            t, FRAME_SEND_TO_GROUP, flag, 0, "{\"group\":[\"g\"]}", "x");
        expect_received(t, 0, forms[i].got);
        fake_framed = 0;
        run_flagged(t, FRAME_SEND_TO_ALL, flag, 0, "", "x");
        assert_int_equal(fake_framed, 1);
        for (int c = 0; c < CLIENTS; c++)
            expect_received(t, c, forms[i].got);
    }
    run_flagged(t, FRAME_KICK, FRAME_FLAG_BINARY, 1, "", "bye");
    expect_received(t, 0, "bye binary\n");
    finish(t);
}

static int kick_with(struct test *t, uint32_t id, const char *ext, size_t len)
{
    struct frame f = {
        .cmd = FRAME_KICK,
        .flag = FRAME_FLAG_STRING,
        .connection_id = id,
        .ext = (const uint8_t *)ext,
        .ext_len = len,
    };

    return commands_run(&t->commands, &f, &t->answer);
}

static void closes_with_the_code_and_reason_it_is_given(void **state)
{
    static const struct {
        const char *ext;
        size_t len;
        int code;
        const char *reason;
        bool valid;
    } kicks[] = {
        {"", 0, 1000, "kicked", true},
        {"\x0f\xa0", 2, 4000, "", true},
        {"\x0f\xa1sorry", 7, 4001, "sorry", true},
        {"\x03\xed", 2, 1000, "kicked", false}, /* 1005 */
        {"\x0f", 1, 1000, "kicked", false},
        {"\x0f\xa1\xff", 3, 1000, "kicked", false},
    };

    for (size_t i = 0; i < sizeof(kicks) / sizeof(kicks[0]); i++) {
        struct test *t = start();

        log_set_level(LOG_ERROR);
        kick_with(t, 1, kicks[i].ext, kicks[i].len);
        assert_int_equal(t->sockets[0].closed, kicks[i].code);
        assert_string_equal(t->sockets[0].reason, kicks[i].reason);
        assert_int_equal(t->commands.refused, !kicks[i].valid);
        finish(t);
    }
}

static void keeps_replies_in_step_after_a_bad_query(void **state)
{
    static const char *const bad[] = {
        "{", "nonsense", "[[[[", "{\"fields\":1}", "\xff\xfe"};
    struct test *t = start();

    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect(t, FRAME_SELECT, 0, bad[i], "a:0:{}");
    expect(t, FRAME_BATCH_GET_CLIENT_ID_BY_UID, 0, "{", "a:0:{}");
    expect(t, FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP, 0, "", "a:0:{}");
    assert_int_equal(run(t, FRAME_SEND_TO_ALL, 0, "{", "x"), 0);
    assert_int_equal(run(t, FRAME_SEND_TO_GROUP, 0, "{", "x"), 0);
    assert_int_equal(run(t, FRAME_SEND_TO_GROUP, 0, "", "x"), 0);
    for (int i = 0; i < CLIENTS; i++)
        expect_received(t, i, "");
    finish(t);
}

static void knows_no_other_commands(void **state)
{
    struct test *t = start();

    assert_int_equal(run(t, 0, 1, "", ""), -ENOSYS);
    assert_int_equal(run(t, 29, 1, "", ""), -ENOSYS);
    assert_int_equal(run(t, FRAME_ON_MESSAGE, 1, "", ""), -ENOSYS);
    assert_int_equal(run(t, 255, 1, "", ""), -ENOSYS);
    finish(t);
}

/* The script was told "true" for each: it must be somewhere that it was not. */
static void counts_the_groups_that_a_client_does_not_get(void **state)
{
    struct test *t = start();

    roster_limit_groups(t->commands.roster, 2);
    assert_int_equal(run(t, FRAME_JOIN_GROUP, 1, "a", ""), 0);
    assert_int_equal(run(t, FRAME_JOIN_GROUP, 1, "b", ""), 0);
    assert_int_equal(run(t, FRAME_JOIN_GROUP, 1, "b", ""), 0);
    assert_int_equal(t->commands.groups_refused, 0);
    assert_int_equal(run(t, FRAME_JOIN_GROUP, 1, "c", ""), 0);
    assert_int_equal(run(t, FRAME_JOIN_GROUP, 1, "d", ""), 0);
    assert_int_equal(t->commands.groups_refused, 2);
    assert_int_equal(t->commands.refused, 0);
    assert_int_equal(run(t, FRAME_LEAVE_GROUP, 1, "a", ""), 0);
    assert_int_equal(run(t, FRAME_JOIN_GROUP, 1, "c", ""), 0);
    assert_int_equal(t->commands.groups_refused, 2);
    finish(t);
}

static void counts_commands_that_are_not_valid(void **state)
{
    struct test *t = start();

    assert_int_equal(run(t, FRAME_JOIN_GROUP, 1, "", ""), 0);
    assert_int_equal(run(t, FRAME_BIND_UID, 1, "0", ""), 0);
    assert_int_equal(run(t, FRAME_SEND_TO_ALL, 0, "{", "x"), 0);
    assert_int_equal(t->commands.refused, 3);
    finish(t);
}

static void survives_clients_that_are_gone(void **state)
{
    struct test *t = start();

    assert_int_equal(run(t, FRAME_SEND_TO_ONE, 99, "", "x"), 0);
    assert_int_equal(
        run(t, FRAME_SEND_TO_ALL, 0, "{\"connections\":[1,98,99]}", "x"), 0);
    assert_int_equal(t->commands.dropped, 3);
    assert_int_equal(run(t, FRAME_KICK, 99, "", "x"), 0);
    assert_int_equal(run(t, FRAME_DESTROY, 99, "", ""), 0);
    assert_int_equal(run(t, FRAME_BIND_UID, 99, "u", ""), 0);
    assert_int_equal(t->commands.dropped, 4);
    assert_int_equal(run(t, FRAME_UNBIND_UID, 99, "u", ""), 0);
    assert_int_equal(run(t, FRAME_JOIN_GROUP, 99, "g", ""), 0);
    assert_int_equal(run(t, FRAME_LEAVE_GROUP, 99, "g", ""), 0);
    assert_int_equal(run(t, FRAME_SET_SESSION, 99, "a:0:{}", ""), 0);
    assert_int_equal(run(t, FRAME_UPDATE_SESSION, 99, "a:0:{}", ""), 0);
    expect(t, FRAME_GET_GROUP_ID_LIST, 0, "", "a:0:{}");
    expect_received(t, 0, "x\n");
    finish(t);
}

static void is_offline_once_kicked_and_tells_the_worker(void **state)
{
    struct test *t = start();
    struct router_features none = {0};
    struct conn link = {0};
    struct conn *replaced;
    struct frame f;

    router_add_worker(t->commands.router, &link, "w", none, &replaced);
    assert_int_equal(run(t, FRAME_BIND_UID, 2, "bob", ""), 0);
    assert_int_equal(run(t, FRAME_KICK, 2, "", ""), 0);
    expect(t, FRAME_IS_ONLINE, 2, "", "i:0;");
    expect(t, FRAME_GET_CLIENT_COUNT_BY_GROUP, 0, "", "i:2;");
    expect(t, FRAME_GET_CLIENT_ID_BY_UID, 0, "bob", "a:0:{}");
    assert_int_equal(frame_decode(&f, link.out.data, link.out.len), 0);
    assert_int_equal(f.cmd, FRAME_ON_CLOSE);
    assert_int_equal(f.connection_id, 2);
    expect_received(t, 1, "");
    buf_fini(&link.out);
    finish(t);
}

static int run_demand(struct test *t, uint8_t cmd, uint32_t id, const char *uid,
    const struct demand *demand)
{
    struct buf body = {0};
    struct frame f = {.cmd = cmd,
        .flag = FRAME_FLAG_STRING,
        .connection_id = id,
        .ext = (const uint8_t *)uid,
        .ext_len = strlen(uid)};
    int n;

    if (cmd == FRAME_ONLY)
        demand_put_login(&body, demand->login);
    else
        demand_put(&body, demand);
    f.body = body.data;
    f.body_len = body.len;
    n = commands_run(&t->commands, &f, &t->answer);
    buf_fini(&body);
    return n;
}

static void log_in(struct test *t, uint8_t cmd, uint32_t id, uint64_t login)
{
    struct demand demand = {.flags = DEMAND_ONLY, .login = login};

    assert_int_equal(run_demand(t, cmd, id, "ann", &demand), 0);
}

static void leaves_a_uid_its_newest_login(void **state)
{
    struct test *t = start();

    run(t, FRAME_BIND_UID, 1, "ann", "");
    log_in(t, FRAME_BIND_UID, 2, 100);
    expect(t, FRAME_GET_CLIENT_ID_BY_UID, 0, "ann", "a:1:{i:0;i:2;}");
    log_in(t, FRAME_BIND_UID, 3, 99); /* an older one, by another way */
    expect(t, FRAME_GET_CLIENT_ID_BY_UID, 0, "ann", "a:1:{i:0;i:2;}");
    expect(t, FRAME_IS_ONLINE, 3, "", "i:0;");
    log_in(t, FRAME_ONLY, 0, 100); /* itself */
    log_in(t, FRAME_ONLY, 0, 99);
    expect(t, FRAME_GET_CLIENT_ID_BY_UID, 0, "ann", "a:1:{i:0;i:2;}");
    log_in(t, FRAME_ONLY, 0, 101); /* a newer one elsewhere */
    expect(t, FRAME_GET_CLIENT_ID_BY_UID, 0, "ann", "a:0:{}");
    expect(t, FRAME_IS_ONLINE, 2, "", "i:0;");
    finish(t);
}

static struct {
    int done, refused;
    uint64_t newer;
} heard;

static void on_demand(
    const struct frame *f, const struct demand *demand, bool done, void *arg)
{
    assert_int_equal(demand->question, 7);
    heard.done += done;
    heard.refused += !done;
}

static void on_newer(const void *uid, size_t len, uint64_t login, void *arg)
{
    heard.newer = login;
}

static void tells_what_became_of_demands(void **state)
{
    struct test *t = start();
    struct demand demand = {
        .flags = DEMAND_WAIT, .question = 7, .reply = "by:me", .reply_len = 5};

    memset(&heard, 0, sizeof(heard));
    t->commands.on_demand = on_demand;
    t->commands.on_newer = on_newer;
    run_demand(t, FRAME_JOIN_GROUP, 1, "room", &demand);
    run_demand(t, FRAME_BIND_UID, 1, "bob", &demand);
    assert_int_equal(heard.done, 2);
    run_demand(t, FRAME_JOIN_GROUP, 99, "room", &demand);
    run_demand(t, FRAME_BIND_UID, 99, "bob", &demand);
    run_demand(t, FRAME_BIND_UID, 1, "0", &demand);
    assert_int_equal(heard.refused, 3);
    demand.flags = DEMAND_ONLY;
    demand.question = 7;
    t->commands.on_demand = NULL;
    log_in(t, FRAME_BIND_UID, 2, 100);
    log_in(t, FRAME_ONLY, 0, 100);
    assert_true(heard.newer == 0);
    log_in(t, FRAME_ONLY, 0, 99);
    assert_true(heard.newer == 100);
    finish(t);
}

static void unbinds_only_the_uid_that_is_named(void **state)
{
    struct test *t = start();

    assert_int_equal(run(t, FRAME_BIND_UID, 1, "alice", ""), 0);
    assert_int_equal(run(t, FRAME_UNBIND_UID, 1, "bob", ""), 0);
    expect(t, FRAME_GET_CLIENT_ID_BY_UID, 0, "alice", "a:1:{i:0;i:1;}");
    assert_int_equal(run(t, FRAME_UNBIND_UID, 1, "alice", ""), 0);
    expect(t, FRAME_GET_CLIENT_ID_BY_UID, 0, "alice", "a:0:{}");
    finish(t);
}

static void selects_with_united_conditions(void **state)
{
    struct test *t = start();

    run(t, FRAME_BIND_UID, 1, "1001", "");
    run(t, FRAME_JOIN_GROUP, 3, "g", "");
    run(t, FRAME_JOIN_GROUP, 1, "g", "");
    expect(t, FRAME_SELECT, 0,
        "{\"fields\":[\"session\",\"uid\",\"groups\"],\"where\":{\"groups\":"
        "[\"g\"],\"uid\":[1001],\"connection_id\":[2,3,77]}}",
        "a:3:{"
        "i:3;a:3:{s:7:\"session\";s:0:\"\";s:3:\"uid\";N;s:6:\"groups\";"
        "a:1:{s:1:\"g\";s:1:\"g\";}}"
        "i:1;a:3:{s:7:\"session\";s:0:\"\";s:3:\"uid\";s:4:\"1001\";"
        "s:6:\"groups\";a:1:{s:1:\"g\";s:1:\"g\";}}"
        "i:2;a:3:{s:7:\"session\";s:0:\"\";s:3:\"uid\";N;"
        "s:6:\"groups\";N;}}");
    finish(t);
}

static void answers_repeated_names_once(void **state)
{
    struct test *t = start();

    run(t, FRAME_JOIN_GROUP, 3, "7", "");
    expect(t, FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP, 0, "[\"7\",7,\"x\",\"x\"]",
        "a:2:{i:7;i:1;s:1:\"x\";i:0;}");
    finish(t);
}

/* The worker would close a link that brings more. */
static void says_false_instead_of_more_than_a_link_carries(void **state)
{
    static const union addr nowhere = {.sa.sa_family = AF_INET};
    struct test *t = start();
    struct buf session = {0};
    char *text = xmalloc(1000000);

    memset(text, 's', 1000000);
    phpser_put_array(&session, 1);
    phpser_put_int(&session, 0);
    phpser_put_string(&session, text, 1000000);
    phpser_put_end(&session);
    for (int i = 0; i < 68; i++) {
        struct client *c =
            roster_add(t->commands.roster, &t->sockets[0], &nowhere, 0);

        assert_int_equal(roster_set_session(
                             t->commands.roster, c, session.data, session.len),
            0);
    }
    expect(t, FRAME_GET_ALL_CLIENT_SESSIONS, 0, "", "b:0;");
    expect(
        t, FRAME_SELECT, 0, "{\"fields\":[\"session\"],\"where\":[]}", "b:0;");
    expect(t, FRAME_GET_CLIENT_COUNT_BY_GROUP, 0, "", "i:71;");
    free(text);
    buf_fini(&session);
    finish(t);
}

static void tells_sessions_of_nobody_and_of_empty_ones(void **state)
{
    struct test *t = start();

    expect(t, FRAME_GET_SESSION_BY_CLIENT_ID, 1, "", "a:0:{}");
    expect(t, FRAME_GET_SESSION_BY_CLIENT_ID, 9, "", "N;");
    expect(t, FRAME_GET_CLIENT_SESSIONS_BY_GROUP, 0, "none", "a:0:{}");
    expect(t, FRAME_GET_ALL_CLIENT_SESSIONS, 0, "",
        "a:3:{i:1;s:0:\"\";i:2;s:0:\"\";i:3;s:0:\"\";}");
    assert_int_equal(run(t, FRAME_SET_SESSION, 1, "O:1:\"X\":1:{}", ""), 0);
    expect(t, FRAME_GET_SESSION_BY_CLIENT_ID, 1, "", "a:0:{}");
    finish(t);
}

/* As PHP sends what is no string. */
static void run_value(
    struct test *t, uint8_t cmd, uint32_t id, const char *ext, const char *body)
{
    struct frame f = {
        .cmd = cmd,
        .connection_id = id,
        .ext = (const uint8_t *)ext,
        .ext_len = strlen(ext),
        .body = (const uint8_t *)body,
        .body_len = strlen(body),
    };

    assert_int_equal(commands_run(&t->commands, &f, &t->answer), 0);
}

static void sends_phps_values_as_json(void **state)
{
    struct test *t = start();

    run(t, FRAME_BIND_UID, 1, "u", "");
    run(t, FRAME_JOIN_GROUP, 1, "g", "");
    run_value(t, FRAME_SEND_TO_ONE, 1, "", "a:1:{s:1:\"a\";i:1;}");
    run_value(t, FRAME_SEND_TO_ONE, 1, "", "N;");
    run_value(t, FRAME_SEND_TO_ALL, 0, "", "a:0:{}");
    run_value(t, FRAME_SEND_TO_UID, 0, "[\"u\"]", "a:1:{i:0;b:1;}");
    run_value(t, FRAME_SEND_TO_GROUP, 0, "{\"group\":[\"g\"]}", "N;");
    expect_received(t, 0, "{\"a\":1}\nnull\n[]\n[true]\nnull\n");
    expect_received(t, 1, "[]\n");
    assert_int_equal(t->commands.dropped, 0);
    finish(t);
}

/* closeClient($id) says null. */
static void kicks_with_a_value_or_with_none(void **state)
{
    struct test *t = start();

    run_value(t, FRAME_KICK, 1, "", "N;");
    run_value(t, FRAME_KICK, 2, "", "a:1:{s:3:\"bye\";d:1.5;}");
    run_value(t, FRAME_KICK, 3, "", "");
    expect_received(t, 0, "");
    expect_received(t, 1, "{\"bye\":1.5}\n");
    expect_received(t, 2, "");
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(t->sockets[i].closed, 1000);
    finish(t);
}

static void sends_no_value_that_phps_gateway_cannot(void **state)
{
    static const struct client_protocol plain = {.name = "text"};
    static const char *const bad[] = {"", "hi", "N", "i:5;", "b:0;",
        "s:2:\"hi\";", "a:1:{i:0;d:INF;}", "a:1:{i:0;O:1:\"A\":0:{}}",
        "O:1:\"A\":0:{}", "a:0:{}x"};
    size_t count = sizeof(bad) / sizeof(bad[0]);
    struct test *t = start();

    for (size_t i = 0; i < count; i++) {
        run_value(t, FRAME_SEND_TO_ONE, 1, "", bad[i]);
        run_value(t, FRAME_SEND_TO_ALL, 0, "", bad[i]);
    }
    assert_int_equal(t->commands.dropped, 2 * count);
    run_value(t, FRAME_KICK, 1, "", "s:2:\"hi\";");
    assert_int_equal(t->sockets[0].closed, 1000); /* none the less */
    fake_protocol = &plain;
    run_value(t, FRAME_SEND_TO_ALL, 0, "", "a:0:{}");
    run_value(t, FRAME_KICK, 2, "", "N;");
    fake_protocol = &fake_websocket;
    assert_int_equal(t->commands.dropped, 2 * count + 2);
    for (int i = 0; i < CLIENTS; i++)
        expect_received(t, i, "");
    finish(t);
}

static void count_line(
    enum log_level level, const char *file, const char *line, void *arg)
{
    ++*(unsigned *)arg;
}

static void does_not_fill_the_log(void **state)
{
    struct test *t = start();
    unsigned lines = 0;

    log_set_level(LOG_WARN);
    log_set_sink(count_line, &lines);
    for (int i = 0; i < 5000; i++)
        run(t, FRAME_JOIN_GROUP, 1, "", "");
    log_set_sink(NULL, NULL);
    assert_in_range(lines, 10, 100);
    finish(t);
}

/* The log as one text. */
static void keep_line(
    enum log_level level, const char *file, const char *line, void *arg)
{
    buf_append_str(arg, line);
}

static void keeps_sessions_with_objects_and_merges_beside_them(void **state)
{
    struct test *t = start();

    run(t, FRAME_SET_SESSION, 1,
        "a:2:{s:1:\"n\";i:1;s:1:\"v\";O:8:\"stdClass\":1:{s:1:\"a\";i:1;}}",
        "");
    run(t, FRAME_UPDATE_SESSION, 1, "a:1:{s:1:\"n\";i:2;}", "");
    expect(t, FRAME_GET_SESSION_BY_CLIENT_ID, 1, "",
        "a:2:{s:1:\"n\";i:2;s:1:\"v\";O:8:\"stdClass\":1:{s:1:\"a\";i:1;}}");
    assert_int_equal(t->commands.sessions_refused, 0);
    finish(t);
}

static void refuses_sessions_without_showing_what_is_in_them(void **state)
{
    static const struct {
        uint8_t cmd;
        const char *session;
        const char *why;
    } cases[] = {
        {FRAME_SET_SESSION, "a:1:{s:6:\"secret\";i:1;", "Protocol error"},
        {FRAME_SET_SESSION,
            "s:80:\"secretsecretsecretsecretsecretsecretsecret"
            "secretsecretsecretsecretsecretsecretse\";",
            "more than max_session"},
        {FRAME_UPDATE_SESSION, "a:1:{s:6:\"secret\";R:1;}",
            "a PHP reference would lose what it means"},
    };
    struct test *t = start();
    struct buf log = {0};

    roster_limit_sessions(t->commands.roster, 80);
    log_set_level(LOG_WARN);
    log_set_sink(keep_line, &log);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buf_clear(&log);
        run(t, cases[i].cmd, 1, cases[i].session, "");
        buf_append_byte(&log, 0);
        assert_non_null(strstr((char *)log.data, cases[i].why));
        assert_null(strstr((char *)log.data, "secret"));
        assert_int_equal(t->commands.sessions_refused, i + 1);
    }
    log_set_sink(NULL, NULL);
    expect(t, FRAME_GET_SESSION_BY_CLIENT_ID, 1, "", "a:0:{}");
    buf_fini(&log);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_gatewayworker_byte_for_byte),
        cmocka_unit_test(sends_in_the_form_that_is_asked_for),
        cmocka_unit_test(closes_with_the_code_and_reason_it_is_given),
        cmocka_unit_test(keeps_replies_in_step_after_a_bad_query),
        cmocka_unit_test(knows_no_other_commands),
        cmocka_unit_test(keeps_sessions_with_objects_and_merges_beside_them),
        cmocka_unit_test(refuses_sessions_without_showing_what_is_in_them),
        cmocka_unit_test(counts_the_groups_that_a_client_does_not_get),
        cmocka_unit_test(counts_commands_that_are_not_valid),
        cmocka_unit_test(survives_clients_that_are_gone),
        cmocka_unit_test(is_offline_once_kicked_and_tells_the_worker),
        cmocka_unit_test(unbinds_only_the_uid_that_is_named),
        cmocka_unit_test(leaves_a_uid_its_newest_login),
        cmocka_unit_test(tells_what_became_of_demands),
        cmocka_unit_test(selects_with_united_conditions),
        cmocka_unit_test(answers_repeated_names_once),
        cmocka_unit_test(says_false_instead_of_more_than_a_link_carries),
        cmocka_unit_test(tells_sessions_of_nobody_and_of_empty_ones),
        cmocka_unit_test(sends_phps_values_as_json),
        cmocka_unit_test(kicks_with_a_value_or_with_none),
        cmocka_unit_test(sends_no_value_that_phps_gateway_cannot),
        cmocka_unit_test(does_not_fill_the_log),
    };

    return cmocka_run_group_tests_name("gateway.commands", tests, NULL, NULL);
}
