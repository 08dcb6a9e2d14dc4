#include "../net/testloop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "register/register.h"
#include "util/buf.h"

#define KEY "s3cret"

struct fixture {
    struct testloop t;
    struct clock clock; /* of tests that move it themselves */
    struct register_conf conf;
    struct register_role *role;
    union addr addr;
};

/* One that talks to the register: a gateway, a worker or a stranger. */
struct caller {
    struct fixture *f;
    int fd;
    struct buf in;
    bool ended;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    testloop_open(&f->t);
    fd = testloop_bind(&f->addr);
    f->conf.listen = "127.0.0.1:0";
    f->conf.secret_key = KEY;
    f->conf.auth_timeout = REGISTER_AUTH_TIMEOUT;
    assert_int_equal(register_new(&f->role, &f->t.loop, &f->conf, fd), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->role)
        register_free(f->role);
    testloop_close(&f->t);
    free(f);
    return 0;
}

static void call(struct caller *c, struct fixture *f)
{
    memset(c, 0, sizeof(*c));
    c->f = f;
    c->fd = testloop_dial(&f->addr);
}

static void say(struct caller *c, const char *line)
{
    size_t len = strlen(line);

    assert_int_equal(write(c->fd, line, len), len);
}

static void hang_up(struct caller *c)
{
    close(c->fd);
    buf_fini(&c->in);
}

/* Read what has come, without waiting. */
static void look(struct caller *c)
{
    uint8_t data[4096];
    ssize_t n;

    while ((n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
        buf_append(&c->in, data, (size_t)n);
    if (n == 0)
        c->ended = true;
}

static bool has_line(struct caller *c)
{
    look(c);
    return c->in.len > 0 && memchr(c->in.data, '\n', c->in.len);
}

static bool has_ended(struct caller *c)
{
    look(c);
    return c->ended;
}

/* The next line must be the list of these addresses, written as in JSON. */
static void expect_list(struct caller *c, const char *addresses)
{
    char want[512];
    size_t len;

    testloop_until(&c->f->t, has_line(c));
    snprintf(want, sizeof(want),
        "{\"event\":\"broadcast_addresses\",\"addresses\":[%s]}\n", addresses);
    len = (size_t)((uint8_t *)memchr(c->in.data, '\n', c->in.len) - c->in.data +
                   1);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(c->in.data, want, len);
    buf_consume(&c->in, len);
}

static void expect_silence(struct caller *c)
{
    testloop_turns(&c->f->t, 5);
    look(c);
    assert_int_equal(c->in.len, 0);
    assert_false(c->ended);
}

static void expect_end(struct caller *c)
{
    testloop_until(&c->f->t, has_ended(c));
    assert_int_equal(c->in.len, 0);
}

static struct register_status status_of(struct fixture *f)
{
    struct register_status s;

    register_status(f->role, &s);
    return s;
}

#define GATEWAY(address)                                    \
    "{\"event\":\"gateway_connect\",\"address\":\"" address \
    "\",\"secret_key\":\"" KEY "\"}\n"
#define WORKER "{\"event\":\"worker_connect\",\"secret_key\":\"" KEY "\"}\n"
#define PING   "{\"event\":\"ping\"}\n"

static void tells_workers_who_joins_and_who_leaves(void **state)
{
    struct fixture *f = *state;
    struct caller worker, a, b;

    call(&worker, f);
    say(&worker, WORKER);
    expect_list(&worker, "");
    call(&a, f);
    say(&a, GATEWAY("10.0.0.5:2900"));
    expect_list(&worker, "\"10.0.0.5:2900\"");
    call(&b, f);
    say(&b, GATEWAY("10.0.0.4:2900"));
    expect_list(&worker, "\"10.0.0.5:2900\",\"10.0.0.4:2900\"");
    assert_int_equal(status_of(f).gateways, 2);
    assert_int_equal(status_of(f).workers, 1);
    hang_up(&a);
    expect_list(&worker, "\"10.0.0.4:2900\"");
    hang_up(&b);
    expect_list(&worker, "");
    assert_int_equal(status_of(f).gateways, 0);
    hang_up(&worker);
    testloop_until(&f->t, status_of(f).workers == 0);
}

static void answers_a_worker_each_time_it_asks(void **state)
{
    struct fixture *f = *state;
    struct caller worker, a;

    call(&a, f);
    say(&a, GATEWAY("10.0.0.5:2900"));
    testloop_until(&f->t, status_of(f).gateways == 1);
    call(&worker, f);
    say(&worker, WORKER);
    expect_list(&worker, "\"10.0.0.5:2900\"");
    say(&worker, WORKER PING WORKER);
    expect_list(&worker, "\"10.0.0.5:2900\"");
    expect_list(&worker, "\"10.0.0.5:2900\"");
    expect_silence(&worker);
    assert_int_equal(status_of(f).workers, 1);
    hang_up(&a);
    hang_up(&worker);
}

static void keeps_an_address_while_any_connection_carries_it(void **state)
{
    struct fixture *f = *state;
    struct caller worker, a, twin;

    call(&worker, f);
    call(&a, f);
    call(&twin, f);
    say(&a, GATEWAY("10.0.0.5:2900"));
    testloop_until(&f->t, status_of(f).gateways == 1);
    say(&twin, GATEWAY("10.0.0.5:2900"));
    testloop_until(&f->t, status_of(f).pending == 1);
    say(&worker, WORKER);
    expect_list(&worker, "\"10.0.0.5:2900\"");
    hang_up(&a);
    expect_silence(&worker);
    assert_int_equal(status_of(f).gateways, 1);
    hang_up(&twin);
    expect_list(&worker, "");
    hang_up(&worker);
}

static void lets_a_gateway_change_its_address(void **state)
{
    struct fixture *f = *state;
    struct caller worker, a;

    call(&worker, f);
    say(&worker, WORKER);
    expect_list(&worker, "");
    call(&a, f);
    say(&a, GATEWAY("10.0.0.5:2900"));
    expect_list(&worker, "\"10.0.0.5:2900\"");
    say(&a, GATEWAY("10.0.0.5:2900")); /* again: no news */
    expect_silence(&worker);
    say(&a, GATEWAY("10.0.0.5:2901"));
    expect_list(&worker, "\"10.0.0.5:2901\"");
    hang_up(&a);
    expect_list(&worker, "");
    hang_up(&worker);
}

static void sends_what_changes_in_one_moment_as_one_list(void **state)
{
    struct fixture *f = *state;
    struct caller worker, a, b, c;

    call(&worker, f);
    say(&worker, WORKER);
    expect_list(&worker, "");
    call(&a, f);
    call(&b, f);
    call(&c, f);
    say(&a, GATEWAY("10.0.0.1:1"));
    say(&b, GATEWAY("10.0.0.2:1"));
    say(&c, GATEWAY("10.0.0.3:1"));
    expect_list(&worker, "\"10.0.0.1:1\",\"10.0.0.2:1\",\"10.0.0.3:1\"");
    expect_silence(&worker);
    hang_up(&a);
    hang_up(&b);
    hang_up(&c);
    hang_up(&worker);
}

static void understands_lines_that_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    struct caller worker;
    const char *line =
        "{\"secret_key\":\"" KEY "\",\"event\":\"worker_connect\"}\r\n";

    call(&worker, f);
    for (size_t i = 0; line[i]; i++) {
        assert_int_equal(write(worker.fd, line + i, 1), 1);
        testloop_turns(&f->t, 1);
    }
    expect_list(&worker, "");
    hang_up(&worker);
}

static void closes_who_breaks_the_rules(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "\n",
        "hello\n",
        "GET / HTTP/1.1\r\n",
        "\r\n[ERROR] fake\x1b[2J\n",
        "[]\n",
        "{\"event\":\"destroy\"}\n",
        "{\"event\":7}\n",
        "{\"event\":\"worker_connect\"}\n",
        "{\"event\":\"worker_connect\",\"secret_key\":\"\"}\n",
        "{\"event\":\"worker_connect\",\"secret_key\":\"s3cre\"}\n",
        "{\"event\":\"worker_connect\",\"secret_key\":\"s3crets\"}\n",
        "{\"event\":\"worker_connect\",\"secret_key\":\"S3cret\"}\n",
        "{\"event\":\"worker_connect\",\"secret_key\":[1]}\n",
        "{\"event\":\"gateway_connect\",\"address\":\"10.0.0.1:1\"}\n",
        "{\"event\":\"gateway_connect\",\"secret_key\":\"" KEY "\"}\n",
        GATEWAY("nowhere"),
        GATEWAY("10.0.0.1"),
        GATEWAY("10.0.0.1:0"),
        GATEWAY("10.0.0.1:1\\nx"),
        "{\"event\":\"broadcast_addresses\",\"addresses\":[]}\n",
    };
    const size_t count = sizeof(bad) / sizeof(bad[0]);

    for (size_t i = 0; i < count; i++) {
        struct caller c;

        call(&c, f);
        say(&c, bad[i]);
        expect_end(&c);
        hang_up(&c);
    }
    assert_int_equal(status_of(f).refused, count);
    assert_int_equal(status_of(f).pending, 0);
    assert_int_equal(status_of(f).gateways, 0);
}

static void closes_a_gateway_that_breaks_the_rules_later(void **state)
{
    struct fixture *f = *state;
    struct caller worker, a;

    call(&worker, f);
    say(&worker, WORKER);
    expect_list(&worker, "");
    call(&a, f);
    say(&a, GATEWAY("10.0.0.5:2900"));
    expect_list(&worker, "\"10.0.0.5:2900\"");
    say(&a, "garbage\n" GATEWAY("10.0.0.6:2900"));
    expect_end(&a);
    expect_list(&worker, "");
    hang_up(&a);
    hang_up(&worker);
}

static void closes_a_line_without_an_end(void **state)
{
    struct fixture *f = *state;
    struct caller c;
    char flood[20000];

    memset(flood, 'x', sizeof(flood));
    call(&c, f);
    assert_int_equal(write(c.fd, flood, sizeof(flood)), sizeof(flood));
    testloop_until(&f->t, status_of(f).refused == 1);
    assert_int_equal(status_of(f).pending, 0);
    hang_up(&c);
}

static void closes_who_does_not_say_who_it_is(void **state)
{
    struct fixture *f = *state;
    struct caller silent, chatty, worker;

    f->t.loop.data = &f->clock;
    f->conf.auth_timeout = 0.1;
    call(&worker, f);
    say(&worker, WORKER);
    call(&silent, f);
    call(&chatty, f);
    say(&chatty, PING); /* allowed, but says nothing */
    expect_list(&worker, "");
    testloop_until(&f->t, status_of(f).pending == 2);
    f->clock.now += 100;
    expect_end(&silent);
    expect_end(&chatty);
    expect_silence(&worker); /* the timeout is for strangers */
    assert_int_equal(status_of(f).refused, 2);
    hang_up(&silent);
    hang_up(&chatty);
    hang_up(&worker);
}

static void gives_each_stranger_its_own_time(void **state)
{
    struct fixture *f = *state;
    struct caller early, late;

    f->t.loop.data = &f->clock;
    f->conf.auth_timeout = 0.05;
    call(&early, f);
    testloop_until(&f->t, status_of(f).pending == 1);
    f->conf.auth_timeout = 0.2;
    call(&late, f);
    testloop_until(&f->t, status_of(f).pending == 2);
    f->clock.now += 50;
    expect_end(&early);
    expect_silence(&late);
    f->clock.now += 150;
    expect_end(&late);
    hang_up(&early);
    hang_up(&late);
}

#define STRANGERS 300

static void strangers_take_no_place_of_who_has_the_key(void **state)
{
    struct fixture *f = *state;
    struct caller early, late;
    int fds[STRANGERS];
    char byte;

    call(&early, f);
    say(&early, WORKER);
    expect_list(&early, "");
    for (int i = 0; i < STRANGERS; i++)
        fds[i] = testloop_dial(&f->addr);
    call(&late, f);
    say(&late, WORKER);
    expect_list(&late, "");
    testloop_until(
        &f->t, status_of(f).refused >= STRANGERS - REGISTER_MAX_STRANGERS);
    assert_true(status_of(f).pending <= REGISTER_MAX_STRANGERS);
    assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), 0);
    expect_silence(&early);
    expect_silence(&late);
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i]);
    hang_up(&early);
    hang_up(&late);
}

static void closes_a_worker_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    struct caller worker;
    struct caller gateways[64];
    char line[128];

    for (size_t i = 0; i < 64; i++) {
        call(&gateways[i], f);
        snprintf(
            line, sizeof(line), GATEWAY("10.100.100.1:%d"), 10000 + (int)i);
        say(&gateways[i], line);
    }
    call(&worker, f);
    while (status_of(f).refused == 0) {
        assert_false(f->t.expired);
        send(worker.fd, WORKER WORKER WORKER WORKER,
            strlen(WORKER WORKER WORKER WORKER), MSG_DONTWAIT | MSG_NOSIGNAL);
        uv_run(&f->t.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(status_of(f).workers, 0);
    assert_int_equal(status_of(f).gateways, 64);
    hang_up(&worker);
    for (size_t i = 0; i < 64; i++)
        hang_up(&gateways[i]);
}

static void wants_the_key_even_when_there_is_none(void **state)
{
    struct fixture *f = *state;
    struct caller right, wrong;

    f->conf.secret_key = "";
    call(&right, f);
    say(&right, "{\"event\":\"worker_connect\"}\n");
    expect_list(&right, "");
    call(&wrong, f);
    say(&wrong, WORKER);
    expect_end(&wrong);
    hang_up(&right);
    hang_up(&wrong);
}

static void ends_every_connection_when_freed(void **state)
{
    struct fixture *f = *state;
    struct caller worker, a, stranger;

    call(&worker, f);
    say(&worker, WORKER);
    expect_list(&worker, "");
    call(&a, f);
    say(&a, GATEWAY("10.0.0.5:2900"));
    call(&stranger, f);
    testloop_until(&f->t, status_of(f).gateways == 1);
    testloop_until(&f->t, status_of(f).pending == 1);
    register_free(f->role);
    f->role = NULL;
    expect_end(&a);
    expect_end(&stranger);
    testloop_until(&f->t, has_ended(&worker));
    hang_up(&a);
    hang_up(&stranger);
    hang_up(&worker);
}

/* The addresses in the last whole line. */
static size_t count_last_list(struct caller *c)
{
    const uint8_t *end = memrchr(c->in.data, '\n', c->in.len);
    const uint8_t *at = c->in.data;
    size_t count = 0;

    if (!end)
        return 0;
    for (; at < end; at++) {
        if (*at == '\n')
            count = 0;
        else if (memcmp(at, "\"10.", 4) == 0)
            count++;
    }
    return count;
}

static void serves_two_hundred_gateways_and_workers(void **state)
{
    struct fixture *f = *state;
    static struct caller gateways[200];
    static struct caller workers[200];
    char line[128];
    size_t bytes = 0;

    for (size_t i = 0; i < 200; i++) {
        call(&workers[i], f);
        say(&workers[i], WORKER);
        call(&gateways[i], f);
        snprintf(line, sizeof(line), GATEWAY("10.0.0.1:%d"), 1000 + (int)i);
        say(&gateways[i], line);
    }
    testloop_until(&f->t, status_of(f).gateways == 200);
    testloop_until(&f->t, status_of(f).workers == 200);
    for (size_t i = 0; i < 200; i++) {
        while (!has_line(&workers[i]) || count_last_list(&workers[i]) < 200) {
            assert_false(f->t.expired);
            uv_run(&f->t.loop, UV_RUN_NOWAIT);
        }
        bytes += workers[i].in.len;
    }
    /* 200 lists each would be 64 MB. */
    assert_true(bytes < 8 * 1024 * 1024);
    for (size_t i = 0; i < 200; i++) {
        hang_up(&workers[i]);
        hang_up(&gateways[i]);
    }
    testloop_until(&f->t, status_of(f).gateways == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tells_workers_who_joins_and_who_leaves),
        TEST(answers_a_worker_each_time_it_asks),
        TEST(keeps_an_address_while_any_connection_carries_it),
        TEST(lets_a_gateway_change_its_address),
        TEST(sends_what_changes_in_one_moment_as_one_list),
        TEST(understands_lines_that_come_byte_by_byte),
        TEST(closes_who_breaks_the_rules),
        TEST(closes_a_gateway_that_breaks_the_rules_later),
        TEST(closes_a_line_without_an_end),
        TEST(closes_who_does_not_say_who_it_is),
        TEST(gives_each_stranger_its_own_time),
        TEST(strangers_take_no_place_of_who_has_the_key),
        TEST(closes_a_worker_that_does_not_read),
        TEST(wants_the_key_even_when_there_is_none),
        TEST(ends_every_connection_when_freed),
        TEST(serves_two_hundred_gateways_and_workers),
    };

    return cmocka_run_group_tests_name("register.register", tests, NULL, NULL);
}
