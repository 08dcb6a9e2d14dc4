/* Conditions and ranges, by the sections of RFC 9110. */
#include "vectors.h"

#include <stdio.h>

#include "wire/httpcond.h"

#define FIELDS_MAX 16

/* 784111777 is Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example. */
#define MODIFIED 784111777
#define DATE     "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER  "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER    "Sun, 06 Nov 1994 08:49:38 GMT"

static struct httpcond judge(
    const char *method, const char *lines, uint64_t size, bool ranges)
{
    struct httphead_field fields[FIELDS_MAX];
    struct httphead h = {.fields = fields, .max = FIELDS_MAX};
    struct httpcond_file file = {.etag = "\"tag\"",
        .modified = MODIFIED,
        .size = size,
        .ranges = ranges};
    struct bytes head;
    struct httpcond what;
    char text[512];
    int len = snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: x\r\n%s\r\n",
        method, lines);

    head = bytes_copy(text, (size_t)len);
    assert_int_equal(httphead_parse(&h, (char *)head.data, head.len), 0);
    what = httpcond_judge(&h, &file);
    bytes_fini(&head);
    return what;
}

static void conditions_hold_or_not(void **state)
{
    static const struct {
        const char *lines;
        unsigned status;
    } table[] = {
        {"", 200},
        /* 13.1.1 If-Match: a strong comparison */
        {"If-Match: \"tag\"\r\n", 200},
        {"If-Match: *\r\n", 200},
        {"If-Match: \"a\", \"tag\"\r\n", 200},
        {"If-Match: \"a\"\r\nIf-Match: \"tag\"\r\n", 200},
        {"If-Match: \"other\"\r\n", 412},
        {"If-Match: W/\"tag\"\r\n", 412},
        {"If-Match: tag\r\n", 412},
        {"If-Match: \"tag\"\r\nIf-Unmodified-Since: " EARLIER "\r\n", 200},
        /* 13.1.2 If-None-Match: a weak one */
        {"If-None-Match: \"tag\"\r\n", 304},
        {"If-None-Match: W/\"tag\"\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"a\",W/\"tag\"\r\n", 304},
        {"If-None-Match: \"a\"\r\n", 200},
        {"If-None-Match: \"tag\r\n", 200},
        {"If-None-Match: \"a\"\r\nIf-Modified-Since: " LATER "\r\n", 200},
        /* 13.1.3 If-Modified-Since */
        {"If-Modified-Since: " DATE "\r\n", 304},
        {"If-Modified-Since: " LATER "\r\n", 304},
        {"If-Modified-Since: " EARLIER "\r\n", 200},
        {"If-Modified-Since: yesterday\r\n", 200},
        {"If-Modified-Since: " DATE "\r\nIf-Modified-Since: " DATE "\r\n", 200},
        /* 13.1.4 If-Unmodified-Since */
        {"If-Unmodified-Since: " DATE "\r\n", 200},
        {"If-Unmodified-Since: " EARLIER "\r\n", 412},
        {"If-Unmodified-Since: never\r\n", 200},
        /* 13.2.2: in this order */
        {"If-Match: \"a\"\r\nIf-None-Match: \"tag\"\r\n", 412},
        {"If-None-Match: \"tag\"\r\nRange: bytes=0-0\r\n", 304},
        {"If-Match: \"tag\"\r\nRange: bytes=0-0\r\n", 206},
        /* 13.1.5 If-Range */
        {"If-Range: \"tag\"\r\nRange: bytes=0-0\r\n", 206},
        {"If-Range: \"a\"\r\nRange: bytes=0-0\r\n", 200},
        {"If-Range: W/\"tag\"\r\nRange: bytes=0-0\r\n", 200},
        {"If-Range: " DATE "\r\nRange: bytes=0-0\r\n", 206},
        {"If-Range: " LATER "\r\nRange: bytes=0-0\r\n", 200},
        {"If-Range: \"tag\"\r\nIf-Range: \"tag\"\r\nRange: bytes=0-0\r\n", 200},
        {"If-Range: \"tag\"\r\n", 200},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct httpcond what = judge("GET", table[i].lines, 100, true);

        if (what.status != table[i].status)
            fail_msg("%s gives %u", table[i].lines, what.status);
    }
}

static void a_range_is_what_section_14_says(void **state)
{
    static const struct {
        const char *range;
        uint64_t size;
        unsigned status;
        uint64_t first, len;
    } table[] = {
        {"bytes=0-0", 100, 206, 0, 1},
        {"bytes=0-99", 100, 206, 0, 100},
        {"bytes=0-100", 100, 206, 0, 100},
        {"bytes=10-19", 100, 206, 10, 10},
        {"bytes=99-", 100, 206, 99, 1},
        {"bytes=0-", 100, 206, 0, 100},
        {"bytes=-1", 100, 206, 99, 1},
        {"bytes=-100", 100, 206, 0, 100},
        {"bytes=-101", 100, 206, 0, 100},
        {"BYTES= 5-9 ", 100, 206, 5, 5},
        {"bytes=0-99999999999999999999999", 100, 206, 0, 100},
        {"bytes=100-", 100, 416, 100, 0},
        {"bytes=100-200", 100, 416, 100, 0},
        {"bytes=-0", 100, 416, 100, 0},
        {"bytes=0-", 0, 416, 0, 0},
        {"bytes=-5", 0, 416, 0, 0},
        {"bytes=99999999999999999999999-", 100, 416, UINT64_MAX, 0},
        /* not understood, or several */
        {"bytes=5-4", 100, 200, 0, 100},
        {"bytes=-", 100, 200, 0, 100},
        {"bytes=", 100, 200, 0, 100},
        {"bytes=a-b", 100, 200, 0, 100},
        {"bytes=0-1,5-6", 100, 200, 0, 100},
        {"bytes=0-1x", 100, 200, 0, 100},
        {"bytes=--1", 100, 200, 0, 100},
        {"bytes=+1-2", 100, 200, 0, 100},
        {"lines=0-1", 100, 200, 0, 100},
        {"bytes", 100, 200, 0, 100},
        {"", 100, 200, 0, 100},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char line[128];
        struct httpcond what;

        snprintf(line, sizeof(line), "Range: %s\r\n", table[i].range);
        what = judge("GET", line, table[i].size, true);
        if (what.status != table[i].status || what.first != table[i].first ||
            what.size != table[i].len)
            fail_msg("%s of %llu gives %u, %llu from %llu on", table[i].range,
                (unsigned long long)table[i].size, what.status,
                (unsigned long long)what.size, (unsigned long long)what.first);
        assert_int_equal(judge("HEAD", line, 100, true).status, 200);
        assert_int_equal(judge("GET", line, 100, false).status, 200);
    }
    assert_int_equal(
        judge("GET", "Range: bytes=0-0\r\nRange: bytes=1-1\r\n", 100, true)
            .status,
        200);
}

static void dates_have_three_forms(void **state)
{
    static const char *const good[] = {
        DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};
    static const char *const bad[] = {"", "Sun", DATE "x", "784111777",
        "Sun, 06 Nov 1994 08:49:37", "Sun, 36 Nov 1994 08:49:37 GMT"};
    char text[HTTPCOND_DATE_SIZE];
    time_t t;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(httpcond_read_date(good[i], &t));
        assert_int_equal(t, MODIFIED);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(httpcond_read_date(bad[i], &t));
    assert_string_equal(httpcond_date(text, MODIFIED), DATE);
}

static bool accepts(const char *value, const char *coding)
{
    struct httphead_field fields[1];
    struct httphead h = {.fields = fields, .max = 1};
    char text[256];
    int len = snprintf(text, sizeof(text),
        "GET / HTTP/1.1\r\nAccept-Encoding: %s\r\n\r\n", value);

    assert_int_equal(httphead_parse(&h, text, (size_t)len), 0);
    return httpcond_accepts(&h, coding);
}

static void a_coding_is_taken_unless_its_weight_is_0(void **state)
{
    assert_true(accepts("gzip", "gzip"));
    assert_true(accepts("deflate, GZIP;q=0.5, br", "gzip"));
    assert_true(accepts("br ; q=0.001", "br"));
    assert_true(accepts("br;q=1.000", "br"));
    assert_false(accepts("br;q=0", "br"));
    assert_false(accepts("br; q=0.000", "br"));
    assert_false(accepts("brotli", "br"));
    assert_false(accepts("b", "br"));
    assert_false(accepts("", "gzip"));
    assert_false(accepts("identity", "gzip"));
    assert_false(accepts("*", "gzip"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_hold_or_not),
        cmocka_unit_test(a_range_is_what_section_14_says),
        cmocka_unit_test(dates_have_three_forms),
        cmocka_unit_test(a_coding_is_taken_unless_its_weight_is_0),
    };

    return cmocka_run_group_tests_name("wire.httpcond", tests, NULL, NULL);
}
