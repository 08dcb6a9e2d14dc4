/* Clients given up, by gateway, until they are struck or old. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/losses.h"

static const struct client_id one = {0x0a000001, 2900, 7};
static const struct client_id other_port = {0x0a000001, 2901, 7};
static const struct client_id other_ip = {0x0a000002, 2900, 7};

static void strikes_each_client_once(void **state)
{
    struct losses l = {0};

    assert_false(losses_strike(&l, &one));
    losses_add(&l, &one, 0);
    losses_add(&l, &other_ip, 0);
    assert_false(losses_strike(&l, &other_port));
    assert_true(losses_strike(&l, &one));
    assert_false(losses_strike(&l, &one));
    assert_int_equal(l.count, 1);
    assert_true(losses_strike(&l, &other_ip));
    assert_null(l.gateways);
}

static void forgets_old_losses(void **state)
{
    struct losses l = {0};

    losses_add(&l, &one, 1000);
    losses_add(&l, &other_port, 1000);
    losses_add(&l, &other_ip, 2000);
    losses_expire(&l, 1000 + LOSSES_KEEP_MS - 1);
    assert_int_equal(l.count, 3);
    losses_expire(&l, 1000 + LOSSES_KEEP_MS);
    assert_int_equal(l.count, 1);
    assert_true(losses_strike(&l, &other_ip));
    losses_fini(&l);
}

static void ends_with_losses_in_it(void **state)
{
    struct losses l = {0};

    for (uint32_t i = 1; i <= 1000; i++)
        losses_add(&l, &(struct client_id){i % 3, 1, i}, 0);
    assert_int_equal(l.count, 3);
    losses_fini(&l);
    assert_int_equal(l.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strikes_each_client_once),
        cmocka_unit_test(forgets_old_losses),
        cmocka_unit_test(ends_with_losses_in_it),
    };

    return cmocka_run_group_tests_name("worker.losses", tests, NULL, NULL);
}
