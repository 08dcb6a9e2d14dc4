#include "../net/testloop.h"

#include <stdlib.h>
#include <string.h>

#include "discovery/discovery_impl.h"
#include "net/conn.h"
#include "net/listener.h"
#include "util/buf.h"
#include "wire/framing.h"

#define CONNS_MAX 8

/* A register that says what the test wants. */
struct fake {
    struct testloop *t;
    struct turn *turn;
    struct listener *listener;
    union addr addr;
    char text[ADDR_TEXT_SIZE];
    struct conn *conns[CONNS_MAX]; /* the latest is the last */
    size_t count;
    size_t connects;
    struct buf said; /* lines of the link, joined */
    size_t lines;
};

struct fixture {
    struct testloop t;
    struct turn *turn;
    struct fake one;
    struct fake two;
    const char *registers[3];
    struct discovery_conf conf;
    struct discovery *link;
    char list[256]; /* the united list, joined by spaces */
    size_t changes;
    bool close_on_change;
};

static void on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct fake *r = arg;

    buf_append(&r->said, packet, len);
    r->lines++;
}

static void on_close(struct conn *c, int err, void *arg)
{
    struct fake *r = arg;

    for (size_t i = 0; i < r->count; i++)
        if (r->conns[i] == c)
            r->conns[i] = r->conns[--r->count];
}

static const struct conn_ops ops = {
    .measure = framing_line_measure,
    .on_packet = on_packet,
    .on_close = on_close,
};

static const struct conn_limits limits = {65536, 65536};

static void on_accept(
    struct listener *l, int fd, const union addr *peer, void *arg)
{
    struct fake *r = arg;

    assert_true(r->count < CONNS_MAX);
    r->conns[r->count++] = conn_open(r->turn, fd, &ops, &limits, r);
    r->connects++;
}

static void fake_listen(struct fake *r, int fd)
{
    assert_int_equal(
        listener_open(&r->listener, &r->t->loop, fd, on_accept, r), 0);
}

static void fake_open(struct fake *r, struct fixture *f)
{
    r->t = &f->t;
    r->turn = f->turn;
    fake_listen(r, testloop_bind(&r->addr));
    addr_format(r->text, &r->addr);
}

static void fake_hang_up(struct fake *r)
{
    while (r->count > 0)
        conn_close(r->conns[--r->count]);
}

static void fake_stop(struct fake *r)
{
    fake_hang_up(r);
    if (r->listener)
        listener_close(r->listener);
    r->listener = NULL;
}

static void fake_say(struct fake *r, const char *line)
{
    assert_true(r->count > 0);
    buf_append_str(conn_out(r->conns[r->count - 1]), line);
}

static void fake_say_list(struct fake *r, const char *addresses)
{
    fake_say(r, "{\"event\":\"broadcast_addresses\",\"addresses\":[");
    fake_say(r, addresses);
    fake_say(r, "]}\n");
}

static void fake_expect(struct fake *r, const char *line)
{
    size_t lines = r->lines;

    testloop_until(r->t, r->lines > lines || r->said.len > 0);
    assert_int_equal(r->said.len, strlen(line));
    assert_memory_equal(r->said.data, line, r->said.len);
    buf_clear(&r->said);
}

static void on_addresses(const char *const *addresses, size_t count, void *arg)
{
    struct fixture *f = arg;

    f->changes++;
    f->list[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        strcat(f->list, i > 0 ? " " : "");
        strcat(f->list, addresses[i]);
    }
    if (f->close_on_change) {
        discovery_close(f->link);
        f->link = NULL;
        assert_non_null(addresses[0]); /* still there */
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    testloop_open(&f->t);
    f->turn = turn_new(&f->t.loop);
    fake_open(&f->one, f);
    fake_open(&f->two, f);
    f->registers[0] = f->one.text;
    f->conf.registers = f->registers;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->link)
        discovery_close(f->link);
    fake_stop(&f->one);
    fake_stop(&f->two);
    turn_close(f->turn);
    testloop_close(&f->t);
    buf_fini(&f->one.said);
    buf_fini(&f->two.said);
    free(f);
    return 0;
}

#define WORKER "{\"event\":\"worker_connect\",\"secret_key\":\"k\"}\n"

static void open_worker(struct fixture *f)
{
    f->link = discovery_watch(f->turn, &f->conf, "k", on_addresses, f);
    fake_expect(&f->one, WORKER);
    if (f->registers[1])
        fake_expect(&f->two, WORKER);
}

static void announces_a_gateway(void **state)
{
    struct fixture *f = *state;

    f->link = discovery_announce(f->turn, &f->conf, "k", "10.0.0.5:2900");
    assert_int_equal(discovery_missing(f->link), 1);
    fake_expect(&f->one, "{\"event\":\"gateway_connect\",\"address\":"
                         "\"10.0.0.5:2900\",\"secret_key\":\"k\"}\n");
    assert_int_equal(discovery_missing(f->link), 0);
    fake_say_list(&f->one, "\"10.0.0.5:2900\""); /* a gateway needs no list */
    testloop_turns(&f->t, 5);
    assert_int_equal(discovery_missing(f->link), 0);
}

static void announces_a_gateway_again_after_a_loss(void **state)
{
    struct fixture *f = *state;

    f->link = discovery_announce(f->turn, &f->conf, "", "10.0.0.5:1");
    for (int i = 0; i < 3; i++) {
        fake_expect(&f->one, "{\"event\":\"gateway_connect\",\"address\":"
                             "\"10.0.0.5:1\",\"secret_key\":\"\"}\n");
        fake_hang_up(&f->one);
        testloop_until(&f->t, discovery_missing(f->link) == 1);
    }
}

static void tells_only_what_changed(void **state)
{
    struct fixture *f = *state;

    open_worker(f);
    fake_say_list(&f->one, "");
    fake_say_list(&f->one, "\"10.0.0.5:1\"");
    fake_say_list(&f->one, "\"10.0.0.5:1\"");
    fake_say(&f->one, "{\"event\":\"ping\"}\n");
    fake_say_list(&f->one, "\"10.0.0.5:1\",\"10.0.0.6:1\",\"10.0.0.5:1\"");
    testloop_until(&f->t, f->changes == 2);
    assert_string_equal(f->list, "10.0.0.5:1 10.0.0.6:1");
    fake_say_list(&f->one, "");
    testloop_until(&f->t, f->changes == 3);
    assert_string_equal(f->list, "");
}

static void unites_the_lists_of_all_registers(void **state)
{
    struct fixture *f = *state;

    f->registers[1] = f->two.text;
    open_worker(f);
    assert_int_equal(discovery_missing(f->link), 0);
    fake_say_list(&f->two, "\"10.0.0.7:1\",\"10.0.0.5:1\"");
    testloop_until(&f->t, f->changes == 1);
    assert_string_equal(f->list, "10.0.0.7:1 10.0.0.5:1");
    fake_say_list(&f->one, "\"10.0.0.5:1\",\"10.0.0.6:1\"");
    testloop_until(&f->t, f->changes == 2);
    assert_string_equal(f->list, "10.0.0.5:1 10.0.0.6:1 10.0.0.7:1");
    fake_say_list(&f->two, "");
    testloop_until(&f->t, f->changes == 3);
    assert_string_equal(f->list, "10.0.0.5:1 10.0.0.6:1");
}

static void keeps_the_list_of_a_register_that_is_away(void **state)
{
    struct fixture *f = *state;

    f->registers[1] = f->two.text;
    open_worker(f);
    fake_say_list(&f->one, "\"10.0.0.5:1\"");
    testloop_until(&f->t, f->changes == 1);
    fake_say_list(&f->two, "\"10.0.0.6:1\"");
    testloop_until(&f->t, f->changes == 2);
    fake_stop(&f->one);
    testloop_until(&f->t, discovery_missing(f->link) == 1);
    fake_say_list(&f->two, "\"10.0.0.6:1\",\"10.0.0.8:1\"");
    testloop_until(&f->t, f->changes == 3);
    assert_string_equal(f->list, "10.0.0.5:1 10.0.0.6:1 10.0.0.8:1");
    fake_listen(&f->one, listener_bind(&f->one.addr, false));
    fake_expect(&f->one, WORKER);
    assert_string_equal(f->list, "10.0.0.5:1 10.0.0.6:1 10.0.0.8:1");
    fake_say_list(&f->one, "");
    testloop_until(&f->t, f->changes == 4);
    assert_string_equal(f->list, "10.0.0.6:1 10.0.0.8:1");
}

static void redials_a_register_that_talks_nonsense(void **state)
{
    struct fixture *f = *state;

    open_worker(f);
    fake_say(&f->one, "nonsense\n");
    testloop_until(&f->t, f->one.connects == 2);
    fake_expect(&f->one, WORKER);
    fake_say_list(&f->one, "\"10.0.0.5:1\"");
    testloop_until(&f->t, f->changes == 1);
}

static void leaves_out_what_is_no_address(void **state)
{
    struct fixture *f = *state;

    open_worker(f);
    fake_say_list(&f->one, "\"here\",\"10.0.0.5:1\",\"10.0.0.6\"");
    testloop_until(&f->t, f->changes == 1);
    assert_string_equal(f->list, "10.0.0.5:1");
}

static void may_be_closed_when_the_list_changes(void **state)
{
    struct fixture *f = *state;

    f->close_on_change = true;
    open_worker(f);
    fake_say_list(&f->one, "\"10.0.0.5:1\"");
    fake_say_list(&f->one, "\"10.0.0.6:1\"");
    testloop_until(&f->t, f->changes == 1);
    testloop_until(&f->t, f->one.count == 0);
    assert_int_equal(f->changes, 1);
}

static void may_be_closed_while_nobody_is_there(void **state)
{
    struct fixture *f = *state;

    fake_stop(&f->one);
    f->link = discovery_watch(f->turn, &f->conf, "k", on_addresses, f);
    testloop_turns(&f->t, 5);
    assert_int_equal(discovery_missing(f->link), 1);
}

/* The second register is away, the first one has no gateways to name. */
static void is_settled_when_each_has_answered_or_failed(void **state)
{
    struct fixture *f = *state;

    fake_stop(&f->two);
    f->registers[1] = f->two.text;
    f->link = discovery_watch(f->turn, &f->conf, "", on_addresses, f);
    assert_false(discovery_is_settled(f->link));
    testloop_until(&f->t, f->one.lines > 0);
    testloop_turns(&f->t, 5);
    assert_false(discovery_is_settled(f->link));
    fake_say_list(&f->one, "");
    testloop_until(&f->t, discovery_is_settled(f->link));
    assert_int_equal(f->changes, 0);
}

/* ---- the list in a file ---- */

static void keep_in_file(struct fixture *f, char path[32])
{
    strcpy(path, "/tmp/gwrun-kept-XXXXXX");
    f->conf.kept_fd = mkstemp(path);
    assert_true(f->conf.kept_fd > 0);
}

static void end_file(struct fixture *f, const char *path)
{
    discovery_close(f->link);
    f->link = NULL;
    testloop_turns(&f->t, 3);
    close(f->conf.kept_fd);
    unlink(path);
}

/* Another process begins, and finds nobody. */
static void begin_alone(struct fixture *f)
{
    discovery_close(f->link);
    fake_stop(&f->one);
    testloop_turns(&f->t, 3);
    f->changes = 0;
    f->list[0] = '\0';
    f->link = discovery_watch(f->turn, &f->conf, "k", on_addresses, f);
}

static void keeps_the_last_list_for_who_finds_no_register(void **state)
{
    struct fixture *f = *state;
    char path[32];

    keep_in_file(f, path);
    open_worker(f);
    fake_say_list(&f->one, "\"10.0.0.5:1\",\"10.0.0.6:1\",\"10.0.0.7:1\"");
    testloop_until(&f->t, f->changes == 1);
    fake_say_list(&f->one, "\"10.0.0.5:1\",\"10.0.0.8:1\"");
    testloop_until(&f->t, f->changes == 2);
    fake_say_list(&f->one, ""); /* it was started again */
    testloop_until(&f->t, f->changes == 3);
    begin_alone(f);
    testloop_until(&f->t, f->changes == 1);
    assert_string_equal(f->list, "10.0.0.5:1 10.0.0.8:1");
    assert_int_equal(discovery_missing(f->link), 1);
    end_file(f, path);
}

static void believes_a_register_more_than_the_kept_list(void **state)
{
    struct fixture *f = *state;
    char path[32];

    keep_in_file(f, path);
    open_worker(f);
    fake_say_list(&f->one, "\"10.0.0.5:1\"");
    testloop_until(&f->t, f->changes == 1);
    begin_alone(f);
    testloop_until(&f->t, f->changes == 1);
    assert_string_equal(f->list, "10.0.0.5:1");
    fake_listen(&f->one, listener_bind(&f->one.addr, false));
    fake_expect(&f->one, WORKER);
    fake_say_list(&f->one, "\"10.0.0.9:1\"");
    testloop_until(&f->t, f->changes == 2);
    assert_string_equal(f->list, "10.0.0.9:1");
    end_file(f, path);
}

/* One that is not whole, or of other registers, is none: the next one is as
 * good as ever. */
static void takes_no_list_that_is_not_whole(void **state)
{
    struct fixture *f = *state;
    char path[32];
    uint8_t byte;

    keep_in_file(f, path);
    open_worker(f);
    fake_say_list(&f->one, "\"10.0.0.5:1\"");
    testloop_until(&f->t, f->changes == 1);
    for (off_t at = 0; pread(f->conf.kept_fd, &byte, 1, at) == 1; at++) {
        char *lines;

        byte ^= 1;
        assert_int_equal(pwrite(f->conf.kept_fd, &byte, 1, at), 1);
        assert_null(discovery_kept_read(f->conf.kept_fd, f->registers));
        byte ^= 1;
        assert_int_equal(pwrite(f->conf.kept_fd, &byte, 1, at), 1);
        lines = discovery_kept_read(f->conf.kept_fd, f->registers);
        assert_string_equal(lines, "10.0.0.5:1\n");
        free(lines);
    }
    f->registers[1] = f->two.text;
    assert_null(discovery_kept_read(f->conf.kept_fd, f->registers));
    f->registers[1] = NULL;
    for (off_t len = lseek(f->conf.kept_fd, 0, SEEK_END); len-- > 0;) {
        assert_int_equal(ftruncate(f->conf.kept_fd, len), 0);
        assert_null(discovery_kept_read(f->conf.kept_fd, f->registers));
    }
    fake_say_list(&f->one, "\"10.0.0.6:1\"");
    testloop_until(&f->t, f->changes == 2);
    begin_alone(f);
    testloop_until(&f->t, f->changes == 1);
    assert_string_equal(f->list, "10.0.0.6:1");
    end_file(f, path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(announces_a_gateway),
        TEST(announces_a_gateway_again_after_a_loss),
        TEST(tells_only_what_changed),
        TEST(unites_the_lists_of_all_registers),
        TEST(keeps_the_list_of_a_register_that_is_away),
        TEST(redials_a_register_that_talks_nonsense),
        TEST(leaves_out_what_is_no_address),
        TEST(may_be_closed_when_the_list_changes),
        TEST(may_be_closed_while_nobody_is_there),
        TEST(is_settled_when_each_has_answered_or_failed),
        TEST(keeps_the_last_list_for_who_finds_no_register),
        TEST(believes_a_register_more_than_the_kept_list),
        TEST(takes_no_list_that_is_not_whole),
    };

    return cmocka_run_group_tests_name(
        "discovery.discovery_register", tests, NULL, NULL);
}
