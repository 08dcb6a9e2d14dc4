/* demand: what is put is read, and nothing that was cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/demand.h"

/* In memory of just that size, for the sanitizers to see. */
static int read_exactly(struct demand *d, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    int err;

    memcpy(copy, data, len);
    err = demand_read(d, copy, len);
    free(copy);
    return err;
}

static void check(uint8_t flags)
{
    struct demand in = {flags, 7, "by:me", 5, 0x0102030405060708}, out;
    struct buf bytes = {0};

    demand_put(&bytes, &in);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(read_exactly(&out, bytes.data, len), -EPROTO);
    assert_int_equal(demand_read(&out, bytes.data, bytes.len), 0);
    assert_int_equal(out.flags, flags);
    if (flags & DEMAND_WAIT) {
        assert_int_equal(out.question, 7);
        assert_int_equal(out.reply_len, 5);
        assert_memory_equal(out.reply, "by:me", 5);
    }
    if (flags & DEMAND_ONLY)
        assert_true(out.login == in.login);
    buf_append_byte(&bytes, 0);
    assert_int_equal(read_exactly(&out, bytes.data, bytes.len), -EPROTO);
    buf_fini(&bytes);
}

static void reads_what_was_put(void **state)
{
    check(DEMAND_WAIT);
    check(DEMAND_ONLY);
    check(DEMAND_WAIT | DEMAND_ONLY);
}

static void reads_a_login(void **state)
{
    struct buf bytes = {0};
    uint64_t login;

    demand_put_login(&bytes, UINT64_MAX - 1);
    assert_int_equal(demand_read_login(&login, bytes.data, bytes.len), 0);
    assert_true(login == UINT64_MAX - 1);
    assert_int_equal(
        demand_read_login(&login, bytes.data, bytes.len - 1), -EPROTO);
    buf_fini(&bytes);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_put),
        cmocka_unit_test(reads_a_login),
    };

    return cmocka_run_group_tests_name("wire.demand", tests, NULL, NULL);
}
