/* Floats as text, against PHP 8.2 with serialize_precision -1. */
#include "vectors.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "wire/phpfloat.h"

static const struct {
    double value;
    const char *text;
} cases[] = {
    {0, "0"},
    {-0.0, "-0"},
    {3, "3"},
    {-1, "-1"},
    {1.5, "1.5"},
    {12.25, "12.25"},
    {0.1, "0.1"},
    {0.1 + 0.2, "0.30000000000000004"},
    {1.0 / 3, "0.3333333333333333"},
    {100000.5, "100000.5"},
    {0.0001, "0.0001"},
    {0.00001, "1.0E-5"},
    {-1.5e-7, "-1.5E-7"},
    {1e14, "100000000000000"},
    {1e15, "1000000000000000"},
    {1e16, "10000000000000000"},
    {1e17, "1.0E+17"},
    {1e25, "1.0E+25"},
    {1e100, "1.0E+100"},
    {123456789012345678.0, "1.2345678901234568E+17"},
    {9007199254740993.0, "9007199254740992"},
    {0x1p-44, "5.684341886080802E-14"},
    {0x1p-791, "7.678447687145631E-239"},
    {DBL_MAX, "1.7976931348623157E+308"},
    {DBL_MIN, "2.2250738585072014E-308"},
    {5e-324, "5.0E-324"},
    {(double)INFINITY, "INF"},
    {-(double)INFINITY, "-INF"},
    {(double)NAN, "NAN"},
};

static void writes_what_php_writes(void **state)
{
    struct buf out = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        phpfloat_put(&out, cases[i].value);
        assert_buf_text(&out, cases[i].text);
    }
    buf_fini(&out);
}

static int parse(double *out, const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    int err = phpfloat_parse(out, b.data, b.len);

    bytes_fini(&b);
    return err;
}

static void assert_same(double got, double want)
{
    if (isnan(want))
        assert_true(isnan(got));
    else
        assert_memory_equal(&got, &want, sizeof(got));
}

static void reads_what_it_writes(void **state)
{
    double got;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(&got, cases[i].text), 0);
        assert_same(got, cases[i].value);
    }
}

static void reads_other_spellings(void **state)
{
    static const struct {
        const char *text;
        double want;
    } more[] = {{"+1", 1}, {".5", 0.5}, {"5.", 5}, {"1e3", 1000},
        {"1E-3", 0.001}, {"012.50", 12.5}, {"1e999999999999", (double)INFINITY},
        {"-1e-999999999999", -0.0},
        {"0.1000000000000000055511151231257827", 0.1}};
    double got;

    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        assert_int_equal(parse(&got, more[i].text), 0);
        assert_same(got, more[i].want);
    }
}

static void refuses_what_is_not_a_number(void **state)
{
    static const char *const bad[] = {"", "-", "+", ".", "-.", "e5", "1e",
        "1e+", "1.5.5", "1,5", " 1", "1 ", "0x10", "inf", "nan", "INFINITY",
        "+INF", "-NAN", "1e5.0", "--1",
        "00000000000000000000000000000000000000000000000000000000000000001"};
    double got;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(&got, bad[i]) != -EPROTO)
            fail_msg("\"%s\" was accepted", bad[i]);
}

/* A multiplicative generator: the same doubles on every run. */
static void reads_back_any_double(void **state)
{
    uint64_t bits = 88172645463325252ull;
    struct buf out = {0};

    for (int i = 0; i < 20000; i++) {
        double value, got;

        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&value, &bits, sizeof(value));
        if (isnan(value))
            continue;
        phpfloat_put(&out, value);
        assert_int_equal(phpfloat_parse(&got, out.data, out.len), 0);
        assert_same(got, value);
        buf_clear(&out);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_php_writes),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(reads_other_spellings),
        cmocka_unit_test(refuses_what_is_not_a_number),
        cmocka_unit_test(reads_back_any_double),
    };

    return cmocka_run_group_tests_name("wire.phpfloat", tests, NULL, NULL);
}
