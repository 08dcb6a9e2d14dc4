/* The borders of RFC 3629, section 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

/* text behind and in front of so many letters: the ASCII is skipped by eights.
 */
static bool valid_among(const char *text, size_t before, size_t behind)
{
    uint8_t bytes[64];
    size_t len = strlen(text);

    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes + before, text, len);
    return utf8_valid(bytes, before + len + behind);
}

static void tells_what_is_utf8_wherever_it_stands(void **state)
{
    for (size_t before = 0; before <= 20; before++) {
        for (size_t behind = 0; behind <= 20; behind++) {
            for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
                assert_true(valid_among(good[i], before, behind));
            for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                assert_false(valid_among(bad[i], before, behind));
        }
    }
}

static void measures_one_character(void **state)
{
    assert_int_equal(utf8_len((const uint8_t *)"a\xc2", 2), 1);
    assert_int_equal(utf8_len((const uint8_t *)"\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(utf8_len((const uint8_t *)"\xf0\x9f\x98\x80", 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_utf8_wherever_it_stands),
        cmocka_unit_test(measures_one_character),
    };

    return cmocka_run_group_tests_name("util.utf8", tests, NULL, NULL);
}
