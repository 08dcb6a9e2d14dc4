/* Workers that acknowledge: what their two links bring and how they end; and
 * workers that want the key of another. */
#include "gateway_fixture.h"

#include "../support/tempdir.h"
#include "gateway/inner.h"
#include "net/clock.h"
#include "proc/claims.h"
#include "wire/ack.h"
#include "wire/bigendian.h"

/* A worker with both links. */
struct acking {
    struct peer *commands, *events;
};

static void turn(struct test *t, int times)
{
    while (times-- > 0)
        uv_run(&t->loop, UV_RUN_ONCE);
}

/* key NULL: on a link for commands. */
static void say(
    struct peer *p, const char *key, const char *pair, const char *machine)
{
    static const char *const ack[] = {"ack", NULL};
    const struct cmdjson_tokens tokens = {.pair = pair, .machine = machine};
    struct buf json = {0};

    cmdjson_put_auth(&json, key, p->t->conf.secret_key, ack, &tokens);
    buf_append_byte(&json, 0);
    command(p, key ? FRAME_WORKER_CONNECT : FRAME_GATEWAY_CLIENT_CONNECT, 0, "",
        (char *)json.data);
    buf_fini(&json);
}

static void expect_asked_to_acknowledge(struct peer *p)
{
    size_t len;
    struct frame f;

    UNTIL(p->t, (len = packet_len(p)) > 0);
    assert_int_equal(frame_decode(&f, p->in.data, len), 0);
    assert_int_equal(f.cmd, FRAME_ACK);
    buf_consume(&p->in, len);
}

static struct acking join_acking(struct test *t, const char *key)
{
    static unsigned pairs;
    struct acking w = {dial(t, &t->inner), dial(t, &t->inner)};
    char pair[16];

    snprintf(pair, sizeof(pair), "%u", ++pairs);
    say(w.commands, NULL, pair, NULL);
    say(w.events, key, pair, NULL);
    expect_asked_to_acknowledge(w.events);
    return w;
}

static void acknowledge(struct acking *w, uint32_t taken, uint32_t ended)
{
    struct buf none = {0}, body = {0}, packet = {0};
    struct frame f = {.cmd = FRAME_ACK};

    ack_put(&body, taken, ended, &none, &none);
    f.body = body.data;
    f.body_len = body.len;
    frame_encode(&packet, &f);
    put(w->commands, packet.data, packet.len);
    buf_fini(&body);
    buf_fini(&packet);
}

static void leave(struct acking *w)
{
    hang_up(w->events);
    hang_up(w->commands);
}

/* A client of worker a that has said "1" to "3", and a second worker b. */
struct scene {
    struct test *t;
    struct acking a, b;
    struct peer *client;
};

static struct scene set_scene(void)
{
    struct scene s = {.t = serve(&proto_text)};

    s.a = join_acking(s.t, "w:0");
    UNTIL(s.t, s.t->ready);
    s.client = dial(s.t, &s.t->outer);
    expect_event(s.a.events, "ON_CONNECT 1 ");
    s.b = join_acking(s.t, "w:1");
    put_str(s.client, "1\n2\n3\n");
    expect_event(s.a.events, "ON_MESSAGE 1 1");
    expect_event(s.a.events, "ON_MESSAGE 1 2");
    expect_event(s.a.events, "ON_MESSAGE 1 3");
    return s;
}

/* a is gone already. */
static void strike(struct scene *s)
{
    hang_up(s->client);
    leave(&s->b);
    finish(s->t);
}

/* The process is killed: what it wrote to one link may come after the end of
 * the other. */
static void waits_for_the_last_word_of_a_lost_worker(void **state)
{
    struct scene s = set_scene();

    hang_up(s.a.events);
    UNTIL(s.t, status(s.t).workers == 1);
    put_str(s.client, "4\n");
    UNTIL(s.t, status(s.t).events_held == 1);
    acknowledge(&s.a, 2, 2);
    hang_up(s.a.commands);
    expect_event(s.b.events, "ON_MESSAGE 1 2");
    expect_event(s.b.events, "ON_MESSAGE 1 3");
    expect_event(s.b.events, "ON_MESSAGE 1 4");
    assert_int_equal(status(s.t).events_again, 2);
    assert_int_equal(status(s.t).events_cut_off, 0);
    assert_int_equal(status(s.t).events_dropped, 0);
    assert_int_equal(status(s.t).events_unbegun, 3);
    strike(&s);
}

static void hang_in(struct acking *w, const char *number, size_t len)
{
    struct buf packet = {0};
    struct frame f = {
        .cmd = FRAME_HANGS, .body = (const uint8_t *)number, .body_len = len};

    frame_encode(&packet, &f);
    put(w->commands, packet.data, packet.len);
    buf_fini(&packet);
}

static void gives_nobody_the_event_that_hung_a_worker(void **state)
{
    struct scene s = set_scene();

    acknowledge(&s.a, 1, 1); /* ON_CONNECT */
    hang_in(&s.a, "\0\0\0\3", 4);
    leave(&s.a);
    expect_event(s.b.events, "ON_MESSAGE 1 1");
    expect_event(s.b.events, "ON_MESSAGE 1 3");
    assert_int_equal(status(s.t).events_again, 2);
    assert_int_equal(status(s.t).events_cut_off, 1);
    assert_int_equal(status(s.t).events_dropped, 0);
    strike(&s);
}

static void counts_an_event_that_hung_once(void **state)
{
    struct scene s = set_scene();

    hang_in(&s.a, "\0\0\0\2", 4);
    acknowledge(&s.a, 2, 1); /* it was known to run */
    leave(&s.a);
    expect_event(s.b.events, "ON_MESSAGE 1 2");
    expect_event(s.b.events, "ON_MESSAGE 1 3");
    assert_int_equal(status(s.t).events_cut_off, 1);
    strike(&s);
}

static void ends_a_worker_that_hangs_in_nothing(void **state)
{
    struct scene s = set_scene();

    hang_in(&s.a, "\0\0\3", 3);
    UNTIL(s.t, status(s.t).workers == 1);
    hang_up(s.a.events);
    hang_up(s.a.commands);
    strike(&s);
}

static void ends_the_event_link_when_the_other_one_ends(void **state)
{
    struct scene s = set_scene();

    acknowledge(&s.a, 3, 1);
    hang_up(s.a.commands);
    UNTIL(s.t, has_ended(s.a.events));
    hang_up(s.a.events);
    expect_event(s.b.events, "ON_MESSAGE 1 3");
    assert_int_equal(status(s.t).events_again, 1);
    assert_int_equal(status(s.t).events_cut_off, 2);
    strike(&s);
}

static void lets_a_worker_that_comes_again_start_anew(void **state)
{
    struct scene s = set_scene();
    struct acking again = join_acking(s.t, "w:0");

    UNTIL(s.t, has_ended(s.a.events));
    acknowledge(&s.a, 3, 3);
    leave(&s.a);
    UNTIL(s.t, status(s.t).events_again == 1);
    leave(&s.b); /* whoever has it now */
    UNTIL(s.t, status(s.t).workers == 1);
    expect_event(again.events, "ON_MESSAGE 1 3");
    s.b = again;
    strike(&s);
}

static void ends_a_worker_that_acknowledges_too_much(void **state)
{
    struct scene s = set_scene();

    acknowledge(&s.a, 5, 0);
    UNTIL(s.t, has_ended(s.a.commands));
    UNTIL(s.t, has_ended(s.a.events));
    leave(&s.a);
    assert_int_equal(status(s.t).workers, 1);
    assert_true(status(s.t).events_dropped > 0);
    assert_int_equal(status(s.t).events_again, 0);
    strike(&s);
}

/* What comes behind a broken packet is anybody's guess. */
static void ends_both_links_of_a_worker_that_sends_garbage(void **state)
{
    struct scene s = set_scene();

    put(s.a.events, "\0\0\0\5garbage", 11);
    UNTIL(s.t, has_ended(s.a.commands));
    UNTIL(s.t, has_ended(s.a.events));
    leave(&s.a);
    assert_int_equal(status(s.t).workers, 1);
    assert_int_equal(status(s.t).events_dropped, 4);
    put_str(s.client, "4\n");
    expect_event(s.b.events, "ON_MESSAGE 1 4");
    strike(&s);
}

static void ends_links_that_acknowledge_for_nobody(void **state)
{
    struct test *t = serve(&proto_text);
    struct acking w = {.commands = dial(t, &t->inner)};

    acknowledge(&w, 0, 0);
    UNTIL(t, has_ended(w.commands));
    hang_up(w.commands);
    finish(t);
}

/* Whatever address the other link comes from. */
static void knows_the_other_link_by_what_both_say(void **state)
{
    struct test *t = serve(&proto_text);
    struct acking w = {dial(t, &t->inner), dial(t, &t->inner)};
    struct peer *stranger = dial(t, &t->inner);

    say(stranger, NULL, "another", NULL);
    say(w.events, "w:0", "the pair", NULL); /* it is heard first, and waits */
    turn(t, 10);
    assert_int_equal(status(t).workers, 0);
    say(w.commands, NULL, "the pair", NULL);
    expect_asked_to_acknowledge(w.events);
    assert_int_equal(status(t).workers, 1);
    assert_int_equal(w.events->in.len, 0);
    acknowledge(&w, 0, 0);
    turn(t, 10);
    assert_false(has_ended(w.commands));
    hang_up(stranger);
    leave(&w);
    finish(t);
}

/* It waits no longer when it has gone meanwhile. */
static void forgets_a_worker_that_leaves_before_its_other_link_comes(
    void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = dial(t, &t->inner);
    struct peer *commands = dial(t, &t->inner);

    say(worker, "w:0", "p", NULL);
    turn(t, 10);
    hang_up(worker);
    turn(t, 10);
    say(commands, NULL, "p", NULL);
    turn(t, 10);
    assert_false(has_ended(commands));
    assert_int_equal(status(t).workers, 0);
    hang_up(commands);
    finish(t);
}

static void does_without_when_the_other_link_does_not_come(void **state)
{
    static const char *const keys[] = {"", "s3cret"};

    for (int k = 0; k < 2; k++) {
        struct clock clock = {0};
        struct test *t = prepare(&proto_text);
        struct peer *worker, *client;

        t->loop.data = &clock;
        t->conf.secret_key = keys[k];
        start(t);
        worker = dial(t, &t->inner);
        say(worker, "w:0", "p", NULL);
        for (int i = 0; i < 10; i++)
            turn_once(t, uv_hrtime());
        assert_int_equal(status(t).workers, 0);
        clock.now += (uint64_t)(INNER_PAIR_TIMEOUT * 1000);
        UNTIL(t, status(t).workers == 1);
        UNTIL(t, t->ready);
        client = dial(t, &t->outer);
        expect_event(worker, "ON_CONNECT 1 ");
        assert_int_equal(status(t).events_unbegun, 0);
        hang_up(client);
        hang_up(worker);
        finish(t);
    }
}

/* The router's worker behind the link; its machine is what is looked at. */
static bool is_local(struct test *t, const char *machine)
{
    static const char *const none[] = {NULL};
    const struct cmdjson_tokens tokens = {.machine = machine};
    struct peer *p = dial(t, &t->inner);
    struct buf json = {0};
    bool local;

    cmdjson_put_auth(&json, "w:0", "", none, &tokens);
    buf_append_byte(&json, 0);
    command(p, FRAME_WORKER_CONNECT, 0, "", (char *)json.data);
    buf_fini(&json);
    UNTIL(t, status(t).workers == 1);
    local = status(t).workers_local == 1;
    hang_up(p);
    UNTIL(t, status(t).workers == 0);
    return local;
}

static void knows_by_its_token_who_runs_on_the_same_machine(void **state)
{
    struct test *t = prepare(&proto_text);

    t->conf.machine = "here";
    start(t);
    assert_true(is_local(t, "here"));
    assert_false(is_local(t, "there"));
    assert_false(is_local(t, "her"));
    assert_false(is_local(t, NULL));
    finish(t);
    t = serve(&proto_text); /* nobody has said which machine this is */
    assert_false(is_local(t, ""));
    assert_false(is_local(t, NULL));
    finish(t);
}

/* The first packets on the event link of a worker that offers claims, as text:
 * the name of a page is left out. */
static const char *first_packets(
    struct test *t, const char *const *offers, const char *machine)
{
    static char text[64];
    struct acking w = {dial(t, &t->inner), dial(t, &t->inner)};
    const struct cmdjson_tokens tokens = {.pair = "p", .machine = machine};
    size_t workers = status(t).workers;
    struct buf json = {0};
    struct frame f;
    size_t len;

    say(w.commands, NULL, "p", machine);
    cmdjson_put_auth(&json, "w:0", t->conf.secret_key, offers, &tokens);
    buf_append_byte(&json, 0);
    command(w.events, FRAME_WORKER_CONNECT, 0, "", (char *)json.data);
    buf_fini(&json);
    UNTIL(t, status(t).workers > workers);
    UNTIL(t, (len = packet_len(w.events)) > 0);
    for (text[0] = 0; len > 0; len = packet_len(w.events)) {
        assert_int_equal(frame_decode(&f, w.events->in.data, len), 0);
        strcat(strcat(text, frame_cmd_name(f.cmd)), " ");
        assert_true(f.cmd != FRAME_CLAIMS || f.body_len == 32);
        buf_consume(&w.events->in, len);
    }
    leave(&w);
    UNTIL(t, status(t).workers == workers);
    return text;
}

static void offers_a_page_to_workers_of_its_machine(void **state)
{
    static const char *const claims[] = {"ack", "claims", NULL};
    static const char *const ack[] = {"ack", NULL};
    struct test *t = prepare(&proto_text);
    char dir[TEMPDIR_SIZE];

    tempdir_make(dir);
    t->conf.machine = "here";
    start(t);
    assert_string_equal(first_packets(t, claims, "here"), "ACK ");
    end(t);
    t->conf.claims = dir;
    start(t);
    assert_string_equal(first_packets(t, claims, "here"), "ACK CLAIMS ");
    assert_string_equal(first_packets(t, claims, "there"), "ACK ");
    assert_string_equal(first_packets(t, claims, NULL), "ACK ");
    assert_string_equal(first_packets(t, ack, "here"), "ACK ");
    finish(t);
}

/* Its other link stays open: what it wrote there is not waited for, and what it
 * has not claimed is given to others while it still is stopped. */
static void does_not_wait_for_a_worker_that_is_stopped(void **state)
{
    static const char *const offers[] = {"ack", "claims", NULL};
    const struct cmdjson_tokens tokens = {.pair = "p", .machine = "here"};
    struct test *t = prepare(&proto_text);
    struct acking a, b;
    struct peer *client;
    struct claims *page;
    struct buf json = {0};
    char dir[TEMPDIR_SIZE];
    struct frame f;
    size_t len;

    tempdir_make(dir);
    t->conf.machine = "here";
    t->conf.claims = dir;
    start(t);
    a = (struct acking){dial(t, &t->inner), dial(t, &t->inner)};
    say(a.commands, NULL, "p", "here");
    cmdjson_put_auth(&json, "w:0", t->conf.secret_key, offers, &tokens);
    buf_append_byte(&json, 0);
    command(a.events, FRAME_WORKER_CONNECT, 0, "", (char *)json.data);
    buf_fini(&json);
    expect_asked_to_acknowledge(a.events);
    UNTIL(t, (len = packet_len(a.events)) > 0);
    assert_int_equal(frame_decode(&f, a.events->in.data, len), 0);
    assert_int_equal(claims_open(&page, dir, f.body, f.body_len), 0);
    buf_consume(&a.events->in, len);
    UNTIL(t, t->ready);
    client = dial(t, &t->outer);
    put_str(client, "1\n");
    expect_event(a.events, "ON_CONNECT 1 ");
    expect_event(a.events, "ON_MESSAGE 1 1");
    assert_int_equal(claims_begin(page, 1), 0);
    b = join_acking(t, "w:1");
    hang_up(a.events);
    expect_event(b.events, "ON_MESSAGE 1 1");
    assert_int_equal(claims_begin(page, 2), -ECANCELED);
    UNTIL(t, has_ended(a.commands));
    assert_int_equal(status(t).events_again, 1);
    assert_int_equal(status(t).events_cut_off, 1);
    assert_int_equal(status(t).events_dropped, 0);
    claims_close(page);
    hang_up(a.commands);
    hang_up(client);
    leave(&b);
    finish(t);
}

static void stops_when_every_event_has_begun(void **state)
{
    struct scene s = set_scene();

    gateway_stop(s.t->gateway, 15);
    UNTIL(s.t, has_ended(s.client));
    expect_event(s.a.events, "ON_CLOSE 1 ");
    for (int i = 0; i < 20; i++)
        uv_run(&s.t->loop, UV_RUN_ONCE);
    assert_int_equal(s.t->stopped, 0);
    acknowledge(&s.a, 5, 5);
    UNTIL(s.t, s.t->stopped);
    leave(&s.a);
    strike(&s);
}

#define STRANGERS 300

/* More silent connections than may be, and then whoever has a right to come. */
static void let_strangers_come(struct test *t, int fds[STRANGERS])
{
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], &t->inner.sa, addr_len(&t->inner)), 0);
    }
}

static void strangers_take_no_place_of_workers(void **state)
{
    static const char *const keys[] = {"", "s3cret"};

    for (int k = 0; k < 2; k++) {
        struct test *t = prepare(&proto_text);
        struct peer *worker, *early, *program;
        int fds[STRANGERS];
        char byte;

        t->conf.secret_key = keys[k];
        start(t);
        early = join_as(t, "early", NULL);
        let_strangers_come(t, fds);
        worker = join_as(t, "late", NULL);
        program = dial(t, &t->inner);
        command(program, FRAME_GATEWAY_CLIENT_CONNECT, 0, "",
            "{\"secret_key\":\"s3cret\"}");
        command(program, FRAME_GET_CLIENT_COUNT_BY_GROUP, 0, "", "");
        expect_answer(program, "i:0;");
        /* The oldest of them gave way, those who speak did not. */
        UNTIL(t, status(t).links_refused >= STRANGERS - INNER_STRANGERS_MAX);
        assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), 0);
        assert_false(has_ended(early));
        assert_false(has_ended(worker));
        assert_int_equal(status(t).workers, 2);
        for (int i = 0; i < STRANGERS; i++)
            close(fds[i]);
        hang_up(early);
        hang_up(worker);
        hang_up(program);
        finish(t);
    }
}

static void who_does_not_show_the_key_is_let_go_in_time(void **state)
{
    struct test *t = prepare(&proto_text);
    struct clock clock = {0};
    struct peer *worker, *silent;

    t->loop.data = &clock;
    t->conf.secret_key = "s3cret";
    start(t);
    worker = join_as(t, "worker", NULL);
    silent = dial(t, &t->inner);
    for (int i = 0; i < 10; i++)
        turn_once(t, uv_hrtime());
    clock.now += (uint64_t)(INNER_AUTH_TIMEOUT * 1000);
    UNTIL(t, has_ended(silent));
    assert_int_equal(status(t).links_refused, 1);
    assert_false(has_ended(worker));
    hang_up(worker);
    hang_up(silent);
    finish(t);
}

/* p wants the key; process NULL: as PHP's. */
static void introduce(struct peer *p, const char *key, const char *process)
{
    static const char *const none[] = {NULL};
    const struct cmdjson_tokens tokens = {.process = process};
    struct buf json = {0};

    cmdjson_put_auth(&json, key, "", process ? none : NULL, &tokens);
    buf_append_byte(&json, 0);
    command(p, FRAME_WORKER_CONNECT, 0, "", (char *)json.data);
    buf_fini(&json);
}

static struct peer *want(struct test *t, const char *key, const char *process)
{
    struct peer *p = dial(t, &t->inner);

    introduce(p, key, process);
    return p;
}

/* now takes the key of before, which is hung up. */
static struct peer *expect_replaced(struct peer *before, struct peer *now)
{
    UNTIL(now->t, has_ended(before));
    hang_up(before);
    assert_false(has_ended(now));
    assert_int_equal(status(now->t).workers, 1);
    return now;
}

/* now is refused and hung up; before has not noticed. */
static void expect_refused(struct peer *before, struct peer *now)
{
    struct peer *client;

    UNTIL(now->t, has_ended(now));
    assert_int_equal(now->in.len, 0);
    hang_up(now);
    client = dial(before->t, &before->t->outer);
    UNTIL(before->t, packet_len(before) > 0);
    buf_clear(&before->in);
    hang_up(client);
    UNTIL(before->t, packet_len(before) > 0);
    buf_clear(&before->in);
}

/* A gateway on a clock of the test's. Unless lan_ip is 127.0.0.1 workers are
 * expected to ping. */
static struct test *serve_at(struct clock *clock, const char *lan_ip)
{
    struct test *t = prepare(&proto_text);

    log_open("/dev/null");
    t->loop.data = clock;
    t->conf.lan_ip = lan_ip;
    start(t);
    return t;
}

static void lets_a_process_replace_its_own_link_as_often_as_it_likes(
    void **state)
{
    struct clock clock = {.now = 100000};
    struct test *t = serve_at(&clock, "127.0.0.1");
    struct peer *w = want(t, "w:0", "a");

    UNTIL(t, status(t).workers == 1);
    for (int i = 0; i < 2 * INNER_HANDOVERS; i++)
        w = expect_replaced(w, want(t, "w:0", "a"));
    hang_up(w);
    finish(t);
}

static void refuses_another_process_of_the_same_name_at_once(void **state)
{
    struct clock clock = {.now = 100000};
    struct test *t = serve_at(&clock, "127.0.0.1");
    struct peer *w = want(t, "w:0", "a");
    struct peer *other;

    UNTIL(t, status(t).workers == 1);
    expect_refused(w, want(t, "w:0", "b"));
    clock.now += 3600 * 1000;
    expect_refused(w, want(t, "w:0", "b"));
    other = dial(t, &t->inner);
    turn(t, 5);
    introduce(other, "w:0", "b");
    hang_up(w); /* the gateway sees that behind the introduction */
    turn(t, 5);
    assert_false(has_ended(other));
    assert_int_equal(status(t).workers, 1);
    hang_up(other);
    finish(t);
}

static void keeps_one_of_two_that_take_the_key_from_each_other(void **state)
{
    struct clock clock = {.now = 100000};
    struct test *t = serve_at(&clock, "127.0.0.1");
    struct peer *w = want(t, "w:0", NULL);

    UNTIL(t, status(t).workers == 1);
    w = expect_replaced(w, want(t, "w:0", "a"));
    w = expect_replaced(w, want(t, "w:0", NULL));
    expect_refused(w, want(t, "w:0", "a"));
    clock.now += 3600 * 1000;
    expect_refused(w, want(t, "w:0", NULL));
    hang_up(w);
    UNTIL(t, status(t).workers == 0);
    w = want(t, "w:0", "a");
    UNTIL(t, status(t).workers == 1);
    hang_up(w);
    finish(t);
}

static void lets_workers_replace_each_other_now_and_then(void **state)
{
    struct clock clock = {.now = 100000};
    struct test *t = serve_at(&clock, "127.0.0.1");
    struct peer *w = want(t, "w:0", NULL);

    UNTIL(t, status(t).workers == 1);
    for (int i = 0; i < 2 * INNER_HANDOVERS; i++) {
        clock.now += (uint64_t)(INNER_HANDOVER_TIME * 1000 / 2);
        w = expect_replaced(w, want(t, "w:0", NULL));
    }
    hang_up(w);
    finish(t);
}

/* Its machine is gone, and nothing tells so. */
static void gives_the_key_of_a_silent_worker_to_another(void **state)
{
    struct clock clock = {.now = 100000};
    struct test *t = serve_at(&clock, "127.0.0.2");
    struct peer *w = want(t, "w:0", "a");
    struct peer *other;

    UNTIL(t, status(t).workers == 1);
    for (int i = 0; i < 3; i++) {
        other = want(t, "w:0", "b");
        UNTIL(t, has_ended(other));
        hang_up(other);
        clock.now += (uint64_t)(INNER_SILENCE * 1000) - 1;
        command(w, FRAME_PING, 0, "", "");
        turn(t, 5);
    }
    other = want(t, "w:0", "b");
    UNTIL(t, has_ended(other));
    hang_up(other);
    clock.now += (uint64_t)(INNER_SILENCE * 1000);
    w = expect_replaced(w, want(t, "w:0", "b"));
    hang_up(w);
    finish(t);
}

/* A gateway whose workers are called "Chat". */
static struct test *serve_chat(void)
{
    struct test *t = prepare(&proto_text);

    t->conf.workers = "Chat";
    start(t);
    return t;
}

/* A worker that gets no events. It offers a feature, so that the gateway says
 * something when it has taken it. */
static struct peer *join_aside(struct test *t, const char *key)
{
    static const char *const limits[] = {"limits", NULL};
    struct peer *p = dial(t, &t->inner);
    struct buf json = {0};
    struct frame f;
    size_t len;

    cmdjson_put_auth(&json, key, "", limits, NULL);
    buf_append_byte(&json, 0);
    command(p, FRAME_WORKER_CONNECT, 0, "", (char *)json.data);
    buf_fini(&json);
    UNTIL(t, (len = packet_len(p)) > 0);
    assert_int_equal(frame_decode(&f, p->in.data, len), 0);
    assert_int_equal(f.cmd, FRAME_LIMITS);
    assert_int_equal(f.body_len, 16);
    assert_int_equal(get32(f.body), GATEWAY_GROUPS_MAX);
    assert_int_equal(get32(f.body + 4), FRAME_MAX_LEN);
    assert_int_equal(get32(f.body + 8), GATEWAY_SESSION_MAX);
    assert_int_equal(
        get32(f.body + 12), FRAME_TAKES_LABELS | FRAME_TAKES_DEMANDS);
    buf_consume(&p->in, len);
    return p;
}

/* GatewayClient offers nothing, and is told nothing. */
static void tells_its_limits_to_a_program_that_asks(void **state)
{
    static const char limits[] = {0, 0, 0, 17, (char)FRAME_LIMITS, 0, 0, 0, 7,
        1, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0,
        FRAME_TAKES_LABELS | FRAME_TAKES_DEMANDS};
    struct test *t = prepare(&proto_text);
    struct peer *program, *php;

    t->conf.groups_max = 7;
    t->conf.packet_max = 1 << 24;
    t->conf.session_max = 2048;
    start(t);
    program = dial(t, &t->inner);
    for (int i = 0; i < 2; i++)
        command(program, FRAME_GATEWAY_CLIENT_CONNECT, 0, "",
            "{\"secret_key\":\"\","
            "\"gwrun\":{\"version\":1,\"features\":[\"limits\"]}}");
    command(program, FRAME_IS_ONLINE, 0, "", "");
    expect_bytes(program, limits, sizeof(limits));
    expect_answer(program, "i:0;");
    php = dial(t, &t->inner);
    command(php, FRAME_GATEWAY_CLIENT_CONNECT, 0, "", "{\"secret_key\":\"\"}");
    command(php, FRAME_IS_ONLINE, 0, "", "");
    expect_answer(php, "i:0;");
    hang_up(program);
    hang_up(php);
    finish(t);
}

static void gives_events_to_workers_of_its_kind_only(void **state)
{
    static const char *const others[] = {
        "Billing:0", "Chatter:0", "Cha:0", "Chat:Chat:0", "Chat:0:0", ""};
    enum { OTHERS = sizeof(others) / sizeof(others[0]) };
    struct test *t = serve_chat();
    struct peer *aside[OTHERS], *worker, *client;

    for (size_t i = 0; i < OTHERS; i++)
        aside[i] = join_aside(t, others[i]);
    assert_int_equal(status(t).workers, 0);
    assert_int_equal(t->ready, 0);
    worker = join_as(t, "Chat:17", NULL);
    client = dial(t, &t->outer);
    expect_event(worker, "ON_CONNECT 1 ");
    for (size_t i = 0; i < OTHERS; i++) {
        command(aside[i], FRAME_SEND_TO_ALL, 0, "", "from all kinds");
        expect_str(client, "from all kinds\n");
        assert_int_equal(packet_len(aside[i]), 0);
        hang_up(aside[i]);
    }
    put_str(client, "1\n");
    expect_event(worker, "ON_MESSAGE 1 1");
    hang_up(client);
    hang_up(worker);
    finish(t);
}

static void holds_events_while_only_another_kind_is_there(void **state)
{
    struct test *t = serve_chat();
    struct peer *worker = join_as(t, "Chat:0", NULL);
    struct peer *client = dial(t, &t->outer);
    struct peer *other;

    expect_event(worker, "ON_CONNECT 1 ");
    other = join_aside(t, "Billing:0");
    hang_up(worker);
    UNTIL(t, status(t).workers == 0);
    put_str(client, "1\n");
    UNTIL(t, status(t).events_held == 1);
    worker = join_as(t, "Chat:1", NULL);
    expect_event(worker, "ON_MESSAGE 1 1");
    hang_up(client);
    hang_up(other);
    hang_up(worker);
    finish(t);
}

static void pings_workers_of_other_kinds_too(void **state)
{
    struct clock clock = {.now = 100000};
    struct test *t = prepare(&proto_text);
    struct peer *other;
    struct frame f;
    size_t len;

    t->loop.data = &clock;
    t->conf.lan_ip = "127.0.0.2";
    t->conf.workers = "Chat";
    start(t);
    other = join_aside(t, "Billing:0");
    clock.now += (uint64_t)(INNER_PING * 1000);
    UNTIL(t, (clock.now += 5, (len = packet_len(other)) > 0));
    assert_int_equal(frame_decode(&f, other->in.data, len), 0);
    assert_int_equal(f.cmd, FRAME_PING);
    hang_up(other);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_the_last_word_of_a_lost_worker),
        cmocka_unit_test(gives_nobody_the_event_that_hung_a_worker),
        cmocka_unit_test(counts_an_event_that_hung_once),
        cmocka_unit_test(ends_a_worker_that_hangs_in_nothing),
        cmocka_unit_test(ends_the_event_link_when_the_other_one_ends),
        cmocka_unit_test(lets_a_worker_that_comes_again_start_anew),
        cmocka_unit_test(ends_a_worker_that_acknowledges_too_much),
        cmocka_unit_test(ends_both_links_of_a_worker_that_sends_garbage),
        cmocka_unit_test(ends_links_that_acknowledge_for_nobody),
        cmocka_unit_test(knows_the_other_link_by_what_both_say),
        cmocka_unit_test(
            forgets_a_worker_that_leaves_before_its_other_link_comes),
        cmocka_unit_test(does_without_when_the_other_link_does_not_come),
        cmocka_unit_test(knows_by_its_token_who_runs_on_the_same_machine),
        cmocka_unit_test(offers_a_page_to_workers_of_its_machine),
        cmocka_unit_test(does_not_wait_for_a_worker_that_is_stopped),
        cmocka_unit_test(stops_when_every_event_has_begun),
        cmocka_unit_test(strangers_take_no_place_of_workers),
        cmocka_unit_test(who_does_not_show_the_key_is_let_go_in_time),
        cmocka_unit_test(
            lets_a_process_replace_its_own_link_as_often_as_it_likes),
        cmocka_unit_test(refuses_another_process_of_the_same_name_at_once),
        cmocka_unit_test(keeps_one_of_two_that_take_the_key_from_each_other),
        cmocka_unit_test(lets_workers_replace_each_other_now_and_then),
        cmocka_unit_test(gives_the_key_of_a_silent_worker_to_another),
        cmocka_unit_test(tells_its_limits_to_a_program_that_asks),
        cmocka_unit_test(gives_events_to_workers_of_its_kind_only),
        cmocka_unit_test(holds_events_while_only_another_kind_is_there),
        cmocka_unit_test(pings_workers_of_other_kinds_too),
    };

    return cmocka_run_group_tests_name("gateway.inner", tests, NULL, NULL);
}
