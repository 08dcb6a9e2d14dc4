/* Lines, length prefixes and replies: where a message ends. */
#include "vectors.h"

#include <errno.h>

#include "wire/framing.h"

#define LIMIT 8

static ssize_t measure_line(const char *text, size_t len)
{
    struct bytes b = bytes_copy(text, len);
    ssize_t n = framing_line_measure(b.data, b.len, LIMIT);

    bytes_fini(&b);
    return n;
}

static void a_line_ends_with_its_line_feed(void **state)
{
    for (size_t len = 0; len < 3; len++)
        assert_int_equal(measure_line("abc\nd", len), 0);
    assert_int_equal(measure_line("abc\nd", 4), 4);
    assert_int_equal(measure_line("abc\nd", 5), 4);
    assert_int_equal(measure_line("\n", 1), 1);
}

static void a_line_may_be_as_long_as_the_limit(void **state)
{
    assert_int_equal(measure_line("12345678", 8), 0);
    assert_int_equal(measure_line("12345678\n", 9), 9);
    assert_int_equal(measure_line("123456789", 9), -EMSGSIZE);
    assert_int_equal(measure_line("123456789\n", 10), -EMSGSIZE);
}

static void a_line_without_a_limit_waits(void **state)
{
    const uint8_t text[] = "123456789";

    assert_int_equal(framing_line_measure(text, 9, SIZE_MAX), 0);
}

static void assert_line(const char *packet, const char *want)
{
    struct framing_message m =
        framing_line_message((const uint8_t *)packet, strlen(packet));

    assert_int_equal(m.len, strlen(want));
    assert_memory_equal(m.data, want, m.len);
}

static void a_line_loses_its_end_as_with_php(void **state)
{
    assert_line("abc\n", "abc");
    assert_line("abc\r\n", "abc");
    assert_line("abc\r\r\n", "abc");
    assert_line("a\rc\r\n", "a\rc");
    assert_line("\n", "");
    assert_line("\r\n", "");
}

static void a_line_is_written_with_a_line_feed(void **state)
{
    struct buf out = {0};

    framing_line_encode(&out, "abc", 3);
    framing_line_encode(&out, NULL, 0);
    assert_buf_text(&out, "abc\n\n");
    buf_fini(&out);
}

static ssize_t measure_prefix(const char *hex)
{
    struct bytes b = bytes_from_hex(hex);
    ssize_t n = framing_prefix_measure(b.data, b.len, LIMIT);

    bytes_fini(&b);
    return n;
}

static void a_prefix_counts_itself(void **state)
{
    assert_int_equal(measure_prefix(""), 0);
    assert_int_equal(measure_prefix("000000"), 0);
    assert_int_equal(measure_prefix("00000006"), 6);
    assert_int_equal(measure_prefix("000000066869"), 6);
    assert_int_equal(measure_prefix("00000004"), 4);
    assert_int_equal(measure_prefix("0000000c"), LIMIT + 4);
}

static void a_prefix_that_lies_is_refused(void **state)
{
    assert_int_equal(measure_prefix("00000000"), -EPROTO);
    assert_int_equal(measure_prefix("00000003"), -EPROTO);
    assert_int_equal(measure_prefix("0000000d"), -EMSGSIZE);
    assert_int_equal(measure_prefix("80000000"), -EMSGSIZE);
    assert_int_equal(measure_prefix("ffffffff"), -EMSGSIZE);
}

static void a_prefixed_message_reads_back(void **state)
{
    struct buf out = {0};
    struct framing_message m;

    framing_prefix_encode(&out, "h\0i", 3);
    assert_memory_equal(out.data, "\0\0\0\7h\0i", 7);
    assert_int_equal(framing_prefix_measure(out.data, out.len, LIMIT), 7);
    m = framing_prefix_message(out.data, out.len);
    assert_int_equal(m.len, 3);
    assert_memory_equal(m.data, "h\0i", 3);
    buf_clear(&out);
    framing_prefix_encode(&out, NULL, 0);
    assert_buf_equal(&out, "\0\0\0\4", 4);
    buf_fini(&out);
}

static ssize_t measure_reply(const char *hex)
{
    struct bytes b = bytes_from_hex(hex);
    ssize_t n = framing_reply_measure(b.data, b.len, LIMIT);

    bytes_fini(&b);
    return n;
}

static void a_reply_counts_what_follows(void **state)
{
    assert_int_equal(measure_reply("000000"), 0);
    assert_int_equal(measure_reply("00000000"), 4);
    assert_int_equal(measure_reply("00000008"), 12);
    assert_int_equal(measure_reply("00000009"), -EMSGSIZE);
    assert_int_equal(measure_reply("ffffffff"), -EMSGSIZE);
}

/* The pieces in which a reply may arrive must not change it. */
static void assert_reply_reencodes(const struct bytes *b)
{
    struct framing_message m;
    struct buf out = {0};

    for (size_t len = 0; len <= b->len; len++) {
        struct bytes cut = bytes_copy(b->data, len);

        assert_int_equal(framing_reply_measure(cut.data, len, 1024),
            len < 4 ? 0 : (ssize_t)b->len);
        bytes_fini(&cut);
    }
    m = framing_reply_message(b->data, b->len);
    framing_reply_encode(&out, m.data, m.len);
    assert_buf_equal(&out, b->data, b->len);
    buf_fini(&out);
}

static void captured_replies_read_back(void **state)
{
    json_t *root =
        vectors_load("spec/vectors/gatewayworker-conversations.json");
    json_t *call, *connection;
    size_t i, j;

    json_array_foreach(json_object_get(root, "client_calls"), i, call)
    {
        json_array_foreach(json_object_get(call, "connections"), j, connection)
        {
            struct bytes b = bytes_from_hex(
                json_string_value(json_object_get(connection, "from_gateway")));

            if (b.len > 0)
                assert_reply_reencodes(&b);
            bytes_fini(&b);
        }
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_ends_with_its_line_feed),
        cmocka_unit_test(a_line_may_be_as_long_as_the_limit),
        cmocka_unit_test(a_line_without_a_limit_waits),
        cmocka_unit_test(a_line_loses_its_end_as_with_php),
        cmocka_unit_test(a_line_is_written_with_a_line_feed),
        cmocka_unit_test(a_prefix_counts_itself),
        cmocka_unit_test(a_prefix_that_lies_is_refused),
        cmocka_unit_test(a_prefixed_message_reads_back),
        cmocka_unit_test(a_reply_counts_what_follows),
        cmocka_unit_test(captured_replies_read_back),
    };

    return cmocka_run_group_tests_name("wire.framing", tests, NULL, NULL);
}
