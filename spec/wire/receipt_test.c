/* What a gateway says of the orders that it has run. */
#include "vectors.h"

#include <errno.h>
#include <stdbool.h>

#include "wire/frame.h"
#include "wire/receipt.h"

static void reads_what_it_writes(void **state)
{
    static const uint8_t want[] = {
        0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 255, 255, 255, 255};
    const struct receipt r = {{0, 1, 2, 0x01020304, UINT32_MAX}};
    struct receipt back;
    uint8_t out[RECEIPT_LEN];

    receipt_put(out, &r);
    assert_int_equal(sizeof(out), sizeof(want));
    assert_memory_equal(out, want, sizeof(want));
    assert_int_equal(receipt_parse(&back, out, sizeof(out)), 0);
    assert_memory_equal(&back, &r, sizeof(r));
}

static void refuses_other_lengths(void **state)
{
    static const uint8_t zeros[20];
    struct receipt r;

    for (size_t len = 0; len <= sizeof(zeros); len++) {
        struct bytes b = bytes_copy(zeros, len);

        assert_int_equal(
            receipt_parse(&r, b.data, len), len == 16 ? 0 : -EPROTO);
        bytes_fini(&b);
    }
}

/* Else a lost one would be in no counter. */
static void has_a_kind_for_every_order(void **state)
{
    for (int cmd = 0; cmd <= UINT8_MAX; cmd++) {
        bool is_order = frame_cmd_kind((uint8_t)cmd) == FRAME_KIND_ORDER;

        assert_int_equal(receipt_kinds[cmd] != RECEIPT_OTHER, is_order);
    }
    assert_int_equal(receipt_kinds[FRAME_SEND_TO_GROUP], RECEIPT_SEND);
    assert_int_equal(receipt_kinds[FRAME_KICK], RECEIPT_CLOSE);
    assert_int_equal(receipt_kinds[FRAME_UNGROUP], RECEIPT_MEMBER);
    assert_int_equal(receipt_kinds[FRAME_PATCH_SESSION], RECEIPT_SESSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(refuses_other_lengths),
        cmocka_unit_test(has_a_kind_for_every_order),
    };

    return cmocka_run_group_tests_name("wire.receipt", tests, NULL, NULL);
}
