/* The master with children of its own making: this program executes itself as
 * "… child ROLE SLOT" and behaves as a page of shared memory tells it to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "master/master_impl.h"
#include "net/clock.h"
#include "proc/ctl.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/framing.h"

#define CHILDREN   3
#define DEADLINE   15000 /* ms that any wait may take */
#define CONTROL_FD 3
#define DESK_FD    5 /* of a child that asks */
#define PAGE_FD    7 /* where a child finds the configuration */

enum behaviour {
    SERVE,
    END_WELL,       /* is ready, and ends with 0 */
    FAIL,           /* says why it cannot start */
    CRASH,          /* ends before it is ready */
    CRASH_READY,    /* ends after it was ready */
    WEAR_OUT,       /* likewise, and says why another one is to serve */
    FREEZE,         /* is ready, then stopped */
    IGNORE_STOP,    /* has to be killed */
    REFUSE_RELOAD,  /* has a script that does not load */
    DIE_AT_PREPARE, /* ends while it prepares */
    NEVER_PREPARE,  /* does not come to an end with it */
};

/* What parent and children share. */
struct page {
    int behaviour[CHILDREN]; /* enum behaviour, set by the test */
    int starts[CHILDREN];
    unsigned pings[CHILDREN];
    bool hold[CHILDREN]; /* the answer to a ping */
    bool asks[CHILDREN];
    int heard[CHILDREN]; /* answers to what it asked when it began */
    int commits[CHILDREN], aborts[CHILDREN];
    int parts[CHILDREN]; /* what came with "prepare" */
    int pages[CHILDREN]; /* of lists of clients; each list has three */
    int lists_left[CHILDREN];
    int stopped_at[CHILDREN]; /* place in the order of stopping, from 1 */
    int stops;
};

/* ---- the child ---- */

static void say(json_t *m)
{
    struct buf out = {0};
    size_t done = 0;

    ctlmsg_put(&out, m);
    while (done < out.len) {
        ssize_t n = write(CONTROL_FD, out.data + done, out.len - done);

        if (n <= 0)
            exit(9);
        done += (size_t)n;
    }
    buf_fini(&out);
}

static void child_prepare(struct page *page, int slot, int run)
{
    if (page->behaviour[slot] == DIE_AT_PREPARE) {
        page->behaviour[slot] = SERVE; /* the next one */
        exit(4);
    }
    if (page->behaviour[slot] == NEVER_PREPARE)
        return;
    if (page->behaviour[slot] == REFUSE_RELOAD)
        say(json_pack("{s:s,s:i,s:s}", "type", "prepared", "run", run,
            "message", "events.lua:1: oops"));
    else
        say(json_pack(
            "{s:s,s:i,s:i}", "type", "prepared", "run", run, "scripts", 1));
}

static void child_obey(struct page *page, int slot, const json_t *m)
{
    const char *type = ctlmsg_type(m);
    int run = (int)ctlmsg_int(m, "run", 0);
    int gather = (int)ctlmsg_int(m, "gather", 0);

    if (strcmp(type, "ping") == 0) {
        page->pings[slot]++;
        while (page->hold[slot])
            usleep(1000);
        say(json_pack("{s:s}", "type", "pong"));
    } else if (strcmp(type, "status") == 0) {
        say(json_pack("{s:s,s:i,s:{s:i}}", "type", "status", "gather", gather,
            "counters", "clients", 40 + slot));
    } else if (strcmp(type, "connections") == 0) {
        say(json_pack("{s:s,s:i,s:b,s:[i]}", "type", "connections", "gather",
            gather, "more", ++page->pages[slot] % 3, "rows", slot));
    } else if (strcmp(type, "connections_left") == 0) {
        page->lists_left[slot]++;
    } else if (strcmp(type, "prepare") == 0) {
        page->parts[slot] = (int)ctlmsg_int(m, "part", 0);
        child_prepare(page, slot, run);
    } else if (strcmp(type, "commit") == 0) {
        page->commits[slot]++;
        say(json_pack("{s:s,s:i}", "type", "committed", "run", run));
    } else if (strcmp(type, "abort") == 0) {
        page->aborts[slot]++;
    } else if (strcmp(type, "stop") == 0 &&
               page->behaviour[slot] != IGNORE_STOP) {
        page->stopped_at[slot] =
            __atomic_add_fetch(&page->stops, 1, __ATOMIC_SEQ_CST);
        exit(0);
    }
}

static void child_ask(struct page *page, int slot)
{
    struct buf question = {0};
    char answer;

    ctlmsg_put(&question, json_pack("{s:s}", "type", "connections"));
    send(DESK_FD, question.data, question.len, MSG_NOSIGNAL);
    page->heard[slot] += read(DESK_FD, &answer, 1) == 1;
    buf_fini(&question);
}

static void child_begin(struct page *page, int slot)
{
    int behaviour = page->behaviour[slot]; /* "ready" lets the test change it */

    page->starts[slot]++;
    if (behaviour == FAIL)
        say(json_pack("{s:s,s:s}", "type", "failed", "message", "no database"));
    if (behaviour == FAIL || behaviour == CRASH)
        exit(3);
    say(json_pack("{s:s}", "type", "ready"));
    if (page->asks[slot])
        child_ask(page, slot);
    if (behaviour == CRASH_READY)
        exit(5);
    if (behaviour == END_WELL)
        exit(0);
    if (behaviour == WEAR_OUT) {
        say(json_pack("{s:s,s:s}", "type", "worn", "message", "memory full"));
        exit(0);
    }
    if (behaviour == FREEZE)
        raise(SIGSTOP);
}

static int child_main(int slot)
{
    struct page *page = mmap(
        NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_FD, 0);
    static struct buf in;
    ssize_t n;

    if (page == MAP_FAILED)
        return 9;
    child_begin(page, slot);
    while ((n = read(CONTROL_FD, buf_reserve(&in, 4096), 4096)) > 0) {
        buf_commit(&in, (size_t)n);
        while ((n = framing_line_measure(in.data, in.len, 4096)) > 0) {
            struct framing_message line =
                framing_line_message(in.data, (size_t)n);
            json_t *m = ctlmsg_parse(line.data, line.len);

            buf_consume(&in, (size_t)n);
            child_obey(page, slot, m);
            json_decref(m);
        }
    }
    buf_fini(&in);
    return 0;
}

/* ---- the parent ---- */

struct world {
    uv_loop_t loop;
    struct clock clock; /* of tests that move it themselves */
    uv_timer_t tick;
    struct page *page;
    char dir[TEMPDIR_SIZE];
    char control[TEMPDIR_SIZE + 8];
    struct master_child_conf children[CHILDREN];
    struct master_conf conf;
    struct master *master;
    bool started, stopped;
    char *message;       /* owned; of on_started */
    const char *refusal; /* of every reload; NULL: none */
    int taken, left;     /* reloads */
};

/* A gwrun command. */
struct asker {
    struct turn *turn;
    struct ctl *ctl;
    json_t *answer; /* owned; the last one of another type than rows */
    int rows;
    bool patient; /* asks for the rest of lists */
};

static const char *const child_argv[] = {"/proc/self/exe", NULL};

static void on_started(const char *message, void *arg)
{
    struct world *w = arg;

    w->started = true;
    w->message = message ? xstrdup(message) : NULL;
}

static void on_stopped(void *arg)
{
    ((struct world *)arg)->stopped = true;
}

static char *on_reload(void *arg)
{
    struct world *w = arg;

    return w->refusal ? xstrdup(w->refusal) : NULL;
}

static json_t *reload_part(size_t index, void *arg)
{
    return index == 0 ? NULL : json_pack("{s:i}", "part", (int)index);
}

static void on_reloaded(bool taken, void *arg)
{
    struct world *w = arg;

    w->taken += taken;
    w->left += !taken;
}

static const struct master_events events = {
    on_started, on_stopped, on_reload, reload_part, on_reloaded};

static void on_tick(uv_timer_t *timer)
{
}

/* Run the loop until the condition holds. */
#define wait_until(w, condition)                               \
    do {                                                       \
        uint64_t end = uv_now(&(w)->loop) + DEADLINE;          \
        while (!(condition)) {                                 \
            uv_run(&(w)->loop, UV_RUN_ONCE);                   \
            if (uv_now(&(w)->loop) > end)                      \
                fail_msg("waited in vain for %s", #condition); \
        }                                                      \
    } while (0)

static void setup(struct world *w)
{
    static const char *const roles[CHILDREN] = {"hub", "worker", "worker"};
    int fd = memfd_create("page", MFD_CLOEXEC);

    memset(w, 0, sizeof(*w));
    assert_int_equal(log_open("/dev/null"), 0);
    assert_int_equal(ftruncate(fd, sizeof(*w->page)), 0);
    w->page =
        mmap(NULL, sizeof(*w->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(w->page, MAP_FAILED);
    tempdir_make(w->dir);
    snprintf(w->control, sizeof(w->control), "%s/control", w->dir);
    clock_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->tick);
    uv_timer_start(&w->tick, on_tick, 5, 5); /* to look at the page */
    for (unsigned i = 0; i < CHILDREN; i++)
        w->children[i] = (struct master_child_conf){.role = roles[i],
            .slot = i,
            .name = "name",
            .listen = "",
            .fds = {-1, -1, -1}};
    w->conf = (struct master_conf){.argv = child_argv,
        .children = w->children,
        .nchildren = CHILDREN,
        .control_path = w->control,
        .config_fd = fd,
        .stop_timeout = 60,
        .hang_timeout = 0};
}

static void begin(struct world *w)
{
    char err[256] = "";

    assert_int_equal(
        master_new(&w->master, &w->loop, &w->conf, &events, w, err), 0);
}

static void begin_and_wait(struct world *w)
{
    begin(w);
    wait_until(w, w->started);
    assert_null(w->message);
}

static void finish(struct world *w)
{
    if (!w->stopped)
        master_stop(w->master, false);
    wait_until(w, w->stopped);
    master_free(w->master);
    uv_close((uv_handle_t *)&w->tick, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    munmap(w->page, sizeof(*w->page));
    close(w->conf.config_fd);
    free(w->message);
    assert_int_equal(
        access(w->control, F_OK), -1); /* the socket is gone, too */
}

static void on_answer(struct ctl *ctl, const json_t *m, void *arg)
{
    struct asker *a = arg;

    if (strcmp(ctlmsg_type(m), "connections") == 0) {
        a->rows += (int)json_array_size(json_object_get(m, "rows"));
        if (a->patient && json_is_true(json_object_get(m, "more")))
            ctl_send(ctl, json_pack("{s:s,s:I}", "type", "more", "row",
                              (json_int_t)ctlmsg_int(m, "row", -1)));
        return;
    }
    json_decref(a->answer);
    a->answer = json_deep_copy(m);
}

static void on_master_close(struct ctl *ctl, void *arg)
{
    ((struct asker *)arg)->ctl = NULL;
}

static void ask(struct world *w, struct asker *a, json_t *question)
{
    static const struct ctl_ops ops = {on_answer, on_master_close};
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(a, 0, sizeof(*a));
    strcpy(sun.sun_path, w->control);
    assert_int_equal(
        connect(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
    a->turn = turn_new(&w->loop);
    a->ctl = ctl_open(a->turn, fd, &ops, a);
    ctl_send(a->ctl, question);
}

static void leave(struct asker *a)
{
    if (a->ctl)
        ctl_close(a->ctl);
    turn_close(a->turn);
    json_decref(a->answer);
}

static json_t *status_question(void)
{
    return json_pack("{s:s}", "type", "status");
}

static json_t *reload_question(void)
{
    return json_pack("{s:s}", "type", "reload");
}

static const json_t *process(const struct asker *a, size_t i)
{
    return json_array_get(json_object_get(a->answer, "processes"), i);
}

/* Ask for the status until these children answer in time: one that does not run
 * for a while is as silent as one that hangs. */
static void ask_until_they_answer(
    struct world *w, struct asker *a, const size_t *children, size_t count)
{
    uint64_t last = uv_now(&w->loop) + DEADLINE;

    for (;;) {
        size_t n = 0;

        assert_true(uv_now(&w->loop) <= last);
        ask(w, a, status_question());
        wait_until(w, a->answer);
        for (size_t i = 0; i < count; i++)
            n += json_is_true(
                json_object_get(process(a, children[i]), "answering"));
        if (n == count)
            return;
        leave(a);
    }
}

/* The state of a child as "status" tells it; borrowed until the next call. */
static const char *state_of(struct world *w, size_t i)
{
    static char state[32];
    struct asker a;

    ask(w, &a, status_question());
    wait_until(w, a.answer);
    snprintf(state, sizeof(state), "%s",
        ctlmsg_string(process(&a, i), "state", "?"));
    leave(&a);
    return state;
}

static void reports_the_start_when_all_are_ready(void **unused)
{
    struct world w;

    setup(&w);
    begin_and_wait(&w);
    for (size_t i = 0; i < CHILDREN; i++) {
        assert_true(master_child_ready(w.master, i));
        assert_int_equal(w.page->starts[i], 1);
    }
    finish(&w);
}

static void gives_up_a_start_with_the_childs_own_words(void **unused)
{
    struct world w;

    setup(&w);
    w.page->behaviour[1] = FAIL;
    begin(&w);
    wait_until(&w, w.stopped);
    assert_string_equal(w.message, "worker/1: no database");
    assert_int_equal(w.page->starts[1], 1);
    finish(&w);
}

static void gives_up_a_start_when_a_child_ends_without_a_word(void **unused)
{
    struct world w;

    setup(&w);
    w.page->behaviour[0] = CRASH;
    begin(&w);
    wait_until(&w, w.stopped);
    assert_non_null(strstr(w.message, "hub/0: "));
    assert_non_null(strstr(w.message, "exit_status=3"));
    finish(&w);
}

static void gives_up_a_start_when_the_program_cannot_run(void **unused)
{
    static const char *const nothing[] = {"/nonexistent", NULL};
    struct world w;

    setup(&w);
    w.conf.argv = nothing;
    begin(&w);
    wait_until(&w, w.stopped);
    assert_non_null(strstr(w.message, "cannot be started"));
    finish(&w);
}

/* End a child's process as an accident would. */
static void kill_child(struct world *w, size_t i)
{
    struct asker a;
    pid_t pid;

    ask(w, &a, status_question());
    wait_until(w, a.answer);
    pid = (pid_t)ctlmsg_int(process(&a, i), "pid", 0);
    leave(&a);
    assert_true(pid > 1);
    kill(pid, SIGKILL);
}

static void restarts_a_child_at_once_then_backs_off(void **unused)
{
    struct world w;

    setup(&w);
    w.loop.data = &w.clock;
    begin_and_wait(&w);
    w.page->behaviour[2] = CRASH_READY;
    kill_child(&w, 2);
    wait_until(&w, w.page->starts[2] == 1 + MASTER_RESTARTS);
    wait_until(&w, strcmp(state_of(&w, 2), "back-off") == 0);
    assert_int_equal(w.page->starts[2], 1 + MASTER_RESTARTS);
    assert_string_equal(state_of(&w, 1), "ready");
    w.page->behaviour[2] = SERVE;
    w.clock.now += 1000;
    wait_until(&w, w.page->starts[2] == 2 + MASTER_RESTARTS);
    wait_until(&w, master_child_ready(w.master, 2));
    finish(&w);
}

static void replaces_a_child_that_wears_out_without_back_off(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    w.loop.data = &w.clock;
    begin_and_wait(&w);
    w.page->behaviour[2] = WEAR_OUT;
    kill_child(&w, 2);
    for (int i = 0; i < 2 * MASTER_RESTARTS; i++) {
        wait_until(&w, w.page->starts[2] == 2 + i);
        wait_until(&w, strcmp(state_of(&w, 2), "back-off") == 0);
        assert_int_equal(w.page->starts[2], 2 + i);
        w.clock.now += 1000;
    }
    w.page->behaviour[2] = SERVE;
    wait_until(&w, master_child_ready(w.master, 2));
    ask(&w, &a, status_question());
    wait_until(&w, a.answer);
    assert_string_equal(
        ctlmsg_string(process(&a, 2), "last_end", ""), "memory full");
    assert_null(ctlmsg_string(process(&a, 1), "last_end", NULL));
    leave(&a);
    finish(&w);
}

static void stops_the_last_role_first(void **unused)
{
    struct world w;

    setup(&w);
    begin_and_wait(&w);
    master_stop(w.master, false);
    wait_until(&w, w.stopped);
    assert_int_equal(w.page->stopped_at[0], CHILDREN);
    finish(&w);
}

static void end_long_wait(uv_handle_t *handle, void *arg)
{
    uv_timer_t *timer = (uv_timer_t *)handle;

    if (handle->type == UV_TIMER && uv_is_active(handle) &&
        uv_timer_get_due_in(timer) > 60000)
        uv_timer_start(timer, timer->timer_cb, 0, 0);
}

/* What waits for more than a minute has waited long enough. */
static void end_long_waits(struct world *w)
{
    uv_walk(&w->loop, end_long_wait, NULL);
}

static void kills_what_does_not_stop(void **unused)
{
    struct world w;

    setup(&w);
    w.conf.stop_timeout = 7200;
    w.page->behaviour[2] = IGNORE_STOP;
    begin_and_wait(&w);
    master_stop(w.master, false);
    wait_until(&w, w.page->stopped_at[1]);
    assert_int_equal(w.page->stopped_at[0], 0);
    end_long_waits(&w); /* the first half: all are told */
    wait_until(&w, w.page->stopped_at[0]);
    assert_false(w.stopped);
    end_long_waits(&w); /* the second: what is left is killed */
    wait_until(&w, w.stopped);
    assert_int_equal(w.page->stopped_at[2], 0);
    assert_int_equal(w.page->stopped_at[0], 2); /* it was told in time */
    finish(&w);
}

static void waits_for_ever_when_stopping_gracefully(void **unused)
{
    struct world w;

    setup(&w);
    w.conf.stop_timeout = 0.05;
    w.page->behaviour[2] = IGNORE_STOP;
    begin_and_wait(&w);
    master_stop(w.master, true);
    wait_until(&w, w.page->stopped_at[1]);
    kill_child(&w, 0); /* still needed: it comes back */
    wait_until(&w, w.page->starts[0] == 2);
    assert_false(w.stopped);
    master_stop(w.master, false); /* somebody lost patience */
    wait_until(&w, w.stopped);
    finish(&w);
}

/* Time goes by only when the others have answered. */
static void replaces_a_child_that_hangs(void **unused)
{
    static const size_t others[] = {0, 2};
    struct world w;
    struct asker a;

    setup(&w);
    w.loop.data = &w.clock;
    w.conf.hang_timeout = 1;
    w.page->behaviour[1] = FREEZE;
    begin_and_wait(&w);
    w.page->behaviour[1] = SERVE;
    while (w.page->starts[1] == 1) {
        unsigned pings = w.page->pings[0];

        ask_until_they_answer(&w, &a, others, 2);
        leave(&a);
        w.clock.now += 1000;
        wait_until(&w, w.page->pings[0] > pings);
    }
    assert_int_equal(w.page->starts[1], 2);
    wait_until(&w, master_child_ready(w.master, 1));
    assert_int_equal(w.page->starts[0], 1); /* those that answer live on */
    assert_int_equal(w.page->starts[2], 1);
    finish(&w);
}

static void blames_no_child_for_a_time_when_it_did_not_run_itself(void **unused)
{
    struct world w;
    unsigned pings;

    setup(&w);
    w.loop.data = &w.clock;
    w.conf.hang_timeout = 1;
    begin_and_wait(&w);
    w.page->hold[1] = true;
    wait_until(&w, w.page->pings[1] > 0 && w.page->pings[0] > 0);
    w.clock.now += 60000;
    pings = w.page->pings[0];
    wait_until(&w, w.page->pings[0] > pings);
    w.page->hold[1] = false;
    pings = w.page->pings[1];
    wait_until(&w, w.page->pings[1] > pings);
    assert_int_equal(w.page->starts[1], 1);
    finish(&w);
}

static void tells_status_with_each_childs_counters(void **unused)
{
    static const size_t all[CHILDREN] = {0, 1, 2};
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    ask_until_they_answer(&w, &a, all, CHILDREN);
    assert_string_equal(ctlmsg_type(a.answer), "status");
    assert_int_equal(ctlmsg_int(a.answer, "pid", 0), getpid());
    for (size_t i = 0; i < CHILDREN; i++) {
        const json_t *p = process(&a, i);

        assert_string_equal(ctlmsg_string(p, "state", ""), "ready");
        assert_int_equal(
            ctlmsg_int(json_object_get(p, "counters"), "clients", 0),
            40 + (int)i);
    }
    leave(&a);
    finish(&w);
}

static void tells_in_time_who_does_not_answer(void **unused)
{
    static const size_t others[] = {0, 2};
    struct world w;
    struct asker a;

    setup(&w);
    w.conf.stop_timeout = 0.1;
    w.page->behaviour[1] = FREEZE;
    begin_and_wait(&w);
    ask_until_they_answer(&w, &a, others, 2);
    assert_true(json_is_false(json_object_get(process(&a, 1), "answering")));
    leave(&a);
    finish(&w);
}

static void hears_a_child_that_asks_beside_many_commands(void **unused)
{
    struct asker askers[MASTER_CONTROLS_MAX];
    struct world w;

    setup(&w);
    w.children[1].asks = w.page->asks[1] = true;
    begin_and_wait(&w);
    wait_until(&w, w.page->heard[1] == 1);
    for (size_t i = 0; i < MASTER_CONTROLS_MAX; i++) {
        ask(&w, &askers[i], status_question());
        wait_until(&w, askers[i].answer);
    }
    kill((pid_t)ctlmsg_int(process(&askers[0], 1), "pid", 0), SIGKILL);
    wait_until(&w, w.page->heard[1] == 2);
    for (size_t i = 0; i < MASTER_CONTROLS_MAX; i++)
        leave(&askers[i]);
    finish(&w);
}

static void joins_the_connections_of_all_children(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    ask(&w, &a, json_pack("{s:s}", "type", "connections"));
    a.patient = true;
    wait_until(&w, a.answer);
    assert_string_equal(ctlmsg_type(a.answer), "connections_end");
    assert_int_equal(ctlmsg_int(a.answer, "unanswered", -1), 0);
    assert_int_equal(a.rows, 3 * CHILDREN);
    leave(&a);
    finish(&w);
}

static void lists_no_more_connections_than_somebody_reads(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    ask(&w, &a, json_pack("{s:s}", "type", "connections"));
    wait_until(&w, a.rows == CHILDREN);
    leave(&a);
    for (size_t i = 0; i < CHILDREN; i++) {
        wait_until(&w, w.page->lists_left[i]);
        assert_int_equal(w.page->pages[i], 1);
    }
    finish(&w);
}

static void commits_a_reload_that_all_have_prepared(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_true(json_is_true(json_object_get(a.answer, "ok")));
    assert_int_equal(ctlmsg_int(a.answer, "workers", 0), CHILDREN);
    assert_int_equal(ctlmsg_int(a.answer, "generation", 0), 2);
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(w.page->commits[i], 1);
        assert_int_equal(w.page->parts[i], i);
    }
    assert_int_equal(w.taken, 1);
    leave(&a);
    finish(&w);
}

static void refuses_a_reload_whose_files_are_bad(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    w.refusal = "the key is no key";
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_true(json_is_false(json_object_get(a.answer, "ok")));
    assert_string_equal(
        ctlmsg_string(a.answer, "message", ""), "the key is no key");
    assert_int_equal(w.left, 1);
    leave(&a);
    w.refusal = NULL;
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_true(json_is_true(json_object_get(a.answer, "ok")));
    for (size_t i = 0; i < CHILDREN; i++)
        assert_int_equal(w.page->aborts[i], 0); /* nobody was asked */
    leave(&a);
    finish(&w);
}

static void aborts_a_reload_that_one_refuses(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    w.page->behaviour[2] = REFUSE_RELOAD;
    begin_and_wait(&w);
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_true(json_is_false(json_object_get(a.answer, "ok")));
    assert_string_equal(
        ctlmsg_string(a.answer, "message", ""), "worker/2: events.lua:1: oops");
    wait_until(&w, w.page->aborts[0] && w.page->aborts[1]);
    for (size_t i = 0; i < CHILDREN; i++)
        assert_int_equal(w.page->commits[i], 0);
    assert_int_equal(w.left, 1);
    leave(&a);
    finish(&w);
}

static void aborts_a_reload_without_waiting_for_all(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    w.page->behaviour[1] = NEVER_PREPARE;
    w.page->behaviour[2] = REFUSE_RELOAD;
    begin_and_wait(&w);
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_string_equal(
        ctlmsg_string(a.answer, "message", ""), "worker/2: events.lua:1: oops");
    wait_until(&w, w.page->aborts[1]);
    leave(&a);
    w.page->behaviour[1] = w.page->behaviour[2] = SERVE;
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_true(json_is_true(json_object_get(a.answer, "ok")));
    leave(&a);
    finish(&w);
}

static void aborts_a_reload_during_which_one_ends(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    w.page->behaviour[1] = DIE_AT_PREPARE;
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_true(json_is_false(json_object_get(a.answer, "ok")));
    assert_non_null(
        strstr(ctlmsg_string(a.answer, "message", ""), "worker/1: "));
    assert_int_equal(w.page->commits[0], 0);
    wait_until(&w, master_child_ready(w.master, 1));
    leave(&a);
    finish(&w);
}

static json_t *reload_of(const char *name)
{
    return json_pack("{s:s,s:s}", "type", "reload", "name", name);
}

static void reloads_workers_of_one_name_and_nothing_else(void **unused)
{
    struct world w;
    struct asker a, b;

    setup(&w);
    w.children[1].name = "Chat";
    w.children[2].name = "Billing";
    begin_and_wait(&w);
    w.refusal = "the certificate has expired"; /* nobody looks at it */
    ask(&w, &a, reload_of("Billing"));
    wait_until(&w, a.answer);
    assert_true(json_is_true(json_object_get(a.answer, "ok")));
    assert_int_equal(ctlmsg_int(a.answer, "workers", 0), 1);
    assert_int_equal(w.page->commits[0] + w.page->commits[1], 0);
    assert_int_equal(w.page->commits[2], 1);
    assert_int_equal(w.taken, 0);
    leave(&a);
    ask(&w, &b, reload_of("name")); /* the hub's, which is no worker */
    wait_until(&w, b.answer);
    assert_string_equal(ctlmsg_type(b.answer), "error");
    leave(&b);
    finish(&w);
}

/* The last child is a program. */
static void setup_program(
    struct world *w, enum master_restart restart, enum behaviour behaviour)
{
    setup(w);
    w->children[2].role = "program";
    w->children[2].name = "feed";
    w->children[2].restart = restart;
    w->page->behaviour[2] = behaviour;
}

static void lets_a_program_end_for_good(void **unused)
{
    static const struct {
        enum master_restart restart;
        enum behaviour behaviour;
        const char *state;
    } rows[] = {
        {MASTER_ON_FAILURE, END_WELL, "ended"},
        {MASTER_NEVER, END_WELL, "ended"},
        {MASTER_NEVER, CRASH_READY, "failed"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;

        setup_program(&w, rows[i].restart, rows[i].behaviour);
        begin_and_wait(&w);
        wait_until(&w, strcmp(state_of(&w, 2), rows[i].state) == 0);
        assert_int_equal(w.page->starts[2], 1);
        assert_true(
            master_child_ready(w.master, 2) == (rows[i].behaviour == END_WELL));
        finish(&w);
    }
}

static void backs_off_a_program_that_ends_at_once(void **unused)
{
    static const enum behaviour behaviours[] = {END_WELL, CRASH_READY};

    for (size_t i = 0; i < 2; i++) {
        struct world w;

        setup_program(&w,
            behaviours[i] == END_WELL ? MASTER_ALWAYS : MASTER_ON_FAILURE,
            behaviours[i]);
        w.loop.data = &w.clock; /* the back-off does not end by itself */
        begin_and_wait(&w);
        wait_until(&w, w.page->starts[2] == 1 + MASTER_RESTARTS);
        wait_until(&w, strcmp(state_of(&w, 2), "back-off") == 0);
        finish(&w);
    }
}

static void reloads_programs_with_the_scripts(void **unused)
{
    struct world w;
    struct asker a;

    setup_program(&w, MASTER_ALWAYS, SERVE);
    begin_and_wait(&w);
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_int_equal(ctlmsg_int(a.answer, "programs", 0), 1);
    assert_int_equal(w.page->commits[2], 1);
    leave(&a);
    w.page->behaviour[2] = REFUSE_RELOAD;
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_true(json_is_false(json_object_get(a.answer, "ok")));
    leave(&a);
    finish(&w);
}

static void begins_a_program_that_has_ended_when_it_is_named(void **unused)
{
    struct world w;
    struct asker a;

    setup_program(&w, MASTER_NEVER, END_WELL);
    begin_and_wait(&w);
    wait_until(&w, strcmp(state_of(&w, 2), "ended") == 0);
    ask(&w, &a, reload_question()); /* does not mean it */
    wait_until(&w, a.answer);
    assert_int_equal(ctlmsg_int(a.answer, "programs", -1), 0);
    leave(&a);
    assert_int_equal(w.page->starts[2], 1);
    w.page->behaviour[2] = SERVE;
    ask(&w, &a, reload_of("feed"));
    wait_until(&w, a.answer);
    assert_int_equal(ctlmsg_int(a.answer, "programs", -1), 0);
    assert_int_equal(ctlmsg_int(a.answer, "started", 0), 1);
    leave(&a);
    wait_until(&w, strcmp(state_of(&w, 2), "ready") == 0);
    ask(&w, &a, reload_question()); /* nor while it runs */
    wait_until(&w, a.answer);
    assert_int_equal(w.page->commits[2], 0);
    leave(&a);
    finish(&w);
}

static void unites_the_reloads_that_wait(void **unused)
{
    struct world w;
    struct asker a, b, c;

    setup(&w);
    w.children[1].name = "Chat";
    w.children[2].name = "Billing";
    begin_and_wait(&w);
    ask(&w, &a, reload_of("Chat"));
    ask(&w, &b, reload_of("Chat"));
    ask(&w, &c, reload_of("Billing"));
    wait_until(&w, a.answer && b.answer && c.answer);
    assert_int_equal(ctlmsg_int(a.answer, "workers", 0), 1);
    assert_int_equal(ctlmsg_int(c.answer, "workers", 0), 2);
    assert_int_equal(w.page->commits[0], 0);
    assert_int_equal(w.page->commits[1], 2);
    assert_int_equal(w.page->commits[2], 1);
    leave(&a);
    leave(&b);
    leave(&c);
    finish(&w);
}

static void queues_one_reload_behind_another(void **unused)
{
    struct world w;
    struct asker a, b, c;

    setup(&w);
    begin_and_wait(&w);
    ask(&w, &a, reload_question());
    ask(&w, &b, reload_question());
    ask(&w, &c, reload_question());
    wait_until(&w, a.answer && b.answer && c.answer);
    assert_true(json_is_true(json_object_get(a.answer, "ok")));
    assert_true(json_is_true(json_object_get(c.answer, "ok")));
    assert_int_equal(ctlmsg_int(a.answer, "generation", 0), 2);
    assert_int_equal(ctlmsg_int(b.answer, "generation", 0), 3);
    assert_int_equal(ctlmsg_int(c.answer, "generation", 0), 3);
    assert_int_equal(w.page->commits[1], 2);
    leave(&a);
    leave(&b);
    leave(&c);
    finish(&w);
}

static void starts_waiting_children_with_the_new_script(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    w.loop.data = &w.clock; /* the back-off does not end by itself */
    begin_and_wait(&w);
    w.page->behaviour[1] = CRASH_READY;
    kill_child(&w, 1);
    wait_until(&w, w.page->starts[1] == 1 + MASTER_RESTARTS);
    wait_until(&w, strcmp(state_of(&w, 1), "back-off") == 0);
    w.page->behaviour[1] = SERVE;
    ask(&w, &a, reload_question());
    wait_until(&w, a.answer);
    assert_int_equal(ctlmsg_int(a.answer, "workers", 0), CHILDREN - 1);
    assert_int_equal(ctlmsg_int(a.answer, "started", 0), 1);
    wait_until(&w, master_child_ready(w.master, 1));
    leave(&a);
    finish(&w);
}

static void stops_by_command_and_says_so_first(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    ask(&w, &a, json_pack("{s:s,s:b}", "type", "stop", "graceful", 0));
    wait_until(&w, w.stopped && a.answer);
    assert_string_equal(ctlmsg_type(a.answer), "stopping");
    leave(&a);
    finish(&w);
}

static void refuses_what_it_does_not_know(void **unused)
{
    struct world w;
    struct asker a;

    setup(&w);
    begin_and_wait(&w);
    ask(&w, &a, json_pack("{s:s}", "type", "make_coffee"));
    wait_until(&w, a.answer);
    assert_string_equal(ctlmsg_type(a.answer), "error");
    leave(&a);
    finish(&w);
}

static void keeps_the_control_socket_for_its_own_user(void **unused)
{
    struct world w;
    struct stat st;

    setup(&w);
    begin_and_wait(&w);
    assert_int_equal(stat(w.control, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    finish(&w);
}

static void names_the_control_socket_that_cannot_be_had(void **unused)
{
    struct world w;
    struct master *m = NULL;
    char err[256] = "";

    setup(&w);
    w.conf.control_path = "/nonexistent/control";
    assert_true(master_new(&m, &w.loop, &w.conf, &events, &w, err) < 0);
    assert_non_null(strstr(err, "/nonexistent/control"));
    w.conf.control_path = w.control;
    begin_and_wait(&w);
    finish(&w);
}

static void starts_nothing_when_there_is_nothing(void **unused)
{
    struct world w;

    setup(&w);
    w.conf.nchildren = 0;
    begin_and_wait(&w);
    master_stop(w.master, false);
    assert_false(w.stopped); /* not inside the call */
    finish(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_the_start_when_all_are_ready),
        cmocka_unit_test(gives_up_a_start_with_the_childs_own_words),
        cmocka_unit_test(gives_up_a_start_when_a_child_ends_without_a_word),
        cmocka_unit_test(gives_up_a_start_when_the_program_cannot_run),
        cmocka_unit_test(restarts_a_child_at_once_then_backs_off),
        cmocka_unit_test(replaces_a_child_that_wears_out_without_back_off),
        cmocka_unit_test(stops_the_last_role_first),
        cmocka_unit_test(kills_what_does_not_stop),
        cmocka_unit_test(waits_for_ever_when_stopping_gracefully),
        cmocka_unit_test(replaces_a_child_that_hangs),
        cmocka_unit_test(blames_no_child_for_a_time_when_it_did_not_run_itself),
        cmocka_unit_test(tells_status_with_each_childs_counters),
        cmocka_unit_test(tells_in_time_who_does_not_answer),
        cmocka_unit_test(hears_a_child_that_asks_beside_many_commands),
        cmocka_unit_test(joins_the_connections_of_all_children),
        cmocka_unit_test(lists_no_more_connections_than_somebody_reads),
        cmocka_unit_test(commits_a_reload_that_all_have_prepared),
        cmocka_unit_test(refuses_a_reload_whose_files_are_bad),
        cmocka_unit_test(aborts_a_reload_that_one_refuses),
        cmocka_unit_test(aborts_a_reload_without_waiting_for_all),
        cmocka_unit_test(aborts_a_reload_during_which_one_ends),
        cmocka_unit_test(reloads_workers_of_one_name_and_nothing_else),
        cmocka_unit_test(lets_a_program_end_for_good),
        cmocka_unit_test(backs_off_a_program_that_ends_at_once),
        cmocka_unit_test(reloads_programs_with_the_scripts),
        cmocka_unit_test(begins_a_program_that_has_ended_when_it_is_named),
        cmocka_unit_test(unites_the_reloads_that_wait),
        cmocka_unit_test(queues_one_reload_behind_another),
        cmocka_unit_test(starts_waiting_children_with_the_new_script),
        cmocka_unit_test(stops_by_command_and_says_so_first),
        cmocka_unit_test(refuses_what_it_does_not_know),
        cmocka_unit_test(keeps_the_control_socket_for_its_own_user),
        cmocka_unit_test(names_the_control_socket_that_cannot_be_had),
        cmocka_unit_test(starts_nothing_when_there_is_nothing),
    };

    signal(SIGPIPE, SIG_IGN); /* as gwrun does: children end at any time */
    if (argc == 4 && strcmp(argv[1], "child") == 0)
        return child_main(atoi(argv[3]));
    return cmocka_run_group_tests_name("master.master", tests, NULL, NULL);
}
