/* A whole gateway: its clients, its workers and what it tells of them. */
#include "gateway_fixture.h"

#include "gateway/ids.h"

static void listens_when_the_first_worker_is_there(void **state)
{
    struct test *t = serve(&proto_text);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct peer *worker;

    uv_run(&t->loop, UV_RUN_NOWAIT);
    assert_int_equal(connect(fd, &t->outer.sa, addr_len(&t->outer)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(t->ready, 0);
    close(fd);
    worker = join(t);
    assert_int_equal(t->ready, 1);
    hang_up(dial(t, &t->outer));
    hang_up(worker);
    finish(t);
}

static void carries_messages_both_ways(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join(t);
    struct peer *client = dial(t, &t->outer);

    expect_event(worker, "ON_CONNECT 1 ");
    put_str(client, "hello\nagain\r\n");
    expect_event(worker, "ON_MESSAGE 1 hello");
    expect_event(worker, "ON_MESSAGE 1 again");
    command(worker, FRAME_SEND_TO_ONE, 1, "", "answer");
    command(worker, FRAME_SEND_TO_ALL, 0, "", "all");
    expect_str(client, "answer\nall\n");
    assert_int_equal(status(t).commands_in, 2);
    hang_up(client);
    expect_event(worker, "ON_CLOSE 1 ");
    assert_int_equal(status(t).clients, 0);
    hang_up(worker);
    finish(t);
}

static void answers_in_order_on_one_link(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join(t);
    struct peer *asker = dial(t, &t->inner);
    struct peer *client = dial(t, &t->outer);

    expect_event(worker, "ON_CONNECT 1 ");
    command(asker, FRAME_BIND_UID, 1, "alice", "");
    command(asker, FRAME_GET_CLIENT_ID_BY_UID, 0, "alice", "");
    command(asker, FRAME_IS_ONLINE, 1, "", "");
    command(asker, FRAME_DESTROY, 1, "", "");
    command(asker, FRAME_IS_ONLINE, 1, "", "");
    expect_answer(asker, "a:1:{i:0;i:1;}");
    expect_answer(asker, "i:1;");
    expect_answer(asker, "i:0;");
    expect_event(worker, "ON_CLOSE 1 ");
    UNTIL(t, has_ended(client));
    hang_up(client);
    hang_up(asker);
    hang_up(worker);
    finish(t);
}

#define UPGRADE                                     \
    "GET /chat?room[]=1 HTTP/1.1\r\nHost: x\r\n"    \
    "Connection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\nCookie: a=b\r\n"  \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

/* Send the request and read its answer up to the empty line. */
static void upgrade(struct peer *client)
{
    const uint8_t *end = NULL;

    put_str(client, UPGRADE);
    UNTIL(client->t, end)
    {
        assert_false(client->ended);
        take(client);
        if (client->in.len > 0)
            end = memmem(client->in.data, client->in.len, "\r\n\r\n", 4);
    }
    assert_memory_equal(client->in.data, "HTTP/1.1 101", 12);
    buf_consume(&client->in, (size_t)(end - client->in.data) + 4);
}

static void tells_of_the_websocket_handshake(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct peer *worker = join_as(t, "w:0", close_info);
    struct peer *client = dial(t, &t->outer);

    upgrade(client);
    expect_event(worker, "ON_CONNECT 1 ");
    expect_event(worker,
        "ON_WEBSOCKET_CONNECT 1 a:3:{s:3:\"get\";a:1:{s:4:\"room\";a:1:{i:0;"
        "s:1:\"1\";}}s:6:\"server\";");
    put(client, "\x81\x82\0\0\0\0hi", 8);
    expect_event(worker, "ON_MESSAGE 1 hi");
    command(worker, FRAME_KICK, 1, "", "bye");
    expect_bytes(client,
        "\x81\x03"
        "bye\x88\x08\x03\xe8kicked",
        15);
    expect_event(worker, "ON_CLOSE 1 a:7:{s:3:\"uid\";N;s:6:\"groups\";a:0:{}"
                         "s:2:\"by\";s:6:\"script\";s:5:\"cause\";s:6:"
                         "\"kicked\";s:4:\"code\";i:1000;s:7:\"dropped\";i:0;"
                         "s:6:\"reason\";s:6:\"kicked\";}");
    hang_up(client);
    hang_up(worker);
    finish(t);
}

static struct test *serve_with_key(void)
{
    struct test *t = prepare(&proto_text);

    t->conf.secret_key = "the key";
    start(t);
    log_set_level(LOG_ERROR);
    return t;
}

static void expect_refused(struct test *t, uint8_t cmd, const char *body)
{
    struct peer *p = dial(t, &t->inner);

    command(p, cmd, 0, "", body);
    command(p, FRAME_IS_ONLINE, 1, "", "");
    UNTIL(t, has_ended(p));
    assert_int_equal(p->in.len, 0);
    hang_up(p);
}

static void wants_the_key_first(void **state)
{
    struct test *t = serve_with_key();
    struct peer *asker;

    expect_refused(t, FRAME_IS_ONLINE, "");
    expect_refused(t, FRAME_PING, "");
    expect_refused(t, FRAME_GATEWAY_CLIENT_CONNECT, "");
    expect_refused(t, FRAME_GATEWAY_CLIENT_CONNECT, "{}");
    expect_refused(t, FRAME_WORKER_CONNECT, "{\"secret_key\":\"the ke\"}");
    expect_refused(t, FRAME_WORKER_CONNECT, "{\"secret_key\":\"the key \"}");
    expect_refused(t, FRAME_WORKER_CONNECT,
        "{\"worker_key\":\"w:0\",\"secret_key\":\"THE KEY\"}");
    assert_int_equal(status(t).workers, 0);
    asker = dial(t, &t->inner);
    command(asker, FRAME_GATEWAY_CLIENT_CONNECT, 0, "",
        "{\"secret_key\":\"the key\"}");
    command(asker, FRAME_IS_ONLINE, 1, "", "");
    expect_answer(asker, "i:0;");
    hang_up(asker);
    finish(t);
}

static void takes_large_packets_only_after_the_key(void **state)
{
    static const uint8_t huge[] = {0, 2, 0, 0, FRAME_SEND_TO_ALL};
    struct test *t = serve_with_key();
    struct peer *stranger = dial(t, &t->inner);
    struct peer *known = dial(t, &t->inner);
    struct frame f = {.cmd = FRAME_SEND_TO_ALL, .flag = FRAME_FLAG_STRING};
    struct buf packet = {0};
    size_t len = 200 * 1024;

    put(stranger, huge, sizeof(huge));
    UNTIL(t, has_ended(stranger));
    f.body = xcalloc(1, len);
    f.body_len = len;
    frame_encode(&packet, &f);
    command(known, FRAME_GATEWAY_CLIENT_CONNECT, 0, "",
        "{\"secret_key\":\"the key\"}");
    put(known, packet.data, packet.len);
    command(known, FRAME_IS_ONLINE, 1, "", "");
    expect_answer(known, "i:0;");
    free((void *)f.body);
    buf_fini(&packet);
    hang_up(stranger);
    hang_up(known);
    finish(t);
}

static void closes_links_that_send_garbage(void **state)
{
    static const uint8_t bad[][4] = {{0, 0, 0, 0}, {0, 0, 0, 27},
        {0xff, 0xff, 0xff, 0xff}, {0x7f, 0xff, 0xff, 0xff}};
    struct test *t = serve(&proto_text);
    struct peer *p;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        p = dial(t, &t->inner);
        put(p, bad[i], sizeof(bad[i]));
        UNTIL(t, has_ended(p));
        hang_up(p);
    }
    p = dial(t, &t->inner); /* ext_len past the packet */
    put(p, "\0\0\0\x1c\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\0\0\0\0\0\1", 28);
    UNTIL(t, has_ended(p));
    hang_up(p);
    finish(t);
}

static void gives_a_lost_workers_clients_to_another(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *first = join_as(t, "w:0", NULL);
    struct peer *client = dial(t, &t->outer);
    struct peer *second;

    expect_event(first, "ON_CONNECT 1 ");
    hang_up(first);
    UNTIL(t, status(t).workers == 0);
    put_str(client, "held\n");
    UNTIL(t, status(t).events_held == 1);
    assert_int_equal(status(t).clients_paused, 1);
    put_str(client, "in the socket\n");
    second = join_as(t, "w:1", NULL);
    expect_event(second, "ON_MESSAGE 1 held");
    expect_event(second, "ON_MESSAGE 1 in the socket");
    assert_int_equal(status(t).clients_paused, 0);
    hang_up(client);
    expect_event(second, "ON_CLOSE 1 ");
    hang_up(second);
    finish(t);
}

static void tells_of_closes_that_no_worker_saw(void **state)
{
    struct test *t = prepare(&proto_text);
    struct peer *left;
    struct peer *thrown_out;
    struct peer *asker;
    struct peer *worker;

    t->conf.accept_before_ready = true;
    start(t);
    UNTIL(t, t->ready);
    left = dial(t, &t->outer);
    UNTIL(t, status(t).clients == 1);
    thrown_out = dial(t, &t->outer);
    UNTIL(t, status(t).clients == 2);
    hang_up(left); /* nobody reads: not seen before a worker is there */
    asker = dial(t, &t->inner);
    command(asker, FRAME_DESTROY, 2, "", "");
    UNTIL(t, status(t).events_held == 3);
    assert_int_equal(status(t).clients, 1);
    worker = join(t);
    expect_event(worker, "ON_CONNECT 1 ");
    expect_event(worker, "ON_CONNECT 2 ");
    expect_event(worker, "ON_CLOSE 2 ");
    expect_event(worker, "ON_CLOSE 1 ");
    hang_up(thrown_out);
    hang_up(asker);
    hang_up(worker);
    finish(t);
}

static void replaces_a_worker_that_comes_again(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *old = join(t);
    struct peer *client = dial(t, &t->outer);
    struct peer *again = dial(t, &t->inner);

    expect_event(old, "ON_CONNECT 1 ");
    command(again, FRAME_WORKER_CONNECT, 0, "",
        "{\"worker_key\":\"w:0\",\"secret_key\":\"\"}");
    UNTIL(t, has_ended(old));
    assert_int_equal(status(t).workers, 1);
    put_str(client, "x\n");
    expect_event(again, "ON_MESSAGE 1 x");
    hang_up(old);
    hang_up(client);
    hang_up(again);
    finish(t);
}

/* A worker that does not read: the flood waits in its client's socket. */
static void holds_back_a_flood_without_loss(void **state)
{
    struct test *t = prepare(&proto_text);
    struct peer *worker;
    struct peer *client;
    char line[1024];
    int sent = 0;
    int got = 0;

    t->conf.worker_high_water = 64 * 1024;
    start(t);
    worker = join(t);
    client = dial(t, &t->outer);
    expect_event(worker, "ON_CONNECT 1 ");
    memset(line, 'x', sizeof(line));
    for (uint64_t begun = uv_hrtime(); status(t).clients_paused == 0;) {
        char number[16];

        snprintf(number, sizeof(number), "%07d", sent);
        memcpy(line, number, 7);
        line[sizeof(line) - 1] = '\n';
        put(client, line, sizeof(line));
        sent++;
        turn_once(t, begun);
    }
    assert_int_equal(status(t).events_dropped, 0);
    while (got < sent) {
        char want[32];

        snprintf(want, sizeof(want), "ON_MESSAGE 1 %07d", got++);
        expect_event(worker, want);
    }
    UNTIL(t, status(t).clients_paused == 0);
    put_str(client, "last\n");
    expect_event(worker, "ON_MESSAGE 1 last");
    hang_up(client);
    hang_up(worker);
    finish(t);
}

/* One who asks without reading the answers is not read from in the end. */
static void makes_askers_who_do_not_read_wait(void **state)
{
    struct test *t = prepare(&proto_text);
    struct buf session = {0};
    struct frame f = {.cmd = FRAME_GET_SESSION_BY_CLIENT_ID,
        .flag = FRAME_FLAG_STRING,
        .connection_id = 1};
    struct frame set = {.cmd = FRAME_SET_SESSION, .connection_id = 1};
    struct buf ask = {0};
    struct peer *worker;
    struct peer *client;
    struct peer *asker;
    int answers = 400;

    t->conf.worker_high_water = 64 * 1024;
    start(t);
    worker = join(t);
    client = dial(t, &t->outer);
    asker = dial(t, &t->inner);
    expect_event(worker, "ON_CONNECT 1 ");
    buf_append_str(&session, "s:100000:\"");
    memset(buf_extend(&session, 100000), 'x', 100000);
    buf_append_str(&session, "\";");
    set.ext = session.data;
    set.ext_len = session.len;
    frame_encode(&ask, &set);
    for (int i = 0; i < answers; i++)
        frame_encode(&ask, &f);
    put(asker, ask.data, ask.len);
    for (int i = 0; i < 50; i++)
        uv_run(&t->loop, UV_RUN_ONCE);
    assert_true(status(t).commands_in < (uint64_t)answers);
    for (int i = 0; i < answers; i++) {
        uint8_t head[4] = {0, 1, 0x86, 0xac};

        expect_bytes(asker, head, 4);
        expect_bytes(asker, session.data, session.len);
    }
    buf_fini(&session);
    buf_fini(&ask);
    hang_up(client);
    hang_up(asker);
    hang_up(worker);
    finish(t);
}

static struct peer *dial_upgraded(struct test *t)
{
    struct peer *client = dial(t, &t->outer);

    upgrade(client);
    return client;
}

/* With few pings or none, and where there is no ping that must be answered. */
static void ends_silent_clients_where_it_is_told_to(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        double ping_interval;
    } cases[] = {
        {&proto_text, GATEWAY_PING_INTERVAL},
        {&proto_text, 0},
        {&proto_websocket, 0},
        {&proto_websocket, 3600},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test *t = prepare(cases[i].protocol);
        struct peer *worker;
        struct peer *client;

        t->conf.ping_interval = cases[i].ping_interval;
        t->conf.idle_timeout = 0.2;
        start(t);
        worker = join(t);
        client = cases[i].protocol == &proto_websocket ? dial_upgraded(t)
                                                       : dial(t, &t->outer);
        expect_event(worker, "ON_CONNECT 1 ");
        UNTIL(t, has_ended(client));
        hang_up(client);
        hang_up(worker);
        finish(t);
    }
}

/* Let time pass until a ping comes. */
static void expect_ping(struct peer *client, struct clock *clock)
{
    UNTIL(client->t, (clock->now += 5, has(client, 2)));
    expect_bytes(client, "\x89\0", 2);
}

/* A gateway that pings often, on a clock of the test's. */
static struct test *start_pinging(struct clock *clock)
{
    struct test *t = prepare(&proto_websocket);

    t->loop.data = clock;
    t->conf.ping_interval = 0.05;
    t->conf.idle_timeout = 0.3;
    start(t);
    return t;
}

static void pings_silent_websockets_and_ends_dead_ones(void **state)
{
    struct clock clock = {.now = 1000};
    struct test *t = start_pinging(&clock);
    struct peer *worker = join_as(t, "w:0", close_info);
    struct peer *client = dial_upgraded(t);

    expect_event(worker, "ON_CONNECT 1 ");
    expect_event(worker, "ON_WEBSOCKET_CONNECT 1 ");
    expect_ping(client, &clock);
    expect_ping(client, &clock);
    UNTIL(t, (clock.now += 5, has_ended(client)));
    expect_event(worker,
        "ON_CLOSE 1 a:6:{s:3:\"uid\";N;s:6:\"groups\";a:0:{}s:2:\"by\";"
        "s:6:\"server\";s:5:\"cause\";s:7:\"timeout\";s:4:\"code\";i:1006;"
        "s:7:\"dropped\";i:0;}");
    hang_up(client);
    hang_up(worker);
    finish(t);
}

static void keeps_clients_that_answer_pings(void **state)
{
    struct clock clock = {.now = 1000};
    struct test *t = start_pinging(&clock);
    struct peer *worker = join(t);
    struct peer *client = dial_upgraded(t);

    for (int i = 0; i < 12; i++) {
        expect_ping(client, &clock);
        put(client, "\x8a\x81\0\0\0\0p", 7);
    }
    assert_int_equal(status(t).clients, 1);
    hang_up(client);
    hang_up(worker);
    finish(t);
}

static void blames_no_client_for_its_own_pause(void **state)
{
    struct clock clock = {.now = 1000};
    struct test *t = start_pinging(&clock);
    struct peer *worker = join(t);
    struct peer *client = dial_upgraded(t);

    clock.now += 60000;
    expect_ping(client, &clock);
    put(client, "\x8a\x81\0\0\0\0p", 7);
    expect_ping(client, &clock);
    UNTIL(t, (clock.now += 5, has_ended(client))); /* silent once more */
    hang_up(client);
    hang_up(worker);
    finish(t);
}

static void pings_with_data_as_gatewayworker(void **state)
{
    static const char pings[] = "{\"type\":\"ping\"}\n{\"type\":\"ping\"}\n";
    struct test *t = prepare(&proto_text);
    struct clock clock = {.now = 1000};
    struct peer *worker;
    struct peer *client;

    t->loop.data = &clock;
    t->conf.ping_interval = 0.1;
    t->conf.ping_data = "{\"type\":\"ping\"}";
    t->conf.ping_not_response_limit = 3;
    start(t);
    worker = join(t);
    client = dial(t, &t->outer);
    expect_event(worker, "ON_CONNECT 1 ");
    UNTIL(t, (clock.now += 5, has(client, strlen(pings))));
    expect_str(client, pings);
    UNTIL(t, (clock.now += 5, has_ended(client)));
    expect_event(worker, "ON_CLOSE 1 ");
    hang_up(client);
    hang_up(worker);
    finish(t);
}

/* One word in each round, however late in it. */
static void sends_no_ping_data_to_who_spoke_since_the_last_one(void **state)
{
    for (unsigned limit = 0; limit < 2; limit++) {
        struct test *t = prepare(&proto_text);
        struct clock clock = {.now = 1000};
        struct peer *worker;
        struct peer *client;

        t->loop.data = &clock;
        t->conf.ping_interval = 0.1;
        t->conf.ping_data = "ping";
        t->conf.ping_not_response_limit = limit;
        start(t);
        worker = join(t);
        client = dial(t, &t->outer);
        expect_event(worker, "ON_CONNECT 1 ");
        clock.now += 50;
        for (int i = 0; i < 10; i++) {
            put_str(client, "here\n");
            expect_event(worker, "ON_MESSAGE 1 here");
            for (int ms = 0; ms < 100; ms += 5) {
                clock.now += 5;
                uv_run(&t->loop, UV_RUN_ONCE);
            }
        }
        assert_false(has(client, 1));
        UNTIL(t, (clock.now += 5, has(client, 5)));
        expect_str(client, "ping\n");
        hang_up(client);
        hang_up(worker);
        finish(t);
    }
}

static void answers_a_clients_heartbeat_itself(void **state)
{
    static const char said[] = "ping\npings\npin\nping\n";
    struct test *t = prepare(&proto_text);
    struct peer *worker;
    struct peer *client;

    t->conf.client_ping = "ping";
    t->conf.client_pong = "pong";
    start(t);
    worker = join(t);
    client = dial(t, &t->outer);
    expect_event(worker, "ON_CONNECT 1 ");
    put(client, said, strlen(said));
    expect_str(client, "pong\npong\n");
    expect_event(worker, "ON_MESSAGE 1 pings");
    expect_event(worker, "ON_MESSAGE 1 pin");
    hang_up(client);
    expect_event(worker, "ON_CLOSE 1 ");
    hang_up(worker);
    finish(t);
}

static void says_goodbye_and_delivers_every_close(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct peer *worker = join(t);
    struct peer *clients[3];

    for (uint32_t i = 0; i < 3; i++) {
        clients[i] = dial(t, &t->outer);
        upgrade(clients[i]);
    }
    UNTIL(t, status(t).clients == 3);
    gateway_stop(t->gateway, 5);
    for (int i = 0; i < 3; i++) {
        expect_bytes(clients[i], "\x88\x0c\x03\xe9going away", 14);
        put(clients[i], "\x88\x82\0\0\0\0\x03\xe9", 8);
        UNTIL(t, has_ended(clients[i]));
        hang_up(clients[i]);
    }
    UNTIL(t, t->stopped);
    for (uint32_t i = 1; i <= 3; i++) {
        char want[64];

        snprintf(want, sizeof(want), "ON_CONNECT %u ", i);
        expect_event(worker, want);
        snprintf(want, sizeof(want), "ON_WEBSOCKET_CONNECT %u ", i);
        expect_event(worker, want);
    }
    for (int i = 0; i < 3; i++)
        expect_event(worker, "ON_CLOSE ");
    UNTIL(t, has_ended(worker));
    hang_up(worker);
    finish(t);
}

static void gives_up_on_clients_that_stay_at_the_end(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join(t);
    struct peer *client = dial(t, &t->outer);

    expect_event(worker, "ON_CONNECT 1 ");
    gateway_stop(t->gateway, 0.05);
    UNTIL(t, t->stopped);
    assert_int_equal(status(t).clients, 0);
    hang_up(client);
    hang_up(worker);
    finish(t);
}

/* Nobody who connects to the gateway's port waits there in vain. */
static void expect_nobody_listens(struct test *t)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    errno = 0;
    assert_int_equal(connect(fd, &t->outer.sa, addr_len(&t->outer)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
}

static void a_port_that_is_left_can_be_listened_on_again(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join(t);

    UNTIL(t, t->ready);
    gateway_stop(t->gateway, 5);
    expect_nobody_listens(t);
    assert_int_equal(listen(t->held_fd, 1), 0);
    hang_up(dial(t, &t->outer));
    hang_up(worker);
    finish(t);
}

static void waits_until_the_last_client_has_left(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join(t);
    struct peer *client = dial(t, &t->outer);

    expect_event(worker, "ON_CONNECT 1 ");
    gateway_stop_when_empty(t->gateway);
    expect_nobody_listens(t);
    put_str(client, "still here\n");
    expect_event(worker, "ON_MESSAGE 1 still here");
    assert_int_equal(t->stopped, 0);
    hang_up(client);
    UNTIL(t, t->stopped);
    expect_event(worker, "ON_CLOSE 1 ");
    hang_up(worker);
    finish(t);
}

static void never_gives_an_id_twice_over_restarts(void **state)
{
    char path[] = "ids-XXXXXX";
    struct test *t = prepare(&proto_text);

    t->ids_fd = mkstemp(path);
    unlink(path);
    for (uint32_t run = 0; run < 3; run++) {
        char want[64];
        struct peer *worker;
        struct peer *client;

        start(t);
        worker = join(t);
        client = dial(t, &t->outer);
        snprintf(want, sizeof(want), "ON_CONNECT %u ", run * IDS_BLOCK + 1);
        expect_event(worker, want);
        end(t);
        hang_up(client);
        hang_up(worker);
    }
    finish(t);
}

static void shows_its_clients(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join(t);
    struct peer *client = dial(t, &t->outer);
    struct gateway_client_row row;
    uint32_t *ids;

    expect_event(worker, "ON_CONNECT 1 ");
    put_str(client, "hi\n");
    expect_event(worker, "ON_MESSAGE 1 hi");
    command(worker, FRAME_BIND_UID, 1, "alice", "");
    command(worker, FRAME_JOIN_GROUP, 1, "room", "");
    UNTIL(t, status(t).groups == 1 && status(t).uids == 1);
    assert_int_equal(
        gateway_client_ids(t->gateway, &(struct gateway_pick){0}, &ids), 1);
    assert_true(gateway_client_row(t->gateway, ids[0], &row));
    assert_int_equal(strlen(row.client_id), 20);
    assert_string_equal(row.client_id + 12, "00000001");
    assert_string_equal(row.uid, "alice");
    assert_int_equal(row.groups, 1);
    assert_int_equal(row.bytes_in, 3);
    assert_true(row.idle >= 0 && row.idle <= row.connected);
    assert_true(strncmp(row.peer, "127.0.0.1:", 10) == 0);
    hang_up(client);
    UNTIL(t, status(t).clients == 0);
    assert_false(gateway_client_row(t->gateway, ids[0], &row));
    free(ids);
    hang_up(worker);
    finish(t);
}

static void a_banned_address_may_be_written_as_one_of_ipv6(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join(t);
    struct peer *client = dial(t, &t->outer);

    expect_event(worker, "ON_CONNECT 1 ");
    assert_int_equal(
        gateway_ban_address(t->gateway, "::ffff:127.0.0.1", 3600), 1);
    UNTIL(t, has_ended(client));
    hang_up(client);
    hang_up(worker);
    finish(t);
}

static void leaves_the_sockets_to_the_caller_when_it_cannot_start(void **state)
{
    struct test *t = prepare(&proto_text);
    char path[] = "ids-XXXXXX";
    struct gateway_slot slot = {
        .client_fd = bind_any(&t->outer),
        .inner_fd = bind_any(&t->inner),
        .ids_fd = mkstemp(path),
    };
    char err[256] = "";

    unlink(path);
    assert_int_equal(write(slot.ids_fd, "garbage", 7), 7);
    assert_int_equal(
        gateway_new(&t->gateway, &t->loop, &t->conf, &slot, &events, t, err),
        -EINVAL);
    assert_non_null(strstr(err, "connection ids"));
    t->conf.lan_ip = "localhost";
    assert_int_equal(
        gateway_new(&t->gateway, &t->loop, &t->conf, &slot, &events, t, err),
        -EINVAL);
    assert_non_null(strstr(err, "localhost"));
    assert_int_equal(close(slot.client_fd), 0);
    assert_int_equal(close(slot.inner_fd), 0);
    assert_int_equal(close(slot.ids_fd), 0);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listens_when_the_first_worker_is_there),
        cmocka_unit_test(carries_messages_both_ways),
        cmocka_unit_test(answers_in_order_on_one_link),
        cmocka_unit_test(tells_of_the_websocket_handshake),
        cmocka_unit_test(wants_the_key_first),
        cmocka_unit_test(takes_large_packets_only_after_the_key),
        cmocka_unit_test(closes_links_that_send_garbage),
        cmocka_unit_test(gives_a_lost_workers_clients_to_another),
        cmocka_unit_test(tells_of_closes_that_no_worker_saw),
        cmocka_unit_test(replaces_a_worker_that_comes_again),
        cmocka_unit_test(holds_back_a_flood_without_loss),
        cmocka_unit_test(makes_askers_who_do_not_read_wait),
        cmocka_unit_test(pings_silent_websockets_and_ends_dead_ones),
        cmocka_unit_test(ends_silent_clients_where_it_is_told_to),
        cmocka_unit_test(keeps_clients_that_answer_pings),
        cmocka_unit_test(blames_no_client_for_its_own_pause),
        cmocka_unit_test(pings_with_data_as_gatewayworker),
        cmocka_unit_test(sends_no_ping_data_to_who_spoke_since_the_last_one),
        cmocka_unit_test(answers_a_clients_heartbeat_itself),
        cmocka_unit_test(says_goodbye_and_delivers_every_close),
        cmocka_unit_test(gives_up_on_clients_that_stay_at_the_end),
        cmocka_unit_test(waits_until_the_last_client_has_left),
        cmocka_unit_test(a_port_that_is_left_can_be_listened_on_again),
        cmocka_unit_test(never_gives_an_id_twice_over_restarts),
        cmocka_unit_test(shows_its_clients),
        cmocka_unit_test(a_banned_address_may_be_written_as_one_of_ipv6),
        cmocka_unit_test(leaves_the_sockets_to_the_caller_when_it_cannot_start),
    };

    return cmocka_run_group_tests_name("gateway.gateway", tests, NULL, NULL);
}
