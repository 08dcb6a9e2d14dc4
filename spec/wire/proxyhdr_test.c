/* PROXY headers of both versions: whole, byte by byte, cut, too long, false. */
#include "vectors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "wire/proxyhdr.h"

#define SIGNATURE "0d0a0d0a000d0a515549540a"

/* Parse a copy that ends where it ends, so that ASan sees a byte too many. */
static ssize_t parse(struct proxyhdr *out, const void *data, size_t len)
{
    struct bytes b = bytes_copy(data, len);
    ssize_t n = proxyhdr_parse(out, b.data, b.len);

    bytes_fini(&b);
    return n;
}

static ssize_t parse_text(struct proxyhdr *out, const char *text)
{
    return parse(out, text, strlen(text));
}

static ssize_t parse_hex(struct proxyhdr *out, const char *hex)
{
    struct bytes b = bytes_from_hex(hex);
    ssize_t n = proxyhdr_parse(out, b.data, b.len);

    bytes_fini(&b);
    return n;
}

static void assert_client(
    const struct proxyhdr *h, enum proxyhdr_kind kind, const char *ip, int port)
{
    char text[INET6_ADDRSTRLEN];
    int family = kind == PROXYHDR_TCP4 ? AF_INET : AF_INET6;

    assert_int_equal(h->kind, kind);
    assert_int_equal(h->port, port);
    if (ip) {
        inet_ntop(family, h->ip, text, sizeof(text));
        assert_string_equal(text, ip);
    }
}

static void reads_a_line(void **state)
{
    static const char tcp4[] =
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
    static const char tcp6[] = "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n";
    struct proxyhdr h;

    assert_int_equal(parse_text(&h, tcp4), sizeof(tcp4) - 1);
    assert_client(&h, PROXYHDR_TCP4, "192.0.2.1", 56324);
    assert_int_equal(parse_text(&h, tcp6), sizeof(tcp6) - 1);
    assert_client(&h, PROXYHDR_TCP6, "2001:db8::1", 0);
}

static void keeps_the_peer_of_an_unknown_line(void **state)
{
    static const char *const lines[] = {
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN ff::1 ff::2 1 2\r\n",
        /* the longest line of the specification */
        "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    };
    struct proxyhdr h;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(parse_text(&h, lines[i]), strlen(lines[i]));
        assert_client(&h, PROXYHDR_DIRECT, NULL, 0);
    }
}

static void refuses_a_line_that_is_none(void **state)
{
    static const char *const lines[] = {
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 056 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY TCP4 192.0.2.1\t198.51.100.1 1 443\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n",
        "GET / HTTP/1.1\r\n",
        "\n",
    };
    struct proxyhdr h;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (parse_text(&h, lines[i]) != -EPROTO)
            fail_msg("taken: %s", lines[i]);
    assert_int_equal(
        parse(&h, "PROXY TCP4 192.0.2.1\0 198.51.100.1 1 443\r\n", 43),
        -EPROTO);
}

static void reads_binary_headers(void **state)
{
    struct proxyhdr h;

    assert_int_equal(parse_hex(&h, SIGNATURE "2111000c"
                                             "c0000201c6336401dc0401bb"),
        28);
    assert_client(&h, PROXYHDR_TCP4, "192.0.2.1", 56324);
    assert_int_equal(
        parse_hex(&h, SIGNATURE "21210024"
                                "20010db8000000000000000000000001"
                                "20010db8000000000000000000000002dc0401bb"),
        52);
    assert_client(&h, PROXYHDR_TCP6, "2001:db8::1", 56324);
}

static void skips_what_follows_the_addresses(void **state)
{
    struct proxyhdr h;

    assert_int_equal(
        parse_hex(&h, SIGNATURE "21110013"
                                "c0000201c6336401dc0401bb"
                                "04000461626364" /* PP2_TYPE_NOOP */
                                "474554"),       /* "GET" of the client */
        35);
    assert_client(&h, PROXYHDR_TCP4, "192.0.2.1", 56324);
}

static void keeps_the_peer_of_a_local_or_other_header(void **state)
{
    static const char *const headers[] = {
        "20000000",                         /* LOCAL */
        "2011000cc0000201c6336401dc0401bb", /* … whatever follows */
        "20ff0001aa", "21000000",           /* UNSPEC */
        "2112000cc0000201c6336401dc0401bb", /* UDP over IPv4 */
        "21310000",                         /* a unix socket */
    };
    struct proxyhdr h;

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        char hex[128];

        snprintf(hex, sizeof(hex), SIGNATURE "%s", headers[i]);
        assert_int_equal(parse_hex(&h, hex), strlen(hex) / 2);
        assert_client(&h, PROXYHDR_DIRECT, NULL, 0);
    }
}

static void refuses_binary_headers_that_are_none(void **state)
{
    static const char *const headers[] = {
        "1111000cc0000201c6336401dc0401bb", /* version 1 */
        "31",                               /* version 3 */
        "2211000cc0000201c6336401dc0401bb", /* a command that is not defined */
        "2111000bc0000201c6336401dc0401",   /* too short for IPv4 */
        "2121000cc0000201c6336401dc0401bb", /* … and for IPv6 */
        "2141000cc0000201c6336401dc0401bb", /* a family that is not defined */
        "2113000cc0000201c6336401dc0401bb",
    };
    struct proxyhdr h;

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        char hex[128];

        snprintf(hex, sizeof(hex), SIGNATURE "%s", headers[i]);
        assert_int_equal(parse_hex(&h, hex), -EPROTO);
    }
    assert_int_equal(parse_hex(&h, "0d0a0d0a000d0a515549540b"), -EPROTO);
}

/* data is a header with `more` bytes behind it. */
static void assert_cut_anywhere(const void *data, size_t len, size_t more)
{
    struct proxyhdr h;

    for (size_t n = 0; n < len - more; n++)
        assert_int_equal(parse(&h, data, n), 0);
    for (size_t n = len - more; n <= len; n++)
        assert_int_equal(parse(&h, data, n), len - more);
}

static void asks_for_more_until_the_header_is_whole(void **state)
{
    static const char tcp4[] =
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET /\r\n";
    struct bytes b = bytes_from_hex(SIGNATURE "21110013"
                                              "c0000201c6336401dc0401bb"
                                              "04000461626364474554");

    assert_cut_anywhere(tcp4, sizeof(tcp4) - 1, 7);
    assert_cut_anywhere(b.data, b.len, 3);
    bytes_fini(&b);
}

static void refuses_a_false_start_with_its_first_wrong_byte(void **state)
{
    struct proxyhdr h;

    assert_int_equal(parse_text(&h, "P"), 0);
    assert_int_equal(parse_text(&h, "PR"), 0);
    assert_int_equal(parse_text(&h, "PO"), -EPROTO);
    assert_int_equal(parse_text(&h, "\r\n\r\n\r"), -EPROTO);
    assert_int_equal(parse_text(&h, "G"), -EPROTO);
}

static void bounds_a_line(void **state)
{
    char line[PROXYHDR_LINE_MAX + 8];
    struct proxyhdr h;

    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(&h, line, PROXYHDR_LINE_MAX - 1), 0);
    assert_int_equal(parse(&h, line, PROXYHDR_LINE_MAX), -EPROTO);
    memcpy(line + PROXYHDR_LINE_MAX - 2, "\r\n", 2);
    assert_int_equal(parse(&h, line, sizeof(line)), PROXYHDR_LINE_MAX);
    memcpy(line + PROXYHDR_LINE_MAX - 2, "x\r\n", 3);
    assert_int_equal(parse(&h, line, sizeof(line)), -EPROTO);
}

static void bounds_a_binary_header(void **state)
{
    struct bytes b = bytes_from_hex(SIGNATURE "20000208");
    uint8_t header[PROXYHDR_MAX] = {0};
    struct proxyhdr h;

    memcpy(header, b.data, b.len);
    assert_int_equal(parse(&h, header, PROXYHDR_MAX - 1), 0);
    assert_int_equal(parse(&h, header, PROXYHDR_MAX), PROXYHDR_MAX);
    header[15]++;
    assert_int_equal(parse(&h, header, b.len), -EMSGSIZE);
    header[14] = 0xff;
    assert_int_equal(parse(&h, header, PROXYHDR_MAX), -EMSGSIZE);
    bytes_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_line),
        cmocka_unit_test(keeps_the_peer_of_an_unknown_line),
        cmocka_unit_test(refuses_a_line_that_is_none),
        cmocka_unit_test(reads_binary_headers),
        cmocka_unit_test(skips_what_follows_the_addresses),
        cmocka_unit_test(keeps_the_peer_of_a_local_or_other_header),
        cmocka_unit_test(refuses_binary_headers_that_are_none),
        cmocka_unit_test(asks_for_more_until_the_header_is_whole),
        cmocka_unit_test(refuses_a_false_start_with_its_first_wrong_byte),
        cmocka_unit_test(bounds_a_line),
        cmocka_unit_test(bounds_a_binary_header),
    };

    return cmocka_run_group_tests_name("wire.proxyhdr", tests, NULL, NULL);
}
