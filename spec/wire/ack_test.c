/* What a worker says of its events: read as written, and whatever may come. */
#include "vectors.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "wire/ack.h"

static void reads_what_it_writes(void **state)
{
    struct buf waits = {0}, begins = {0}, out = {0};
    struct ack a;

    ack_put_number(&waits, 0);
    ack_put_number(&waits, 4);
    ack_put_number(&begins, 0xfffffffe);
    ack_put(&out, 5, 3, &waits, &begins);
    assert_int_equal(out.len, 6 * 4);
    assert_int_equal(ack_parse(&a, out.data, out.len), 0);
    assert_int_equal(a.taken, 5);
    assert_int_equal(a.ended, 3);
    assert_int_equal(a.waits.count, 2);
    assert_int_equal(ack_number(&a.waits, 0), 0);
    assert_int_equal(ack_number(&a.waits, 1), 4);
    assert_int_equal(a.begins.count, 1);
    assert_true(ack_number(&a.begins, 0) == 0xfffffffe);
    buf_fini(&waits);
    buf_fini(&begins);
    buf_fini(&out);
}

static void is_big_endian(void **state)
{
    static const uint8_t want[] = {0, 1, 2, 3, 0, 0, 0, 7, 0, 0, 0, 0};
    struct buf none = {0}, out = {0};

    ack_put(&out, 0x010203, 7, &none, &none);
    assert_int_equal(out.len, sizeof(want));
    assert_memory_equal(out.data, want, sizeof(want));
    buf_fini(&out);
}

static void refuses_other_lengths(void **state)
{
    static const uint8_t zeros[16];
    struct ack a;

    for (size_t len = 0; len <= sizeof(zeros); len++) {
        struct bytes b = bytes_copy(zeros, len);
        bool whole = len == 12 || len == 16;

        assert_int_equal(ack_parse(&a, b.data, len), whole ? 0 : -EPROTO);
        bytes_fini(&b);
    }
}

static void refuses_more_that_wait_than_there_are(void **state)
{
    static const char *const claims[] = {
        "00000002", "40000001", "7fffffff", "80000000", "ffffffff"};
    struct ack a;

    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        char hex[64];
        struct bytes b;

        snprintf(hex, sizeof(hex), "0000000900000000%s00000001", claims[i]);
        b = bytes_from_hex(hex);
        assert_int_equal(ack_parse(&a, b.data, b.len), -EPROTO);
        bytes_fini(&b);
    }
}

static void reads_what_a_link_left(void **state)
{
    struct buf unbegun = {0}, out = {0};
    struct ack_left left;

    ack_put_number(&unbegun, 3);
    ack_put_number(&unbegun, 0xfffffffe);
    ack_put_left(&out, "abc", 7, &unbegun);
    assert_int_equal(out.len, 4 + 3 * 4);
    assert_int_equal(ack_parse_left(&left, out.data, out.len), 0);
    assert_string_equal(left.pair, "abc");
    assert_true(left.known);
    assert_int_equal(left.taken, 7);
    assert_int_equal(left.unbegun.count, 2);
    assert_int_equal(ack_number(&left.unbegun, 0), 3);
    assert_true(ack_number(&left.unbegun, 1) == 0xfffffffe);
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(ack_parse_left(&left, out.data, len),
            len == 4 || (len > 4 && len % 4 == 0) ? 0 : -EPROTO);
    buf_clear(&out);
    ack_put_left(&out, "abc", 0, NULL);
    assert_int_equal(ack_parse_left(&left, out.data, out.len), 0);
    assert_false(left.known);
    buf_fini(&unbegun);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(is_big_endian),
        cmocka_unit_test(reads_what_a_link_left),
        cmocka_unit_test(refuses_other_lengths),
        cmocka_unit_test(refuses_more_that_wait_than_there_are),
    };

    return cmocka_run_group_tests_name("wire.ack", tests, NULL, NULL);
}
