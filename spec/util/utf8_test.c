/* The borders of RFC 3629, section 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/utf8.h"

static const char *const good[] = {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf",
    "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
    "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xe4\xbd\xa0\xe5\xa5\xbd"};

static const char *const bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf",
    "\xc2", "\xc2z", "\xe0\x9f\xbf", "\xe4\xbd", "\xe4\xbdz", "\xed\xa0\x80",
    "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
    "\xf0\x90\x80", "\xfe", "\xff"};

/* text behind and in front of so many letters, of which many are looked at in
 * one go; whether what is valid ends where it should. */
static bool valid_to(
    const char *text, size_t before, size_t behind, size_t valid)
{
    size_t text_len = strlen(text), len = before + text_len + behind;
    uint8_t *bytes = malloc(len > 0 ? len : 1); /* nothing is behind them */
    bool ends_there;

    memset(bytes, 'x', len);
    memcpy(bytes + before, text, text_len);
    ends_there = utf8_valid_len(bytes, len) == valid;
    free(bytes);
    return ends_there;
}

static void tells_what_is_utf8_wherever_it_stands(void **state)
{
    for (size_t before = 0; before <= 42; before++) {
        for (size_t behind = 0; behind <= 42; behind++) {
            for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
                assert_true(valid_to(good[i], before, behind,
                    before + strlen(good[i]) + behind));
            for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                assert_true(valid_to(bad[i], before, behind, before));
        }
    }
}

static void measures_one_character(void **state)
{
    assert_int_equal(utf8_len((const uint8_t *)"a\xc2", 2), 1);
    assert_int_equal(utf8_len((const uint8_t *)"\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(utf8_len((const uint8_t *)"\xf0\x9f\x98\x80", 3), 0);
}

#define R UTF8_REPLACEMENT

/* Unicode 15.0, tables 3-8 to 3-11, and what ends or begins with it. */
static const struct {
    const char *text, *want;
    size_t replaced;
} repairs[] = {
    {"", "", 0},
    {"hi", "hi", 0},
    {"hi\xff", "hi" R, 1},
    {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A", 8},
    {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A", 8},
    {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B", 7},
    {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A", 4},
    {"\xe4\xbd\xa0\xe5\xa5", "\xe4\xbd\xa0" R, 1},
    {"\xf0\x9f\x98", R, 1},
    {"\xf0\x9f\x98\xf0\x9f\x98\x80", R "\xf0\x9f\x98\x80", 1},
    {R "\xef\xbf", R R, 1},
};

static void repairs_as_browsers_decode(void **state)
{
    for (size_t i = 0; i < sizeof(repairs) / sizeof(repairs[0]); i++) {
        const char *text = repairs[i].text;
        struct buf out = {0};

        buf_append_byte(&out, '>');
        assert_int_equal(utf8_repair(&out, (const uint8_t *)text, strlen(text)),
            repairs[i].replaced);
        buf_append_byte(&out, '\0');
        assert_string_equal(out.data + 1, repairs[i].want);
        buf_fini(&out);
    }
}

/* Every three bytes of a kind each: what comes out is UTF-8, what was stays,
 * and nothing is swallowed that stands for itself. */
static void what_is_repaired_is_utf8(void **state)
{
    static const uint8_t kinds[] = {'A', 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
        0xc0, 0xc2, 0xdf, 0xe0, 0xe4, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff};
    size_t n = sizeof(kinds);

    for (size_t i = 0; i < n * n * n * n; i++) {
        uint8_t in[5] = {kinds[i % n], kinds[i / n % n], kinds[i / n / n % n],
            kinds[i / n / n / n], 'Z'};
        struct buf out = {0};
        size_t replaced = utf8_repair(&out, in, sizeof(in));

        assert_true(utf8_valid(out.data, out.len));
        assert_int_equal(replaced == 0, utf8_valid(in, sizeof(in)));
        assert_int_equal(out.data[out.len - 1], 'Z');
        buf_fini(&out);
    }
}

/* What stays of it between two letters. */
static void becomes(const char *text, const char *want)
{
    char got[64];

    snprintf(got, sizeof(got), "a%sz", text);
    utf8_make_plain(got, "");
    assert_int_equal(got[0], 'a');
    assert_int_equal(got[strlen(got) - 1], 'z');
    got[strlen(got) - 1] = '\0';
    assert_string_equal(got + 1, want);
}

static void tells_what_may_stand_in_a_line(void **state)
{
    static const char *const plain[] = {" ", "~", "\xc2\xa0", "\xd8\x9b",
        "\xd8\x9d", "\xe2\x80\x8d", "\xe2\x80\x90", "\xe2\x80\xa7",
        "\xe2\x80\xaf", "\xe2\x81\xa5", "\xe2\x81\xb0", "\xef\xbb\xbe",
        "\xef\xbc\x80", "\xd7\xa9", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80"};
    static const char *const not_plain[] = {"\x01", "\t", "\n", "\x1f", "\x7f",
        "\xc2\x80", "\xc2\x9f", "\xd8\x9c", "\xe2\x80\x8e", "\xe2\x80\x8f",
        "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaa", "\xe2\x80\xae",
        "\xe2\x81\xa6", "\xe2\x81\xa9", "\xe2\x81\xaf", "\xef\xbb\xbf", "\xff",
        "\xe4\xbd"};

    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        becomes(plain[i], plain[i]);
    for (size_t i = 0; i < sizeof(not_plain) / sizeof(not_plain[0]); i++)
        becomes(not_plain[i], &"???"[3 - strlen(not_plain[i])]);
}

static void keeps_what_it_is_told_to(void **state)
{
    char text[] = "\xe2\x80\xae"
                  "a\tb\nc";

    utf8_make_plain(text, "\n");
    assert_string_equal(text, "???a?b\nc");
}

static void decodes_one_character(void **state)
{
    assert_int_equal(utf8_decode((const uint8_t *)"a", 1), 'a');
    assert_int_equal(utf8_decode((const uint8_t *)"\xdf\xbf", 2), 0x7ff);
    assert_int_equal(utf8_decode((const uint8_t *)"\xef\xbb\xbf", 3), 0xfeff);
    assert_int_equal(
        utf8_decode((const uint8_t *)"\xf0\x9f\x98\x80", 4), 0x1f600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_utf8_wherever_it_stands),
        cmocka_unit_test(measures_one_character),
        cmocka_unit_test(repairs_as_browsers_decode),
        cmocka_unit_test(what_is_repaired_is_utf8),
        cmocka_unit_test(decodes_one_character),
        cmocka_unit_test(tells_what_may_stand_in_a_line),
        cmocka_unit_test(keeps_what_it_is_told_to),
    };

    return cmocka_run_group_tests_name("util.utf8", tests, NULL, NULL);
}
