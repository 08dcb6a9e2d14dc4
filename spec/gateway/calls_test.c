/* Requests between clients and workers, with raw sockets as the workers: which
 * one gets a request, what becomes of it when that is lost, and what answers
 * are taken. */
#include "gateway_fixture.h"

#include "../support/tempdir.h"
#include "proc/claims.h"
#include "wire/ack.h"
#include "wire/answer.h"
#include "wire/bigendian.h"
#include "wire/httpcall.h"

#define GET    "GET /a?b=1 HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\r\n"
#define FIELDS 16

static const char *const answers[] = {"ack", "request", "on_request", NULL};

/* A worker's two links: commands, and events. */
struct worker {
    struct peer *commands, *events;
};

static struct test *t;
static struct peer *client;

static const char *machine;      /* what workers say; NULL: nothing */
static char pages[TEMPDIR_SIZE]; /* prefix of claims */

static void say(struct peer *p, uint8_t cmd, const char *key, const char *pair,
    const char *const *features)
{
    const struct cmdjson_tokens tokens = {
        .pair = pair, .process = "A", .machine = machine};
    struct buf json = {0};

    cmdjson_put_auth(&json, key, t->conf.secret_key, features, &tokens);
    buf_append_byte(&json, 0);
    command(p, cmd, 0, "", (char *)json.data);
    buf_fini(&json);
}

static unsigned pairs;
static char last_pair[16];

static struct worker join_acking(const char *key, const char *const *features)
{
    static const char *const none[] = {NULL};
    struct worker w = {dial(t, &t->inner), dial(t, &t->inner)};
    size_t before = status(t).workers;

    snprintf(last_pair, sizeof(last_pair), "%u", ++pairs);
    say(w.commands, FRAME_GATEWAY_CLIENT_CONNECT, NULL, last_pair, none);
    say(w.events, FRAME_WORKER_CONNECT, key, last_pair, features);
    UNTIL(t, status(t).workers > before);
    UNTIL(t, t->ready);
    return w;
}

static void leave(struct worker *w)
{
    hang_up(w->events);
    hang_up(w->commands);
}

static void prepare_calls(size_t response_max)
{
    t = prepare(&proto_http);
    t->conf.response_max = response_max;
    t->conf.clients.body_max = PORT_BODY_MAX;
    t->conf.clients.body_timeout = PORT_BODY_TIMEOUT;
    t->conf.clients.request_timeout = PORT_REQUEST_TIMEOUT;
    t->conf.clients.keepalive_timeout = PORT_KEEPALIVE_TIMEOUT;
}

static void serve_calls(void)
{
    tempdir_make(pages);
    prepare_calls(100);
    t->conf.machine = "here";
    t->conf.claims = pages;
    start(t);
    machine = NULL;
}

/* The next packet with that command; its bytes stay until forget(). */
static size_t next(struct peer *p, uint8_t cmd, struct frame *f)
{
    for (;;) {
        size_t len;

        UNTIL(t, (len = packet_len(p)) > 0)
        assert_false(p->ended);
        assert_int_equal(frame_decode(f, p->in.data, len), 0);
        if (f->cmd == cmd)
            return len;
        buf_consume(&p->in, len);
    }
}

/* The number of the request that this worker gets next. */
static uint32_t get_request(const struct worker *w)
{
    struct httphead_field fields[FIELDS];
    struct httpcall call = {.head = {.fields = fields, .max = FIELDS}};
    struct frame f;
    size_t len = next(w->events, FRAME_REQUEST, &f);
    uint32_t number = f.connection_id;

    assert_int_equal(f.flag, FRAME_FLAG_STRING | FRAME_FLAG_BEHIND);
    assert_int_equal(f.ext_len, 4);
    assert_int_equal(get32(f.ext), 100);
    assert_int_equal(httpcall_read(&call, f.body, f.body_len), 0);
    assert_string_equal(call.head.method, "GET");
    assert_string_equal(call.head.target, "/a?b=1");
    assert_string_equal(httphead_find(&call.head, "x-a"), "b");
    assert_string_equal(call.remote_addr, "127.0.0.1");
    assert_int_equal(call.server_port, addr_port(&t->outer));
    buf_consume(&w->events->in, len);
    return number;
}

/* The number of the next one, whatever it says. */
static uint32_t get_any(const struct worker *w)
{
    struct frame f;
    size_t len = next(w->events, FRAME_REQUEST, &f);
    uint32_t number = f.connection_id;

    buf_consume(&w->events->in, len);
    return number;
}

/* The same of a worker of this machine, and its page. */
static struct worker join_with_page(const char *key, struct claims **page)
{
    static const char *const features[] = {
        "ack", "claims", "request", "on_request", NULL};
    struct worker w;
    struct frame f;
    size_t len;

    machine = "here";
    w = join_acking(key, features);
    machine = NULL;
    len = next(w.events, FRAME_CLAIMS, &f);
    assert_int_equal(claims_open(page, pages, f.body, f.body_len), 0);
    buf_consume(&w.events->in, len);
    claims_join_requests(*page, 0);
    return w;
}

static void ask(const char *text)
{
    client = dial(t, &t->outer);
    put_str(client, text);
}

static void put_frame(
    struct peer *p, uint8_t cmd, uint32_t number, const void *body, size_t len)
{
    struct frame f = {
        .cmd = cmd, .connection_id = number, .body = body, .body_len = len};
    struct buf packet = {0};

    frame_encode(&packet, &f);
    put(p, packet.data, packet.len);
    buf_fini(&packet);
}

static void begin(const struct worker *w, uint32_t number)
{
    uint8_t body[4];

    put32(body, number);
    put_frame(w->commands, FRAME_REQUEST_BEGUN, 0, body, sizeof(body));
}

static void answer(const struct worker *w, uint32_t number, unsigned status,
    const char *header, const char *body)
{
    struct buf said = {0};

    answer_put_status(&said, status);
    if (header)
        answer_put(&said, ANSWER_HEADER, header, strlen(header));
    answer_put(&said, ANSWER_BODY, body, strlen(body));
    put_frame(w->events, FRAME_REQUEST, number, said.data, said.len);
    buf_fini(&said);
}

/* The client gets that status, and the connection goes on. */
static void expect_status(unsigned want)
{
    char line[32];

    snprintf(line, sizeof(line), "HTTP/1.1 %u ", want);
    expect_str(client, line);
}

static bool has_text(const char *text)
{
    return client->in.len > 0 &&
           memmem(client->in.data, client->in.len, text, strlen(text)) != NULL;
}

static void end_all(void)
{
    hang_up(client);
    UNTIL(t, status(t).port.connections == 0);
    finish(t);
}

static void one_worker_answers(void **state)
{
    struct worker w;
    uint32_t number;

    serve_calls();
    w = join_acking("w:0", answers);
    ask(GET);
    number = get_request(&w);
    begin(&w, number);
    answer(&w, number + 1, 200, NULL, "of nobody");
    answer(&w, number, 201, "X-C: d", "body");
    expect_status(201);
    answer(&w, number, 202, NULL, "too late");
    put_str(client, GET);
    answer(&w, get_request(&w), 203, NULL, "again");
    UNTIL(t, (take(client), has_text("\r\n\r\nagain")));
    assert_false(has_text("late"));
    assert_int_equal(status(t).port.requests, 2);
    leave(&w);
    end_all();
}

static void an_answer_may_come_behind_the_commands(void **state)
{
    struct buf said = {0};
    struct worker w;
    uint32_t number;

    serve_calls();
    w = join_acking("w:0", answers);
    ask(GET);
    number = get_request(&w);
    begin(&w, number);
    answer_put_status(&said, 202);
    put_frame(w.commands, FRAME_REQUEST, number, said.data, said.len);
    buf_fini(&said);
    expect_status(202);
    leave(&w);
    end_all();
}

static void expect_again(struct worker *first, uint32_t number)
{
    struct worker second = join_acking("w:1", answers);

    leave(first);
    assert_int_equal(get_request(&second), number);
    begin(&second, number);
    answer(&second, number, 200, NULL, "second");
    expect_status(200);
    assert_int_equal(status(t).requests_again, 1);
    assert_int_equal(status(t).requests_lost, 0);
    leave(&second);
    end_all();
}

static void expect_lost(struct worker *first)
{
    struct worker second = join_acking("w:1", answers);

    leave(first);
    expect_status(502);
    assert_int_equal(status(t).requests_again, 0);
    assert_int_equal(status(t).requests_lost, 1);
    leave(&second);
    end_all();
}

/* It lives, and comes to the request later: it does not begin. */
static void what_has_not_begun_goes_to_another(void **state)
{
    struct claims *page;
    struct worker first;

    serve_calls();
    first = join_with_page("w:0", &page);
    ask(GET);
    expect_again(&first, get_request(&first));
    assert_false(claims_begin_request(page));
    claims_close(page);
}

/* Its last word was still in the process when it was killed. */
static void what_has_begun_in_the_turn_of_a_kill_does_not(void **state)
{
    struct claims *page;
    struct worker first;
    uint32_t number;

    serve_calls();
    first = join_with_page("w:0", &page);
    ask(GET);
    number = get_request(&first);
    assert_true(claims_begin_request(page));
    begin(&first, number);
    answer(&first, number, 200, NULL, "first");
    expect_status(200);
    hang_up(client);
    ask(GET);
    get_request(&first);
    assert_true(claims_begin_request(page));
    expect_lost(&first);
    claims_close(page);
}

/* Nobody knows, without a page. */
static void what_may_have_begun_does_not(void **state)
{
    struct worker first;

    serve_calls();
    first = join_acking("w:0", answers);
    ask(GET);
    get_request(&first);
    expect_lost(&first);
}

/* A worker of another machine that ends in order says what it leaves, behind
 * all that it has begun. */
static void what_a_last_word_leaves_goes_to_another(void **state)
{
    static const char *const features[] = {
        "ack", "left", "request", "on_request", NULL};
    struct buf body = {0}, none = {0};
    struct worker first;
    uint32_t number;

    serve_calls();
    first = join_acking("w:0", features);
    ask(GET);
    number = get_request(&first);
    ack_put_left(&body, last_pair, 0, &none);
    put_frame(first.commands, FRAME_LEFT, 0, body.data, body.len);
    buf_fini(&body);
    expect_again(&first, number);
}

static void what_has_begun_does_not(void **state)
{
    struct worker first, second;

    serve_calls();
    first = join_acking("w:0", answers);
    ask(GET);
    begin(&first, get_request(&first));
    second = join_acking("w:1", answers);
    leave(&first);
    expect_status(502);
    assert_int_equal(status(t).requests_again, 0);
    assert_int_equal(status(t).requests_lost, 1);
    leave(&second);
    end_all();
}

static void without_another_worker_it_is_503(void **state)
{
    struct claims *page;
    struct worker w;

    serve_calls();
    w = join_with_page("w:0", &page);
    ask(GET);
    get_request(&w);
    leave(&w);
    claims_close(page);
    expect_status(503);
    hang_up(client);
    ask(GET); /* it had the callback when it was here */
    expect_status(503);
    end_all();
}

static void an_answer_that_is_not_valid_is_502(void **state)
{
    static const struct {
        unsigned status;
        const char *header, *body;
    } table[] = {
        {100, NULL, ""},
        {600, NULL, ""},
        {200, "Content-Length: 1", ""},
        {200, "X: a\r\nY: b", ""},
        {200, NULL,
            "more than a hundred bytes ........................................"
            "...................................................."},
    };
    struct worker w;

    serve_calls();
    w = join_acking("w:0", answers);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        ask(GET);
        answer(&w, get_request(&w), table[i].status, table[i].header,
            table[i].body);
        expect_status(502);
        hang_up(client);
    }
    assert_int_equal(status(t).requests_lost, 5);
    ask(GET);
    put_frame(w.events, FRAME_REQUEST, get_request(&w), "abc", 3);
    expect_status(502);
    leave(&w);
    end_all();
}

/* The client is gone, and not only silent from now on. */
static void reset(void)
{
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER,
        &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    hang_up(client);
}

static void who_left_is_forgotten(void **state)
{
    struct worker w;
    uint32_t number;

    serve_calls();
    w = join_acking("w:0", answers);
    ask("GET /a?b=1 HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\r\n");
    number = get_request(&w);
    reset();
    UNTIL(t, status(t).port.connections == 0);
    answer(&w, number, 200, NULL, "nobody");
    ask(GET);
    answer(&w, get_request(&w), 200, NULL, "somebody");
    expect_status(200);
    leave(&w);
    end_all();
}

/* A request with a body of so many bytes. */
static void post(size_t len)
{
    char *body = xcalloc(1, len);
    char head[100];

    snprintf(head, sizeof(head),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
    ask(head);
    put(client, body, len);
    free(body);
}

static void what_has_not_begun_counts_as_unfinished(void **state)
{
    struct peer *first;
    struct worker w;
    uint32_t number;

    prepare_calls(100);
    t->conf.clients.unfinished_total_max = 500000;
    start(t);
    w = join_acking("w:0", answers);
    post(200000);
    first = client;
    UNTIL(t, status(t).port.requests == 1);
    assert_in_range(status(t).port.unfinished, 200000, 201000);
    post(300000); /* the first cannot be taken back, so it is this one */
    expect_status(503);
    hang_up(client);
    assert_int_equal(status(t).port.unfinished_closed, 1);
    post(60000); /* more than half of the limit */
    expect_status(503);
    hang_up(client);
    assert_int_equal(status(t).port.unfinished_closed, 1);
    assert_int_equal(status(t).port.requests, 1);
    number = get_any(&w);
    begin(&w, number);
    UNTIL(t, status(t).port.unfinished == 0);
    post(100000);
    UNTIL(t, status(t).port.requests == 2);
    assert_in_range(status(t).port.unfinished, 100000, 101000);
    reset();
    UNTIL(t, status(t).port.unfinished == 0);
    answer(&w, number, 200, NULL, "first");
    client = first;
    expect_status(200);
    leave(&w);
    end_all();
}

/* A client that reads nothing has an answer of so many bytes under way. */
static struct peer *stall(const struct worker *w, size_t len)
{
    char *body = xcalloc(1, len + 1);
    uint64_t sent = status(t).port.bytes_out;
    int room = 4096;

    memset(body, 'x', len);
    client = dial(t, &t->outer);
    setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    put_str(client, GET);
    answer(w, get_any(w), 200, NULL, body);
    UNTIL(t, status(t).port.bytes_out > sent);
    free(body);
    return client;
}

static void long_answers_have_a_limit_in_all(void **state)
{
    size_t mebi = (size_t)1024 * 1024;
    struct peer *slow;
    struct worker w;

    prepare_calls(8 * mebi);
    t->conf.clients.queue_total_max = 20 * mebi;
    start(t);
    w = join_acking("w:0", answers);
    slow = stall(&w, 8 * mebi);
    assert_in_range(status(t).port.queued, 8 * mebi, 8 * mebi + 1000);
    hang_up(stall(&w, 8 * mebi));
    assert_int_equal(status(t).port.overflow_closed, 1);
    assert_in_range(status(t).port.queued, 1, 8 * mebi + 1000);
    ask(GET);
    answer(&w, get_any(&w), 200, NULL, "short");
    expect_status(200);
    hang_up(client);
    hang_up(stall(&w, 3 * mebi)); /* no more than its share */
    assert_int_equal(status(t).port.overflow_closed, 1);
    client = slow;
    leave(&w);
    end_all();
}

static void only_scripts_that_want_them_get_requests(void **state)
{
    static const char *const none[] = {"ack", "request", NULL};
    struct worker w;
    struct frame f;

    serve_calls();
    w = join_acking("w:0", none);
    buf_consume(&w.events->in, next(w.events, FRAME_REQUEST_WATCH, &f));
    ask(GET);
    expect_status(404);
    hang_up(client);
    put_frame(w.events, FRAME_REQUEST_WATCH, 0, "1", 1);
    UNTIL(t, status(t).port.connections == 0);
    for (;;) { /* until the gateway has read that */
        char answer_line[12] = "";

        ask(GET);
        UNTIL(
            t, (take(client), client->in.len > 0 || packet_len(w.events) > 0));
        if (packet_len(w.events) > 0)
            break;
        memcpy(answer_line, client->in.data, sizeof(answer_line) - 1);
        assert_string_equal(answer_line, "HTTP/1.1 40");
        hang_up(client);
    }
    answer(&w, get_request(&w), 200, NULL, "now");
    expect_status(200);
    leave(&w);
    end_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_answers),
        cmocka_unit_test(an_answer_may_come_behind_the_commands),
        cmocka_unit_test(what_has_not_begun_goes_to_another),
        cmocka_unit_test(what_has_begun_in_the_turn_of_a_kill_does_not),
        cmocka_unit_test(what_may_have_begun_does_not),
        cmocka_unit_test(what_a_last_word_leaves_goes_to_another),
        cmocka_unit_test(what_has_begun_does_not),
        cmocka_unit_test(without_another_worker_it_is_503),
        cmocka_unit_test(an_answer_that_is_not_valid_is_502),
        cmocka_unit_test(who_left_is_forgotten),
        cmocka_unit_test(what_has_not_begun_counts_as_unfinished),
        cmocka_unit_test(long_answers_have_a_limit_in_all),
        cmocka_unit_test(only_scripts_that_want_them_get_requests),
    };

    return cmocka_run_group_tests_name("gateway.calls", tests, NULL, NULL);
}
