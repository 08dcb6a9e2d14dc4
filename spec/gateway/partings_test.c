/* Workers of another machine that lose their links: what they say that they
 * left is given again, and nothing else, once. */
#include "gateway_fixture.h"

#include <sys/resource.h>

#include "gateway/inner.h"
#include "wire/ack.h"
#include "wire/bigendian.h"

/* A worker with both links. */
struct acking {
    struct peer *commands, *events;
    const char *pair;
};

static void say(struct peer *p, const char *key,
    const struct cmdjson_tokens *tokens, const char *const *features)
{
    struct buf json = {0};

    cmdjson_put_auth(&json, key, p->t->conf.secret_key, features, tokens);
    buf_append_byte(&json, 0);
    command(p, key ? FRAME_WORKER_CONNECT : FRAME_GATEWAY_CLIENT_CONNECT, 0, "",
        (char *)json.data);
    buf_fini(&json);
}

/* The next packet of the link is that command; its body, with "," for NUL. */
static const char *expect_link(struct peer *p, uint8_t cmd)
{
    static char text[256];
    struct frame f;
    size_t len;

    UNTIL(p->t, (len = packet_len(p)) > 0);
    assert_int_equal(frame_decode(&f, p->in.data, len), 0);
    assert_string_equal(frame_cmd_name(f.cmd), frame_cmd_name(cmd));
    assert_true(f.body_len < sizeof(text));
    for (size_t i = 0; i < f.body_len; i++)
        text[i] = f.body[i] ? (char)f.body[i] : ',';
    text[f.body_len] = '\0';
    buf_consume(&p->in, len);
    return text;
}

/* Worker "w:0" of that process; it is asked what asked says. */
static struct acking join_with(struct test *t, const char *process,
    const char *pair, const char *asked, const char *const *offers)
{
    const struct cmdjson_tokens tokens = {.process = process, .pair = pair};
    struct acking w = {dial(t, &t->inner), dial(t, &t->inner), pair};

    say(w.commands, NULL, &tokens, offers);
    say(w.events, "w:0", &tokens, offers);
    assert_string_equal(expect_link(w.events, FRAME_LEFT), asked);
    expect_link(w.events, FRAME_ACK);
    return w;
}

static struct acking join_of(
    struct test *t, const char *process, const char *pair, const char *asked)
{
    static const char *const offers[] = {"ack", "left", NULL};

    return join_with(t, process, pair, asked, offers);
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

/* w took so many of that pair; what of them has not begun is in numbers, which
 * 0 ends. */
static void leave_word(struct peer *commands, const char *pair, uint32_t taken,
    const uint32_t *numbers)
{
    struct buf unbegun = {0}, body = {0}, packet = {0};
    struct frame f = {.cmd = FRAME_LEFT};

    for (; *numbers; numbers++)
        ack_put_number(&unbegun, *numbers);
    ack_put_left(&body, pair, taken, &unbegun);
    f.body = body.data;
    f.body_len = body.len;
    frame_encode(&packet, &f);
    put(commands, packet.data, packet.len);
    buf_fini(&unbegun);
    buf_fini(&body);
    buf_fini(&packet);
}

#define LEAVE_WORD(commands, pair, taken, ...) \
    leave_word((commands), (pair), (taken), (const uint32_t[]){__VA_ARGS__})

static void leave(struct acking *w)
{
    hang_up(w->events);
    hang_up(w->commands);
}

/* A client that has said "1" to "3" to worker a, which is of process A. */
struct scene {
    struct test *t;
    struct acking a;
    struct peer *client;
};

static struct scene set_scene(void)
{
    struct scene s = {.t = serve(&proto_text)};

    s.a = join_of(s.t, "A", "p1", "");
    UNTIL(s.t, s.t->ready);
    s.client = dial(s.t, &s.t->outer);
    put_str(s.client, "1\n2\n3\n");
    expect_event(s.a.events, "ON_CONNECT 1 ");
    expect_event(s.a.events, "ON_MESSAGE 1 1");
    expect_event(s.a.events, "ON_MESSAGE 1 2");
    expect_event(s.a.events, "ON_MESSAGE 1 3");
    return s;
}

static void strike(struct scene *s, struct acking *last)
{
    hang_up(s->client);
    leave(last);
    finish(s->t);
}

/* The links of a are gone, and the client says "4". */
static void lose(struct scene *s)
{
    leave(&s->a);
    UNTIL(s->t, status(s->t).workers == 0);
    put_str(s->client, "4\n");
    UNTIL(s->t, status(s->t).events_held == 1);
}

static void expect_counts(
    const struct test *t, size_t again, size_t cut_off, size_t lost)
{
    assert_int_equal(status(t).events_again, again);
    assert_int_equal(status(t).events_cut_off, cut_off);
    assert_int_equal(status(t).events_dropped + status(t).events_unknown, lost);
}

/* It had taken three, and the second waited. */
static void gives_again_what_a_worker_has_not_begun(void **state)
{
    struct scene s = set_scene();
    struct acking again;

    acknowledge(&s.a, 1, 1); /* of the others it could not tell */
    lose(&s);
    again = join_of(s.t, "A", "p2", "p1,");
    LEAVE_WORD(again.commands, "p1", 3, 2, 0);
    expect_event(again.events, "ON_MESSAGE 1 1");
    expect_event(again.events, "ON_MESSAGE 1 3");
    expect_event(again.events, "ON_MESSAGE 1 4");
    expect_counts(s.t, 2, 1, 0);
    strike(&s, &again);
}

/* It may say so several times; of what is settled nothing is to be known. */
static void asks_for_each_of_its_links_until_it_is_told(void **state)
{
    struct scene s = set_scene();
    struct acking again;

    lose(&s);
    s.a = join_of(s.t, "A", "p2", "p1,");
    leave(&s.a);
    UNTIL(s.t, status(s.t).workers == 0);
    again = join_of(s.t, "A", "p3", "p1,p2,");
    LEAVE_WORD(again.commands, "p2", 0, 0);
    LEAVE_WORD(again.commands, "p1", 2, 2, 0);
    LEAVE_WORD(again.commands, "p1", 2, 2, 0);
    LEAVE_WORD(again.commands, "another", 7, 3, 0);
    expect_event(again.events, "ON_MESSAGE 1 1");
    expect_event(again.events, "ON_MESSAGE 1 2");
    expect_event(again.events, "ON_MESSAGE 1 3");
    expect_event(again.events, "ON_MESSAGE 1 4");
    expect_counts(s.t, 3, 1, 0);
    strike(&s, &again);
}

/* An orderly end: nobody need come again. */
static void believes_the_last_word_of_links_that_end(void **state)
{
    struct scene s = set_scene();
    struct acking other;

    LEAVE_WORD(s.a.commands, "p1", 4, 4, 0);
    lose(&s);
    other = join_of(s.t, "B", "q1", "");
    expect_event(other.events, "ON_MESSAGE 1 3");
    expect_event(other.events, "ON_MESSAGE 1 4");
    expect_counts(s.t, 1, 3, 0);
    strike(&s, &other);
}

/* Only one of its links has broken, as far as the gateway knows. */
static void asks_when_it_has_not_missed_all_links(void **state)
{
    struct scene s = set_scene();
    struct acking again;

    hang_up(s.a.events);
    UNTIL(s.t, status(s.t).workers == 0);
    again = join_of(s.t, "A", "p2", "p1,");
    UNTIL(s.t, has_ended(s.a.commands));
    hang_up(s.a.commands);
    LEAVE_WORD(again.commands, "p1", 1, 0);
    expect_event(again.events, "ON_MESSAGE 1 1");
    expect_counts(s.t, 3, 1, 0);
    s.a = join_of(s.t, "A", "p3", "p2,"); /* it has not missed any */
    UNTIL(s.t, has_ended(again.events));
    LEAVE_WORD(s.a.commands, "p2", 3, 3, 0);
    leave(&again);
    expect_event(s.a.events, "ON_MESSAGE 1 3");
    strike(&s, &s.a);
}

/* It cannot tell what the one before it did. */
static void waits_for_nobody_whose_name_another_process_has(void **state)
{
    struct scene s = set_scene();
    struct acking other;

    acknowledge(&s.a, 2, 2);
    lose(&s);
    other = join_of(s.t, "B", "q1", "");
    expect_event(other.events, "ON_MESSAGE 1 2");
    expect_event(other.events, "ON_MESSAGE 1 3");
    expect_event(other.events, "ON_MESSAGE 1 4");
    strike(&s, &other);
}

static void does_not_wait_for_ever(void **state)
{
    struct scene s = set_scene();
    struct acking other;

    acknowledge(&s.a, 2, 2);
    lose(&s);
    UNTIL(s.t, status(s.t).events_held == 3);
    other = join_of(s.t, "A", "p2", "");
    expect_event(other.events, "ON_MESSAGE 1 2");
    strike(&s, &other);
}

/* That it has taken more than it was given. */
static void believes_no_word_that_cannot_be_true(void **state)
{
    struct scene s = set_scene();
    struct acking again;

    acknowledge(&s.a, 2, 2);
    LEAVE_WORD(s.a.commands, "p1", 5, 0);
    leave(&s.a);
    UNTIL(s.t, status(s.t).events_held == 2);
    again = join_of(s.t, "A", "p2", "");
    expect_event(again.events, "ON_MESSAGE 1 2");
    strike(&s, &again);
}

/* ---- with a window ---- */

/* The same with one of 8, of which 2 are for events that waited; the client has
 * said "1" to "9". */
static struct scene set_window_scene(void)
{
    static const char *const offers[] = {"ack", "left", "window", NULL};
    struct scene s = {.t = prepare(&proto_text)};
    char want[32];

    s.t->conf.begin_window = 8;
    start(s.t);
    s.a = join_with(s.t, "A", "p1", "", offers);
    UNTIL(s.t, packet_len(s.a.events) > 0);
    assert_memory_equal(s.a.events->in.data + FRAME_HEAD_LEN, "\0\0\0\6", 4);
    expect_link(s.a.events, FRAME_WINDOW);
    UNTIL(s.t, s.t->ready);
    s.client = dial(s.t, &s.t->outer);
    put_str(s.client, "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    expect_event(s.a.events, "ON_CONNECT 1 ");
    for (int i = 1; i <= 9; i++) {
        snprintf(want, sizeof(want), "ON_MESSAGE 1 %d", i);
        expect_event(s.a.events, want);
    }
    return s;
}

static void expect_grant(struct acking *w, const char *numbers, size_t len)
{
    struct buf body = {0}, packet = {0};

    buf_append_byte(&body, FRAME_GRANT);
    buf_append(&body, numbers, len);
    framing_reply_encode(&packet, body.data, body.len);
    expect_bytes(w->commands, packet.data, packet.len);
    buf_fini(&body);
    buf_fini(&packet);
}

/* It is gone, or comes back in an hour; what it was not let begin is given
 * again, and the rest is what the window costs. */
static void loses_no_more_than_the_window(void **state)
{
    struct scene s = set_window_scene();
    struct acking other;

    acknowledge(&s.a, 2, 2);
    expect_grant(&s.a, "\0\0\0\10", 4); /* up to number 8, "7" */
    leave(&s.a);
    UNTIL(s.t, status(s.t).workers == 0);
    other = join_of(s.t, "B", "q1", "");
    expect_event(other.events, "ON_MESSAGE 1 8");
    expect_event(other.events, "ON_MESSAGE 1 9");
    expect_counts(s.t, 2, 0, 6);
    assert_int_equal(status(s.t).events_unknown, 6);
    strike(&s, &other);
}

static void loses_nothing_of_a_window_when_the_worker_comes_again(void **state)
{
    struct scene s = set_window_scene();
    struct acking again;

    leave(&s.a);
    UNTIL(s.t, status(s.t).workers == 0);
    again = join_of(s.t, "A", "p2", "p1,");
    LEAVE_WORD(again.commands, "p1", 6, 6, 0);
    for (int i = 5; i <= 9; i++) {
        char want[32];

        snprintf(want, sizeof(want), "ON_MESSAGE 1 %d", i);
        expect_event(again.events, want);
    }
    expect_counts(s.t, 5, 5, 0);
    strike(&s, &again);
}

static void want(struct acking *w, const char *ids, size_t len)
{
    struct buf packet = {0};
    struct frame f = {
        .cmd = FRAME_WANTS, .body = (const uint8_t *)ids, .body_len = len};

    frame_encode(&packet, &f);
    put(w->commands, packet.data, packet.len);
    buf_fini(&packet);
}

static void grants_what_waits_when_it_is_wanted(void **state)
{
    struct scene s = set_window_scene();
    struct buf waits = {0}, none = {0}, body = {0}, packet = {0};
    struct frame f = {.cmd = FRAME_ACK};

    ack_put_number(&waits, 1);
    ack_put(&body, 2, 0, &waits, &none);
    f.body = body.data;
    f.body_len = body.len;
    frame_encode(&packet, &f);
    put(s.a.commands, packet.data, packet.len);
    expect_grant(&s.a, "\0\0\0\10", 4);
    want(&s.a, "\0\0\0\1", 4);
    expect_grant(&s.a, "\0\0\0\10\0\0\0\1", 8);
    want(&s.a, "\0\0\0\1", 4); /* it has that */
    UNTIL(s.t, has_ended(s.a.commands));
    leave(&s.a);
    buf_fini(&waits);
    buf_fini(&body);
    buf_fini(&packet);
    hang_up(s.client);
    finish(s.t);
}

static void ends_links_that_leave_what_nobody_asks_for(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *p = dial(t, &t->inner);

    LEAVE_WORD(p, "p1", 0, 0);
    UNTIL(t, has_ended(p));
    hang_up(p);
    finish(t);
}

/* ---- without room for a worker ---- */

static void let_open_many_files(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * ROUTER_WORKERS_MAX + 256)
        skip();
}

/* As many workers as there may be; those are of PHP's. */
static void fill(struct test *t, struct peer **workers)
{
    static const char *const nothing[] = {NULL};
    static const struct cmdjson_tokens none = {0};

    for (size_t i = 0; i < ROUTER_WORKERS_MAX; i++) {
        char key[32];

        snprintf(key, sizeof(key), "php:%zu", i);
        workers[i] = dial(t, &t->inner);
        say(workers[i], key, &none, nothing);
        if (i % 64 == 63)
            UNTIL(t, status(t).workers == i + 1);
    }
}

/* Its link with commands stays, and the one for events comes again and again:
 * what is known of the process is kept once. */
static void forgets_what_a_refused_worker_said(void **state)
{
    static const char *const offers[] = {"ack", "left", NULL};
    const struct cmdjson_tokens tokens = {.process = "A", .pair = "p"};
    struct peer **workers = xcalloc(ROUTER_WORKERS_MAX, sizeof(*workers));
    struct peer *commands;
    struct test *t;

    let_open_many_files();
    t = serve(&proto_text);
    log_set_level(LOG_ERROR);
    fill(t, workers);
    commands = dial(t, &t->inner);
    say(commands, NULL, &tokens, offers);
    for (int i = 0; i < 3; i++) {
        struct peer *refused = dial(t, &t->inner);

        say(refused, "w:0", &tokens, offers);
        UNTIL(t, has_ended(refused));
        hang_up(refused);
    }
    assert_int_equal(status(t).workers, ROUTER_WORKERS_MAX);
    hang_up(commands);
    for (size_t i = 0; i < ROUTER_WORKERS_MAX; i++)
        hang_up(workers[i]);
    free(workers);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_again_what_a_worker_has_not_begun),
        cmocka_unit_test(asks_for_each_of_its_links_until_it_is_told),
        cmocka_unit_test(believes_the_last_word_of_links_that_end),
        cmocka_unit_test(asks_when_it_has_not_missed_all_links),
        cmocka_unit_test(waits_for_nobody_whose_name_another_process_has),
        cmocka_unit_test(does_not_wait_for_ever),
        cmocka_unit_test(believes_no_word_that_cannot_be_true),
        cmocka_unit_test(loses_no_more_than_the_window),
        cmocka_unit_test(loses_nothing_of_a_window_when_the_worker_comes_again),
        cmocka_unit_test(grants_what_waits_when_it_is_wanted),
        cmocka_unit_test(ends_links_that_leave_what_nobody_asks_for),
        cmocka_unit_test(forgets_what_a_refused_worker_said),
    };

    return cmocka_run_group_tests_name("gateway.partings", tests, NULL, NULL);
}
