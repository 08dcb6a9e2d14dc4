/* Frames against captured traffic, cut at every length, and lying lengths. */
#include "vectors.h"

#include <errno.h>

#include "wire/frame.h"

static struct bytes captured(void)
{
    return bytes_from_hex("00000021" /* pack_len */
                          "03"       /* ON_MESSAGE */
                          "7f000001"
                          "0b54"     /* 127.0.0.1:2900 */
                          "0a000005" /* 10.0.0.5 */
                          "e3c0"     /* client port 58304 */
                          "fffffffe" /* connection id */
                          "01"       /* flag */
                          "205a"     /* gateway port 8282 */
                          "00000002"
                          "6162"     /* ext "ab" */
                          "68690a"); /* body "hi\n" */
}

/* As frame_decode(), which finds the same body as frame_body(). */
static int decode(struct frame *f, const uint8_t *data, size_t len)
{
    int err = frame_decode(f, data, len);
    size_t body_len = 0;
    const uint8_t *body = frame_body(data, len, &body_len);

    if (err < 0) {
        assert_null(body);
        return err;
    }
    assert_int_equal(frame_cmd(data), f->cmd);
    assert_ptr_equal(body, f->body);
    assert_int_equal(body_len, f->body_len);
    return 0;
}

static void decodes_every_field(void **state)
{
    struct bytes b = captured();
    struct frame f;

    assert_int_equal(frame_measure(b.data, b.len, FRAME_MAX_LEN), b.len);
    assert_int_equal(decode(&f, b.data, b.len), 0);
    assert_int_equal(f.cmd, FRAME_ON_MESSAGE);
    assert_int_equal(f.flag, FRAME_FLAG_STRING);
    assert_int_equal(f.local_ip, 0x7f000001);
    assert_int_equal(f.local_port, 2900);
    assert_int_equal(f.client_ip, 0x0a000005);
    assert_int_equal(f.client_port, 58304);
    assert_true(f.connection_id == 0xfffffffe);
    assert_int_equal(f.gateway_port, 8282);
    assert_int_equal(f.ext_len, 2);
    assert_memory_equal(f.ext, "ab", 2);
    assert_int_equal(f.body_len, 3);
    assert_memory_equal(f.body, "hi\n", 3);
    bytes_fini(&b);
}

static void reencode_all(const uint8_t *data, size_t len)
{
    struct buf out = {0};
    size_t at = 0;

    while (at < len) {
        ssize_t n = frame_measure(data + at, len - at, FRAME_MAX_LEN);
        struct frame f;

        assert_true(n > 0 && (size_t)n <= len - at);
        assert_int_equal(decode(&f, data + at, (size_t)n), 0);
        assert_string_not_equal(frame_cmd_name(f.cmd), "?");
        frame_encode(&out, &f);
        at += (size_t)n;
    }
    assert_buf_equal(&out, data, len);
    buf_fini(&out);
}

static void encodes_what_it_decodes_from_captured_traffic(void **state)
{
    vectors_each_capture(reencode_all);
}

static void asks_for_more_bytes_until_the_length_is_whole(void **state)
{
    struct bytes b = captured();

    for (size_t len = 0; len <= b.len; len++) {
        struct bytes cut = bytes_copy(b.data, len);

        assert_int_equal(frame_measure(cut.data, cut.len, FRAME_MAX_LEN),
            len < 4 ? 0 : (ssize_t)b.len);
        bytes_fini(&cut);
    }
    bytes_fini(&b);
}

static void refuses_a_packet_cut_at_any_length(void **state)
{
    struct bytes b = captured();
    struct frame f;

    for (size_t len = 0; len < b.len; len++) {
        struct bytes cut = bytes_copy(b.data, len);

        assert_int_equal(frame_decode(&f, cut.data, cut.len), -EPROTO);
        bytes_fini(&cut);
    }
    bytes_fini(&b);
}

static void put32(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void trusts_no_packet_length(void **state)
{
    uint8_t head[4];

    for (int bit = 0; bit <= 32; bit++) {
        for (int off = -1; off <= 1; off++) {
            uint64_t claim = (1ull << bit) + (uint64_t)(int64_t)off;
            ssize_t got;

            if (claim > UINT32_MAX)
                continue;
            put32(head, claim);
            got = frame_measure(head, 4, 1024);
            if (claim < FRAME_HEAD_LEN)
                assert_int_equal(got, -EPROTO);
            else if (claim > 1024)
                assert_int_equal(got, -EMSGSIZE);
            else
                assert_int_equal(got, claim);
        }
    }
}

static void refuses_an_ext_length_past_the_packet(void **state)
{
    struct bytes b = captured();
    static const uint32_t lies[] = {6, 7, 28, 33, 0x7fffffff, 0x80000000,
        0xffffffe3, 0xffffffe4, 0xffffffff};
    struct frame f;

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        put32(b.data + 24, lies[i]);
        assert_int_equal(decode(&f, b.data, b.len), -EPROTO);
    }
    put32(b.data + 24, 5);
    assert_int_equal(decode(&f, b.data, b.len), 0);
    assert_int_equal(f.body_len, 0);
    bytes_fini(&b);
}

static void refuses_a_packet_length_that_is_not_the_given_one(void **state)
{
    struct bytes b = captured();
    struct frame f;

    put32(b.data, b.len + 1);
    assert_int_equal(frame_decode(&f, b.data, b.len), -EPROTO);
    bytes_fini(&b);
}

static const uint8_t ip6[FRAME_IPV6_LEN] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};

static void carries_an_ipv6_address_ahead_of_the_ext_data(void **state)
{
    struct frame f = {.cmd = FRAME_ON_MESSAGE,
        .flag = FRAME_FLAG_STRING | FRAME_FLAG_IPV6,
        .ext = (const uint8_t *)"ext",
        .ext_len = 3,
        .body = (const uint8_t *)"body",
        .body_len = 4};
    struct buf out = {0};
    struct frame got;

    memcpy(f.client_ip6, ip6, sizeof(ip6));
    frame_encode(&out, &f);
    assert_int_equal(out.len, FRAME_HEAD_LEN + FRAME_IPV6_LEN + 7);
    assert_int_equal(decode(&got, out.data, out.len), 0);
    assert_memory_equal(got.client_ip6, ip6, sizeof(ip6));
    assert_int_equal(got.ext_len, 3);
    assert_memory_equal(got.ext, "ext", 3);
    assert_int_equal(got.body_len, 4);
    assert_memory_equal(got.body, "body", 4);
    buf_fini(&out);
}

static void refuses_ext_data_too_short_for_the_address(void **state)
{
    struct frame f = {.cmd = FRAME_ON_MESSAGE, .body = ip6, .body_len = 15};
    struct buf out = {0};
    struct frame got;

    frame_encode(&out, &f);
    out.data[21] = FRAME_FLAG_IPV6;
    for (uint32_t ext_len = 0; ext_len <= 15; ext_len++) {
        put32(out.data + 24, ext_len);
        assert_int_equal(decode(&got, out.data, out.len), -EPROTO);
    }
    buf_fini(&out);
}

static void costs_an_ipv4_client_no_byte(void **state)
{
    struct frame f = {.cmd = FRAME_ON_MESSAGE, .client_ip = 0x0a000005};
    struct buf out = {0};
    struct frame got;

    memcpy(f.client_ip6, ip6, sizeof(ip6));
    frame_encode(&out, &f);
    assert_int_equal(out.len, FRAME_HEAD_LEN);
    assert_int_equal(decode(&got, out.data, out.len), 0);
    for (size_t i = 0; i < sizeof(ip6); i++)
        assert_int_equal(got.client_ip6[i], 0);
    buf_fini(&out);
}

static void carries_a_place_behind_address_and_changes(void **state)
{
    struct buf out = {0};
    struct frame f = {.cmd = FRAME_ON_CLOSE,
        .flag = FRAME_FLAG_IPV6 | FRAME_FLAG_SESSION | FRAME_FLAG_BOOK,
        .changes = 7,
        .book = 3,
        .place = 0x01020304,
        .ext = (const uint8_t *)"ext",
        .ext_len = 3,
        .body = (const uint8_t *)"body",
        .body_len = 4};
    struct frame got;

    f.client_ip6[15] = 1;
    frame_encode(&out, &f);
    assert_int_equal(frame_decode(&got, out.data, out.len), 0);
    assert_true(frame_has_place(&got));
    assert_int_equal(got.client_ip6[15], 1);
    assert_int_equal(got.changes, 7);
    assert_int_equal(got.book, 3);
    assert_int_equal(got.place, 0x01020304);
    assert_int_equal(got.ext_len, 3);
    assert_memory_equal(got.ext, "ext", 3);
    assert_int_equal(got.body_len, 4);
    buf_fini(&out);
}

/* The flag has another meaning there. */
static void carries_no_place_in_a_message(void **state)
{
    struct buf out = {0};
    struct frame f = {.cmd = FRAME_SEND_TO_ALL, .flag = FRAME_FLAG_RAW};
    struct frame got;

    frame_encode(&out, &f);
    assert_int_equal(out.len, FRAME_HEAD_LEN);
    assert_int_equal(frame_decode(&got, out.data, out.len), 0);
    assert_false(frame_has_place(&got));
    buf_fini(&out);
}

static void names_commands(void **state)
{
    assert_string_equal(frame_cmd_name(3), "ON_MESSAGE");
    assert_string_equal(frame_cmd_name(205), "ON_WEBSOCKET_CONNECT");
    assert_string_equal(frame_cmd_name(0), "?");
    assert_string_equal(frame_cmd_name(255), "?");
}

static void knows_what_commands_are_for(void **state)
{
    assert_int_equal(frame_cmd_kind(FRAME_ON_CLOSE), FRAME_KIND_EVENT);
    assert_int_equal(frame_cmd_kind(FRAME_KICK), FRAME_KIND_ORDER);
    assert_int_equal(frame_cmd_kind(FRAME_SELECT), FRAME_KIND_QUESTION);
    assert_int_equal(frame_cmd_kind(FRAME_PING), FRAME_KIND_LINK);
    assert_int_equal(frame_cmd_kind(0), 0);
    assert_int_equal(frame_cmd_kind(2), 0);
    assert_int_equal(frame_cmd_kind(255), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_field),
        cmocka_unit_test(encodes_what_it_decodes_from_captured_traffic),
        cmocka_unit_test(asks_for_more_bytes_until_the_length_is_whole),
        cmocka_unit_test(refuses_a_packet_cut_at_any_length),
        cmocka_unit_test(trusts_no_packet_length),
        cmocka_unit_test(refuses_an_ext_length_past_the_packet),
        cmocka_unit_test(refuses_a_packet_length_that_is_not_the_given_one),
        cmocka_unit_test(carries_an_ipv6_address_ahead_of_the_ext_data),
        cmocka_unit_test(refuses_ext_data_too_short_for_the_address),
        cmocka_unit_test(costs_an_ipv4_client_no_byte),
        cmocka_unit_test(carries_a_place_behind_address_and_changes),
        cmocka_unit_test(carries_no_place_in_a_message),
        cmocka_unit_test(names_commands),
        cmocka_unit_test(knows_what_commands_are_for),
    };

    return cmocka_run_group_tests_name("wire.frame", tests, NULL, NULL);
}
