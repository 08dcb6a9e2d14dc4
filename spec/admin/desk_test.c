/* desk: questions one after the other, and lists that are cut.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "../net/testloop.h"
#include "admin/desk.h"
#include "proc/ctl.h"

static struct testloop t;
static struct turn *turn;
static struct desk *desk;
static struct ctl *master; /* NULL: it has gone */
static json_t *asked;      /* what the master got last, or NULL */
static json_t *answered;   /* what came back last, or NULL */

static void on_message(struct ctl *ctl, const json_t *m, void *arg)
{
    json_decref(asked);
    asked = json_deep_copy(m);
}

static void on_close(struct ctl *ctl, void *arg)
{
    master = NULL;
}

static int setup(void **state)
{
    static const struct ctl_ops ops = {on_message, on_close};
    int pair[2];

    testloop_open(&t);
    turn = turn_new(&t.loop);
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    desk = desk_open(turn, pair[0]);
    master = ctl_open(turn, pair[1], &ops, NULL);
    assert_non_null(desk);
    assert_non_null(master);
    return 0;
}

static int teardown(void **state)
{
    desk_close(desk);
    if (master)
        ctl_close(master);
    turn_close(turn);
    testloop_close(&t);
    json_decref(asked);
    json_decref(answered);
    asked = answered = NULL;
    return 0;
}

static void on_answer(json_t *answer, void *arg)
{
    json_decref(answered);
    answered = answer;
}

static void ask(const char *uid)
{
    assert_non_null(desk_ask(desk,
        json_pack("{s:s,s:s}", "type", "connections", "uid", uid), on_answer,
        NULL));
}

/* Wait until the master was asked that, and forget it. */
static void assert_asked(const char *key, const char *value)
{
    testloop_until(&t, asked != NULL);
    assert_string_equal(value, ctlmsg_string(asked, key, ""));
    json_decref(asked);
    asked = NULL;
}

static void list(size_t count, bool more)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(rows, json_pack("{s:s}", "uid", "x"));
    ctl_send(master,
        json_pack("{s:s,s:s,s:i,s:o,s:i,s:b}", "type", "connections", "name",
            "Chat", "slot", 1, "rows", rows, "row", 7, "more", more));
}

static void end_list(void)
{
    ctl_send(master,
        json_pack("{s:s,s:i}", "type", "connections_end", "unanswered", 2));
}

static void questions_wait_for_each_other(void **state)
{
    ask("ann");
    ask("bob");
    assert_asked("uid", "ann");
    list(1, false);
    end_list();
    testloop_until(&t, answered != NULL);
    assert_int_equal(1, json_array_size(json_object_get(answered, "rows")));
    assert_int_equal(2, ctlmsg_int(answered, "unanswered", 0));
    assert_string_equal("Chat/1",
        ctlmsg_string(json_array_get(json_object_get(answered, "rows"), 0),
            "gateway", ""));
    assert_asked("uid", "bob");
}

static void long_lists_are_cut(void **state)
{
    ask("ann");
    assert_asked("uid", "ann");
    list(DESK_ROWS_MAX - 1, true);
    assert_asked("type", "more");
    list(2, true);
    assert_asked("type", "enough");
    end_list();
    testloop_until(&t, answered != NULL);
    assert_int_equal(
        DESK_ROWS_MAX, json_array_size(json_object_get(answered, "rows")));
    assert_true(json_is_true(json_object_get(answered, "more")));
}

static void nobody_hears_what_was_forgotten(void **state)
{
    struct desk_question *q = desk_ask(desk,
        json_pack("{s:s,s:s}", "type", "order", "uid", "ann"), on_answer, NULL);

    desk_forget(q);
    assert_asked("uid", "ann");
    ask("bob");
    ctl_send(master, json_pack("{s:s,s:i}", "type", "order", "clients", 3));
    assert_asked("uid", "bob");
    assert_null(answered);
}

static void a_master_that_is_gone_is_an_answer(void **state)
{
    ask("ann");
    assert_asked("uid", "ann");
    ctl_close(master);
    master = NULL;
    testloop_until(&t, answered != NULL);
    assert_string_equal(
        "the master is gone", ctlmsg_string(answered, "error", ""));
    assert_null(desk_ask(desk, json_object(), on_answer, NULL));
}

static void not_too_many_wait(void **state)
{
    for (int i = 0; i < DESK_WAITING_MAX; i++)
        ask("ann");
    assert_null(desk_ask(desk, json_object(), on_answer, NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(questions_wait_for_each_other),
        TEST(long_lists_are_cut),
        TEST(nobody_hears_what_was_forgotten),
        TEST(a_master_that_is_gone_is_an_answer),
        TEST(not_too_many_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
