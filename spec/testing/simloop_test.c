/* simloop: a loop whose clock moves only when it is told to. */
#include "../net/testloop.h"

#include <stdlib.h>
#include <string.h>

#include "net/conn.h"
#include "net/turn.h"
#include "testing/simloop.h"
#include "util/buf.h"
#include "wire/framing.h"

struct fixture {
    uv_loop_t loop;
    struct simloop *sim;
};

struct alarm {
    uv_timer_t timer;
    struct fixture *f;
    uint64_t at; /* when it ran last; 0: never */
    int runs;
};

static char order[16]; /* the alarms that ran, in their order */

static int open_sim(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    order[0] = '\0';
    clock_loop_init(&f->loop);
    f->sim = simloop_open(&f->loop, 1e9);
    *state = f;
    return 0;
}

static int close_sim(void **state)
{
    struct fixture *f = *state;

    simloop_close(f->sim);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void init(struct alarm *a, struct fixture *f)
{
    *a = (struct alarm){.f = f};
    uv_timer_init(&f->loop, &a->timer);
    a->timer.data = a;
}

static void on_alarm(uv_timer_t *timer)
{
    struct alarm *a = timer->data;

    a->at = clock_now(&a->f->loop);
    a->runs++;
}

static void on_letter(uv_timer_t *timer)
{
    strcat(order, timer->data);
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 3; i++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void close_alarm(struct alarm *a)
{
    uv_close((uv_handle_t *)&a->timer, NULL);
    turn(a->f);
}

static void runs_a_timer_when_the_clock_gets_there(void **state)
{
    struct fixture *f = *state;
    uint64_t began = clock_now(&f->loop);
    struct alarm a;

    init(&a, f);
    uv_timer_start(&a.timer, on_alarm, 50, 0);
    assert_int_equal(simloop_step(f->sim, 49), 49);
    turn(f);
    assert_int_equal(a.runs, 0);
    assert_true(uv_is_active((uv_handle_t *)&a.timer));
    assert_int_equal(simloop_step(f->sim, 1000), 1);
    turn(f);
    assert_true(a.at == began + 50);
    assert_false(uv_is_active((uv_handle_t *)&a.timer));
    assert_int_equal(simloop_step(f->sim, 1000), 1000);
    assert_true(clock_wall(&f->loop) == 1e9 + 1.05);
    close_alarm(&a);
}

static void runs_a_timer_of_no_time_without_a_step(void **state)
{
    struct fixture *f = *state;
    struct alarm a;

    init(&a, f);
    uv_timer_start(&a.timer, on_alarm, 0, 0);
    turn(f);
    assert_int_equal(a.runs, 1);
    close_alarm(&a);
}

static void repeats_to_the_millisecond(void **state)
{
    struct fixture *f = *state;
    uint64_t began = clock_now(&f->loop);
    struct alarm a;

    init(&a, f);
    uv_timer_start(&a.timer, on_alarm, 0, 20);
    assert_int_equal(uv_timer_get_repeat(&a.timer), 20);
    turn(f);
    assert_int_equal(a.runs, 1);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(simloop_step(f->sim, 1000), 20);
        turn(f);
        assert_true(a.at == began + i * 20);
    }
    assert_int_equal(a.runs, 4);
    close_alarm(&a);
}

static void keeps_the_order_of_times_then_of_starts(void **state)
{
    struct fixture *f = *state;
    struct alarm a[4];
    char letters[][2] = {"a", "b", "c", "d"};
    uint64_t due[] = {30, 10, 10, 20};

    for (int i = 0; i < 4; i++) {
        init(&a[i], f);
        a[i].timer.data = letters[i];
        uv_timer_start(&a[i].timer, on_letter, due[i], 0);
    }
    uv_timer_start(&a[1].timer, on_letter, 10, 0); /* behind c now */
    assert_int_equal(simloop_step(f->sim, 30), 10);
    turn(f);
    assert_string_equal(order, "cb");
    simloop_step(f->sim, 30);
    simloop_step(f->sim, 30); /* both are due in the same turn */
    turn(f);
    assert_string_equal(order, "cbda");
    for (int i = 0; i < 4; i++)
        uv_close((uv_handle_t *)&a[i].timer, NULL);
    turn(f);
}

static void forgets_timers_that_were_stopped_or_closed(void **state)
{
    struct fixture *f = *state;
    struct alarm stopped, *closed = malloc(sizeof(*closed));

    init(&stopped, f);
    init(closed, f);
    uv_timer_start(&stopped.timer, on_alarm, 5, 5);
    uv_timer_start(&closed->timer, on_alarm, 6, 0);
    uv_timer_stop(&stopped.timer);
    uv_close((uv_handle_t *)&closed->timer, NULL);
    turn(f);
    free(closed);
    assert_int_equal(simloop_step(f->sim, 100), 100);
    turn(f);
    assert_int_equal(stopped.runs, 0);
    close_alarm(&stopped);
}

static void gives_the_rest_of_their_time_back(void **state)
{
    struct fixture *f = *state;
    struct alarm a;

    init(&a, f);
    uv_timer_start(&a.timer, on_alarm, 100010, 7);
    simloop_step(f->sim, 100000);
    turn(f);
    simloop_close(f->sim);
    f->sim = NULL;
    assert_int_equal(uv_timer_get_repeat(&a.timer), 7);
    assert_in_range(uv_timer_get_due_in(&a.timer), 0, 10);
    while (a.runs < 2)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    close_alarm(&a);
}

static void leaves_other_loops_alone(void **state)
{
    struct testloop t;
    struct alarm a;

    testloop_open(&t);
    a.runs = 0;
    uv_timer_init(&t.loop, &a.timer);
    a.f = *state;
    a.timer.data = &a;
    uv_timer_start(&a.timer, on_alarm, 1, 0);
    testloop_spin(&t, a.runs == 1);
    uv_close((uv_handle_t *)&a.timer, NULL);
    testloop_close(&t);
}

static uv_sem_t may_end;

static void compute(uv_work_t *work)
{
    uv_sem_wait(&may_end);
}

static void on_computed(uv_work_t *work, int status)
{
    *(bool *)work->data = true;
}

static void knows_whether_a_thread_works_for_it(void **state)
{
    struct fixture *f = *state;
    bool done[2] = {false, false};
    uv_work_t work[2] = {{.data = &done[0]}, {.data = &done[1]}};

    uv_sem_init(&may_end, 0);
    assert_false(simloop_is_computing(f->sim));
    uv_queue_work(&f->loop, &work[0], compute, on_computed);
    assert_true(simloop_is_computing(f->sim));
    uv_sem_post(&may_end);
    while (simloop_is_computing(f->sim))
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_true(done[0]);

    uv_queue_work(&f->loop, &work[1], compute, on_computed);
    simloop_close(f->sim); /* the thread ends later */
    f->sim = NULL;
    uv_sem_post(&may_end);
    while (!done[1])
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_sem_destroy(&may_end);
}

static void on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
}

static void on_close(struct conn *c, int err, void *arg)
{
}

/* The two ends of a connection, both blocking. */
static void connect_pair(int fds[2])
{
    union addr addr;
    int listening = testloop_bind(&addr);

    assert_int_equal(listen(listening, 1), 0);
    fds[0] = testloop_dial(&addr);
    fds[1] = accept(listening, NULL, NULL);
    close(listening);
}

static void counts_the_bytes_between_its_conns(void **state)
{
    static const struct conn_ops ops = {
        framing_line_measure, on_packet, NULL, on_close};
    static const struct conn_limits limits = {64, 64};
    struct fixture *f = *state;
    struct turn *t = turn_new(&f->loop);
    struct conn *ends[2];
    int fds[2];

    connect_pair(fds);
    for (int i = 0; i < 2; i++)
        ends[i] = conn_open(t, fds[i], &ops, &limits, NULL);
    assert_int_equal(simloop_in_flight(f->sim), 0);
    buf_append_str(conn_out(ends[0]), "hello");
    assert_int_equal(simloop_in_flight(f->sim), 5);
    while (conn_bytes_in(ends[1]) < 5)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(simloop_in_flight(f->sim), 0);
    conn_close(ends[0]);
    assert_int_equal(simloop_in_flight(f->sim), -5);
    conn_close(ends[1]);
    assert_int_equal(simloop_in_flight(f->sim), 0);
    turn_close(t);
    turn(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sim, close_sim)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(runs_a_timer_when_the_clock_gets_there),
        TEST(runs_a_timer_of_no_time_without_a_step),
        TEST(repeats_to_the_millisecond),
        TEST(keeps_the_order_of_times_then_of_starts),
        TEST(forgets_timers_that_were_stopped_or_closed),
        TEST(gives_the_rest_of_their_time_back),
        TEST(leaves_other_loops_alone),
        TEST(knows_whether_a_thread_works_for_it),
        TEST(counts_the_bytes_between_its_conns),
    };

    return cmocka_run_group_tests_name("testing.simloop", tests, NULL, NULL);
}
