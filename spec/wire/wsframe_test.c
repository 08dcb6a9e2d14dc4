/* Websocket frames: RFC 6455's own examples, cut at every length, and what no
 * client may send. */
#include "vectors.h"

#include <errno.h>
#include <stdio.h>

#include "wire/wsframe.h"

#define MASK "\x37\xfa\x21\x3d" /* of section 5.7 */

static void a_frame_of_the_rfc_is_read(void **state)
{
    struct bytes b = bytes_copy("\x81\x85" MASK "\x7f\x9f\x4d\x51\x58", 11);
    struct wsframe f;

    assert_int_equal(wsframe_read(&f, b.data, b.len), 6);
    assert_int_equal(f.opcode, WSFRAME_TEXT);
    assert_true(f.final);
    assert_int_equal(f.len, 5);
    wsframe_unmask(&f, b.data + 6);
    assert_memory_equal(b.data + 6, "Hello", 5);
    bytes_fini(&b);
}

static void lengths_take_one_three_or_nine_bytes(void **state)
{
    static const struct {
        const char *head;
        size_t head_len;
        uint64_t len;
    } table[] = {
        {"\x02\x80" MASK, 6, 0},
        {"\x02\xfd" MASK, 6, 125},
        {"\x02\xfe\x00\x7e" MASK, 8, 126},
        {"\x02\xfe\xff\xff" MASK, 8, 65535},
        {"\x02\xff\x00\x00\x00\x00\x00\x01\x00\x00" MASK, 14, 65536},
        {"\x02\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK, 14, INT64_MAX},
        {"\x02\xff\x00\x00\x00\x00\x00\x00\x00\x01" MASK, 14, 1},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct wsframe f;

        for (size_t cut = 0; cut < table[i].head_len; cut++) {
            struct bytes b = bytes_copy(table[i].head, cut);

            assert_int_equal(wsframe_read(&f, b.data, b.len), 0);
            bytes_fini(&b);
        }
        assert_int_equal(
            wsframe_read(&f, (const uint8_t *)table[i].head, table[i].head_len),
            table[i].head_len);
        assert_false(f.final);
        assert_int_equal(f.opcode, WSFRAME_BINARY);
        assert_int_equal(f.len, table[i].len);
    }
}

static void what_no_client_may_send_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } table[] = {
        {"\x81\x05Hello", 7},         /* no mask */
        {"\xc1\x80" MASK, 6},         /* reserved bits */
        {"\xa1\x80" MASK, 6},         /* */
        {"\x91\x80" MASK, 6},         /* */
        {"\x83\x80" MASK, 6},         /* opcodes that mean nothing */
        {"\x87\x80" MASK, 6},         /* */
        {"\x8b\x80" MASK, 6},         /* */
        {"\x8f\x80" MASK, 6},         /* */
        {"\x09\x80" MASK, 6},         /* a control frame in pieces */
        {"\x88\xfe\x00\x7e" MASK, 8}, /* a long one */
        {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" MASK, 14}, /* 2^63 bytes */
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct wsframe f;

        assert_int_equal(
            wsframe_read(&f, (const uint8_t *)table[i].bytes, table[i].len),
            -EPROTO);
    }
}

static void a_mask_comes_off_at_every_length(void **state)
{
    for (size_t len = 0; len < 40; len++) {
        struct wsframe f = {.len = len, .mask = {1, 2, 4, 8}};
        struct bytes b =
            bytes_copy("0123456789012345678901234567890123456789", len);

        wsframe_unmask(&f, b.data);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(b.data[i] ^ 1 << i % 4, '0' + (int)(i % 10));
        bytes_fini(&b);
    }
}

static void heads_are_written_in_their_shortest_form(void **state)
{
    static const struct {
        size_t len;
        const char *head;
        size_t head_len;
    } table[] = {
        {0, "\x82\x00", 2},
        {125, "\x82\x7d", 2},
        {126, "\x82\x7e\x00\x7e", 4},
        {65535, "\x82\x7e\xff\xff", 4},
        {65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10},
        {0x123456789, "\x82\x7f\x00\x00\x00\x01\x23\x45\x67\x89", 10},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint8_t head[WSFRAME_HEAD_MAX];

        assert_int_equal(wsframe_put_head(head, WSFRAME_BINARY, table[i].len),
            table[i].head_len);
        assert_memory_equal(head, table[i].head, table[i].head_len);
    }
}

static void codes_that_a_close_may_carry(void **state)
{
    static const unsigned good[] = {
        1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999};
    static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1015, 2999, 5000};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(wsframe_is_close_code(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(wsframe_is_close_code(bad[i]));
}

static void reads_and_writes_what_a_close_says(void **state)
{
    static const struct {
        const char *payload;
        size_t len;
        int err;
        unsigned code;
        const char *reason;
    } table[] = {
        {"", 0, 0, 1005, ""},
        {"\x03\xe8", 2, 0, 1000, ""},
        {"\x0f\xa0up", 4, 0, 4000, "up"},
        {"\x03", 1, -EPROTO, 0, ""},
        {"\x03\xed", 2, -EPROTO, 0, ""},
        {"\x03\xe8\xff", 3, -EILSEQ, 0, ""},
    };
    uint8_t long_one[WSFRAME_CONTROL_MAX + 1] = "\x03\xe8";
    struct wsframe_close close;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf out = {0};
        int err = wsframe_read_close(
            &close, (const uint8_t *)table[i].payload, table[i].len);

        assert_int_equal(err, table[i].err);
        if (err < 0)
            continue;
        assert_int_equal(close.code, table[i].code);
        assert_int_equal(close.len, strlen(table[i].reason));
        if (close.len > 0)
            assert_memory_equal(close.reason, table[i].reason, close.len);
        if (close.code == WSFRAME_NO_CODE)
            continue;
        wsframe_put_close(&out, &close);
        assert_int_equal(out.len, table[i].len);
        assert_memory_equal(out.data, table[i].payload, out.len);
        buf_fini(&out);
    }
    memset(long_one + 2, 'x', sizeof(long_one) - 2);
    assert_int_equal(
        wsframe_read_close(&close, long_one, WSFRAME_CONTROL_MAX), 0);
    assert_int_equal(close.len, WSFRAME_REASON_MAX);
    assert_int_equal(
        wsframe_read_close(&close, long_one, sizeof(long_one)), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_of_the_rfc_is_read),
        cmocka_unit_test(lengths_take_one_three_or_nine_bytes),
        cmocka_unit_test(what_no_client_may_send_is_refused),
        cmocka_unit_test(a_mask_comes_off_at_every_length),
        cmocka_unit_test(heads_are_written_in_their_shortest_form),
        cmocka_unit_test(reads_and_writes_what_a_close_says),
        cmocka_unit_test(codes_that_a_close_may_carry),
    };

    return cmocka_run_group_tests_name("wire.wsframe", tests, NULL, NULL);
}
