/* crossing: what is put is read again, and nothing else is taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/buf.h"
#include "wire/crossing.h"

static const char run[] = "0123456789abcdef0123456789abcdef";

static struct crossing head_of(enum crossing_kind kind)
{
    return (struct crossing){.kind = kind,
        .run = run,
        .sender = 0x1122334455667788u,
        .number = 0x1000000000000001u,
        .to_all = 77};
}

static void check_head(const struct crossing *c, enum crossing_kind kind)
{
    assert_int_equal(c->kind, kind);
    assert_memory_equal(c->run, run, CROSSING_RUN_LEN);
    assert_true(c->sender == 0x1122334455667788u);
    assert_true(c->number == 0x1000000000000001u);
    assert_true(c->to_all == 77);
}

static void reads_an_order_and_whom_it_leaves_out(void **state)
{
    static const struct crossing_gateway skips[] = {
        {0x0a000001, 2900}, {0xf0000001, 65535}};
    struct crossing c = head_of(CROSSING_ORDER);
    struct buf out = {0};

    c.nskips = 2;
    crossing_put(&out, &c, skips);
    buf_append_str(&out, "packet");
    assert_int_equal(crossing_read(&c, out.data, out.len), 0);
    check_head(&c, CROSSING_ORDER);
    assert_int_equal(c.len, 6);
    assert_memory_equal(c.data, "packet", 6);
    assert_true(crossing_skips(&c, 0x0a000001, 2900));
    assert_true(crossing_skips(&c, 0xf0000001, 65535));
    assert_false(crossing_skips(&c, 0x0a000001, 2901));
    assert_false(crossing_skips(&c, 0x0a000002, 2900));
    buf_fini(&out);
}

static void reads_a_question_and_where_its_answer_goes(void **state)
{
    struct crossing c = head_of(CROSSING_QUESTION);
    struct buf out = {0};

    c.question = 0xfffffffe;
    c.reply = "by:me";
    c.reply_len = 5;
    crossing_put(&out, &c, NULL);
    buf_append_str(&out, "packet");
    assert_int_equal(crossing_read(&c, out.data, out.len), 0);
    check_head(&c, CROSSING_QUESTION);
    assert_int_equal(c.question, 0xfffffffe);
    assert_int_equal(c.reply_len, 5);
    assert_memory_equal(c.reply, "by:me", 5);
    assert_memory_equal(c.data, "packet", 6);
    buf_fini(&out);
}

static void reads_an_answer_and_whose_it_is(void **state)
{
    struct crossing c = head_of(CROSSING_ANSWER);
    struct buf out = {0};

    c.question = 9;
    c.from = (struct crossing_gateway){0xc0a80101, 2903};
    c.answer = CROSSING_STORED;
    crossing_put(&out, &c, NULL);
    assert_int_equal(crossing_read(&c, out.data, out.len), 0);
    check_head(&c, CROSSING_ANSWER);
    assert_int_equal(c.question, 9);
    assert_int_equal(c.from.ip, 0xc0a80101);
    assert_int_equal(c.from.port, 2903);
    assert_int_equal(c.answer, CROSSING_STORED);
    assert_int_equal(c.len, 0);
    buf_fini(&out);
}

/* In memory of just that size, so that a sanitizer sees what reads beyond. */
static int read_exactly(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    struct crossing c;
    int err;

    memcpy(copy, data, len);
    err = crossing_read(&c, copy, len);
    free(copy);
    return err;
}

static void takes_nothing_that_was_cut(void **state)
{
    static const struct crossing_gateway skips[] = {{1, 2}};
    static const enum crossing_kind kinds[] = {CROSSING_ORDER,
        CROSSING_QUESTION, CROSSING_ANSWER, CROSSING_COPY, CROSSING_TELL};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct crossing c = head_of(kinds[i]);
        struct buf out = {0};

        c.nskips = 1;
        c.reply = "x";
        c.reply_len = 1;
        crossing_put(&out, &c, skips);
        for (size_t len = 0; len < out.len; len++)
            assert_int_equal(read_exactly(out.data, len), -EPROTO);
        assert_int_equal(read_exactly(out.data, out.len), 0);
        out.data[1] = CROSSING_TELL + 1;
        assert_int_equal(read_exactly(out.data, out.len), -EPROTO);
        out.data[0] = CROSSING_VERSION + 1;
        assert_int_equal(read_exactly(out.data, out.len), -EPROTONOSUPPORT);
        buf_fini(&out);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_an_order_and_whom_it_leaves_out),
        cmocka_unit_test(reads_a_question_and_where_its_answer_goes),
        cmocka_unit_test(reads_an_answer_and_whose_it_is),
        cmocka_unit_test(takes_nothing_that_was_cut),
    };

    return cmocka_run_group_tests_name("wire.crossing", tests, NULL, NULL);
}
