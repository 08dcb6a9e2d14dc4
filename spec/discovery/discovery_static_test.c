/* A list of gateways that stands in the configuration. */
#include "../net/testloop.h"

#include <stdlib.h>
#include <string.h>

#include "discovery/discovery.h"

struct fixture {
    struct testloop t;
    struct turn *turn;
    struct discovery *d;
    char list[128]; /* what was told, joined by spaces */
    size_t changes;
};

static const char *const both[] = {"10.0.0.5:2900", "10.0.0.6:2900", NULL};
static const struct discovery_conf conf = {.gateways = both};

static void on_changed(const char *const *addresses, size_t count, void *arg)
{
    struct fixture *f = arg;

    f->changes++;
    for (size_t i = 0; i < count; i++) {
        strcat(f->list, addresses[i]);
        strcat(f->list, " ");
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    testloop_open(&f->t);
    f->turn = turn_new(&f->t.loop);
    f->d = discovery_watch(f->turn, &conf, "", on_changed, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->d)
        discovery_close(f->d);
    turn_close(f->turn);
    testloop_close(&f->t);
    free(f);
    return 0;
}

static void tells_the_whole_list_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->changes, 0); /* its caller is not ready yet */
    assert_false(discovery_is_settled(f->d));
    testloop_turns(&f->t, 5);
    assert_int_equal(f->changes, 1);
    assert_string_equal(f->list, "10.0.0.5:2900 10.0.0.6:2900 ");
    assert_true(discovery_is_settled(f->d));
    assert_int_equal(discovery_missing(f->d), 0);
}

static void says_nothing_after_its_end(void **state)
{
    struct fixture *f = *state;

    discovery_close(f->d);
    f->d = NULL;
    testloop_turns(&f->t, 5);
    assert_int_equal(f->changes, 0);
}

static void has_nobody_to_announce_a_gateway_to(void **state)
{
    struct fixture *f = *state;

    assert_true(discovery_is_possible(&conf));
    assert_null(discovery_announce(f->turn, &conf, "", "10.0.0.5:2900"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            tells_the_whole_list_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            says_nothing_after_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            has_nobody_to_announce_a_gateway_to, set_up, tear_down),
    };

    return cmocka_run_group_tests_name(
        "discovery.discovery_static", tests, NULL, NULL);
}
