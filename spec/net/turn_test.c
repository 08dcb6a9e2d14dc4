#include "testloop.h"

#include <stdlib.h>
#include <string.h>

#include "net/turn.h"

struct probe {
    struct turn_task task;
    struct turn *turn;
    struct probe *next;  /* scheduled by run; NULL for none */
    struct probe *later; /* the same, for the next turn */
    char name;
    bool closes; /* run closes the turn */
};

static char ran[16]; /* names in the order in which they ran */

static void run_probe(struct turn_task *task)
{
    struct probe *p = LIST_ENTRY(task, struct probe, task);

    strncat(ran, &p->name, 1);
    if (p->next)
        turn_schedule(p->turn, &p->next->task);
    if (p->later)
        turn_schedule_later(p->turn, &p->later->task);
    if (p->closes)
        turn_close(p->turn);
}

static void init_probe(struct probe *p, struct turn *turn, char name)
{
    memset(p, 0, sizeof(*p));
    list_init(&p->task.node);
    p->task.run = run_probe;
    p->turn = turn;
    p->name = name;
}

static int open_loop(void **state)
{
    static struct testloop t;

    testloop_open(&t);
    ran[0] = '\0';
    *state = &t;
    return 0;
}

static void runs_each_task_once_in_order(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct probe a, b;

    init_probe(&a, turn, 'a');
    init_probe(&b, turn, 'b');
    turn_schedule(turn, &a.task);
    turn_schedule(turn, &b.task);
    turn_schedule(turn, &a.task);
    assert_string_equal(ran, "");
    testloop_turns(t, 1);
    assert_string_equal(ran, "ab");
    testloop_turns(t, 3);
    assert_string_equal(ran, "ab");
    turn_schedule(turn, &a.task);
    testloop_turns(t, 1);
    assert_string_equal(ran, "aba");
    turn_close(turn);
    testloop_close(t);
}

static void runs_first_what_is_to_go_first(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct probe a, b, c;

    init_probe(&a, turn, 'a');
    init_probe(&b, turn, 'b');
    init_probe(&c, turn, 'c');
    turn_schedule_first(turn, &b.task);
    turn_schedule(turn, &c.task);
    turn_schedule_first(turn, &a.task);
    turn_schedule_first(turn, &b.task);
    testloop_turns(t, 1);
    assert_string_equal(ran, "abc");
    turn_close(turn);
    testloop_close(t);
}

static void runs_what_a_task_schedules_in_the_same_turn(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct probe a, b;

    init_probe(&a, turn, 'a');
    init_probe(&b, turn, 'b');
    a.next = &b;
    turn_schedule(turn, &a.task);
    testloop_turns(t, 1);
    assert_string_equal(ran, "ab");
    turn_close(turn);
    testloop_close(t);
}

static void runs_later_tasks_in_the_next_turn_without_a_wait(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct probe a, b;

    init_probe(&a, turn, 'a');
    init_probe(&b, turn, 'b');
    b.later = &a;
    turn_schedule(turn, &b.task);
    testloop_turns(t, 1);
    assert_string_equal(ran, "b");
    turn_schedule(turn, &a.task);     /* it is scheduled already */
    testloop_until(t, ran[1] == 'a'); /* asleep, only the deadline wakes it */
    assert_false(t->expired);
    turn_schedule_later(turn, &a.task);
    turn_cancel(&a.task);
    testloop_turns(t, 2);
    assert_string_equal(ran, "ba");
    turn_schedule_later(turn, &a.task);
    turn_close(turn);
    testloop_close(t);
    assert_string_equal(ran, "ba");
}

static void does_not_run_what_was_taken_back(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct probe a, b;

    init_probe(&a, turn, 'a');
    init_probe(&b, turn, 'b');
    turn_schedule(turn, &a.task);
    turn_schedule(turn, &b.task);
    turn_cancel(&a.task);
    turn_cancel(&a.task);
    testloop_turns(t, 2);
    assert_string_equal(ran, "b");
    turn_close(turn);
    testloop_close(t);
}

static void runs_nothing_after_it_was_closed(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct probe a, b;

    init_probe(&a, turn, 'a');
    init_probe(&b, turn, 'b');
    a.closes = true;
    a.next = &b;
    turn_schedule(turn, &a.task);
    turn_schedule(turn, &b.task);
    testloop_close(t);
    assert_string_equal(ran, "a");
}

static void on_late_prepare(uv_prepare_t *handle)
{
    struct probe *p = handle->data;

    uv_prepare_stop(handle);
    turn_schedule(p->turn, &p->task);
}

static void keeps_the_loop_awake_for_late_tasks(void **state)
{
    struct testloop *t = *state;
    uv_prepare_t late; /* started first, so it runs after the turn's own */
    struct turn *turn;
    struct probe a;

    uv_prepare_init(&t->loop, &late);
    uv_prepare_start(&late, on_late_prepare);
    turn = turn_new(&t->loop);
    init_probe(&a, turn, 'a');
    late.data = &a;
    testloop_until(t, ran[0] == 'a'); /* asleep, only the deadline wakes it */
    assert_false(t->expired);
    uv_close((uv_handle_t *)&late, NULL);
    turn_close(turn);
    testloop_close(t);
}

static void does_not_keep_the_loop_alive(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);

    uv_unref((uv_handle_t *)&t->deadline);
    assert_int_equal(uv_run(&t->loop, UV_RUN_DEFAULT), 0);
    turn_close(turn);
    testloop_close(t);
}

static void lends_memory_of_earlier_turns(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct buf a = {0}, b = {0}, large = {0};
    uint8_t *memory;

    turn_lend(turn, &a);
    assert_null(a.base); /* there is none yet */
    buf_append(&a, "x", 1);
    memory = a.base;
    buf_consume(&a, 1);
    turn_take_back(turn, &a);
    assert_null(a.base);
    turn_lend(turn, &b);
    assert_ptr_equal(b.base, memory);
    assert_int_equal(b.len, 0);
    turn_take_back(turn, &b);
    buf_reserve(&large, TURN_SPARE_MAX + 1);
    turn_take_back(turn, &large); /* not worth keeping */
    turn_lend(turn, &b);
    assert_ptr_equal(b.base, memory);
    turn_lend(turn, &a);
    assert_null(a.base);
    turn_take_back(turn, &b);
    turn_close(turn);
    testloop_close(t);
}

static void stay(struct turn_task *task)
{
    uint64_t until = uv_hrtime() + 2000000;

    while (uv_hrtime() < until)
        ;
}

/* What another turn's tasks take is a part of it. */
static void measures_what_turns_take(void **state)
{
    struct testloop *t = *state;
    struct turn *first = turn_new(&t->loop), *second = turn_new(&t->loop);
    struct turn_task task = {.run = stay};
    struct histogram turns = {0};
    uint64_t before, count = 0;

    list_init(&task.node);
    turn_measure(first, &turns);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    before = turns.sum;
    turn_schedule(second, &task);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    assert_true(turns.sum - before >= 2000000);
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
        count += turns.counts[i];
    assert_int_equal(2, count); /* it knows of no sleep before the first */
    turn_measure(first, NULL);
    before = turns.sum;
    uv_run(&t->loop, UV_RUN_NOWAIT);
    assert_int_equal(before, turns.sum);
    turn_close(first);
    turn_close(second);
    testloop_close(t);
}

static void stay_for_a_socket(uv_async_t *handle)
{
    uint64_t until = uv_hrtime() + 5000000;

    while (uv_hrtime() < until)
        ;
}

/* The loop calls these before it says that it has slept. */
static void measures_what_is_called_for_sockets(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    struct histogram turns = {0};
    uv_async_t socket;

    uv_async_init(&t->loop, &socket, stay_for_a_socket);
    turn_measure(turn, &turns);
    uv_async_send(&socket);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    assert_true(turns.sum >= 4000000);
    uv_close((uv_handle_t *)&socket, NULL);
    turn_close(turn);
    testloop_close(t);
}

static void tells_when_the_loop_woke(void **state)
{
    struct testloop *t = *state;
    struct turn *turn = turn_new(&t->loop);
    uint64_t first = turn_woken(turn);

    assert_true(first > 0 && first <= uv_hrtime());
    while (uv_hrtime() <= first + 1000)
        ;
    assert_true(turn_woken(turn) == first);
    testloop_spin(t, turn_woken(turn) > first);
    turn_close(turn);
    testloop_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(runs_each_task_once_in_order, open_loop),
        cmocka_unit_test_setup(runs_first_what_is_to_go_first, open_loop),
        cmocka_unit_test_setup(
            runs_what_a_task_schedules_in_the_same_turn, open_loop),
        cmocka_unit_test_setup(
            runs_later_tasks_in_the_next_turn_without_a_wait, open_loop),
        cmocka_unit_test_setup(does_not_run_what_was_taken_back, open_loop),
        cmocka_unit_test_setup(runs_nothing_after_it_was_closed, open_loop),
        cmocka_unit_test_setup(keeps_the_loop_awake_for_late_tasks, open_loop),
        cmocka_unit_test_setup(measures_what_turns_take, open_loop),
        cmocka_unit_test_setup(measures_what_is_called_for_sockets, open_loop),
        cmocka_unit_test_setup(tells_when_the_loop_woke, open_loop),
        cmocka_unit_test_setup(does_not_keep_the_loop_alive, open_loop),
        cmocka_unit_test_setup(lends_memory_of_earlier_turns, open_loop),
    };

    return cmocka_run_group_tests_name("net.turn", tests, NULL, NULL);
}
