#include "../net/testloop.h"

#include <stdlib.h>
#include <string.h>

#include "proc/ctl.h"

struct side {
    struct ctl *ctl;
    size_t messages;
    size_t closes;
    int64_t last; /* "n" of the last message */
    bool close_on_message;
    bool answer_when_closed; /* ctl_send() and ctl_close() in on_close */
};

struct fixture {
    struct testloop t;
    struct turn *turn;
    struct side a;
    struct side b;
    int fd; /* the plain other end, when b has no ctl */
};

static json_t *number(int64_t n)
{
    return json_pack("{s:s, s:I}", "type", "number", "n", (json_int_t)n);
}

static void on_message(struct ctl *c, const json_t *m, void *arg)
{
    struct side *s = arg;

    s->messages++;
    s->last = ctlmsg_int(m, "n", -1);
    if (s->close_on_message) {
        ctl_send(c, number(99));
        ctl_close(c);
        s->ctl = NULL;
    }
    assert_string_equal(ctlmsg_type(m), "number"); /* still there */
}

static void on_close(struct ctl *c, void *arg)
{
    struct side *s = arg;

    s->closes++;
    s->ctl = NULL;
    if (s->answer_when_closed) {
        ctl_send(c, number(1));
        ctl_close(c);
    }
}

static const struct ctl_ops ops = {on_message, on_close};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fds[2];

    testloop_open(&f->t);
    f->turn = turn_new(&f->t.loop);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
        0);
    f->a.ctl = ctl_open(f->turn, fds[0], &ops, &f->a);
    f->fd = fds[1];
    *state = f;
    return 0;
}

static void open_b(struct fixture *f)
{
    f->b.ctl = ctl_open(f->turn, f->fd, &ops, &f->b);
    f->fd = -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->a.ctl)
        ctl_close(f->a.ctl);
    if (f->b.ctl)
        ctl_close(f->b.ctl);
    if (f->fd >= 0)
        close(f->fd);
    turn_close(f->turn);
    testloop_close(&f->t);
    free(f);
    return 0;
}

static void carries_messages_both_ways(void **state)
{
    struct fixture *f = *state;

    open_b(f);
    for (int i = 1; i <= 100; i++)
        ctl_send(f->a.ctl, number(i));
    ctl_send(f->b.ctl, number(7));
    testloop_until(&f->t, f->b.messages == 100 && f->a.messages == 1);
    assert_int_equal(f->b.last, 100);
    assert_int_equal(f->a.last, 7);
}

static void carries_a_large_message(void **state)
{
    struct fixture *f = *state;
    const size_t len = 8 * 1024 * 1024;
    char *text = malloc(len + 1);

    memset(text, 'x', len);
    text[len] = '\0';
    open_b(f);
    ctl_send(f->a.ctl,
        json_pack("{s:s, s:i, s:s}", "type", "number", "n", 5, "text", text));
    free(text);
    testloop_until(&f->t, f->b.messages == 1);
    assert_int_equal(f->b.last, 5);
}

static void sends_the_last_message_before_it_closes(void **state)
{
    struct fixture *f = *state;

    open_b(f);
    ctl_send(f->a.ctl, number(3));
    ctl_close(f->a.ctl);
    f->a.ctl = NULL;
    testloop_until(&f->t, f->b.closes == 1);
    assert_int_equal(f->b.last, 3);
}

static void may_be_closed_by_a_message(void **state)
{
    struct fixture *f = *state;

    open_b(f);
    f->a.close_on_message = true;
    ctl_send(f->b.ctl, number(1));
    ctl_send(f->b.ctl, number(2));
    testloop_until(&f->t, f->b.closes == 1);
    assert_int_equal(f->a.messages, 1);
    assert_int_equal(f->a.closes, 0);
    assert_int_equal(f->b.last, 99);
}

static void tells_that_the_other_side_is_gone(void **state)
{
    struct fixture *f = *state;

    f->a.answer_when_closed = true;
    close(f->fd);
    f->fd = -1;
    testloop_until(&f->t, f->a.closes == 1);
}

static void ends_on_what_is_no_message(void **state)
{
    static const char *const bad[] = {
        "hello\n", "[]\n", "{}\n", "{\"type\":7}\n", "\n"};
    struct fixture *f = *state;
    int fds[2];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct side s = {0};

        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
        s.ctl = ctl_open(f->turn, fds[0], &ops, &s);
        assert_int_equal(write(fds[1], bad[i], strlen(bad[i])), strlen(bad[i]));
        testloop_until(&f->t, s.closes == 1);
        assert_int_equal(s.messages, 0);
        close(fds[1]);
    }
}

static void gives_up_on_a_side_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    const size_t len = 1024 * 1024;
    char *text = malloc(len + 1);

    memset(text, 'x', len);
    text[len] = '\0';
    for (int i = 0; i < 80; i++) {
        assert_int_equal(f->a.closes, 0); /* never inside the call */
        ctl_send(
            f->a.ctl, json_pack("{s:s, s:s}", "type", "number", "text", text));
    }
    free(text);
    testloop_until(&f->t, f->a.closes == 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(carries_messages_both_ways),
        TEST(carries_a_large_message),
        TEST(sends_the_last_message_before_it_closes),
        TEST(may_be_closed_by_a_message),
        TEST(tells_that_the_other_side_is_gone),
        TEST(ends_on_what_is_no_message),
        TEST(gives_up_on_a_side_that_does_not_read),
    };

    return cmocka_run_group_tests_name("proc.ctl", tests, NULL, NULL);
}
