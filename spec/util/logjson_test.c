/* Lines of the log, taken apart into JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/logjson.h"

static void takes_the_fields_out_of_a_message(void **state)
{
    static const struct {
        const char *message, *want;
    } table[] = {
        {"stopping", ",\"message\":\"stopping\""},
        {"stopping graceful=1",
            ",\"message\":\"stopping\",\"fields\":{\"graceful\":\"1\"}"},
        {"a b=1 c=2 d=", ",\"message\":\"a\",\"fields\":{\"b\":\"1\",\"c\":"
                         "\"2\",\"d\":\"\"}"},
        {"no way err=no such file here a=1",
            ",\"message\":\"no way\",\"fields\":{\"err\":\"no such file "
            "here\",\"a\":\"1\"}"},
        {"x q=\"a b=1 \\\"c\\\" \\\\ \\n\\x1b\" z=2",
            ",\"message\":\"x\",\"fields\":{\"q\":\"a b=1 \\\"c\\\" \\\\ "
            "\\n\\\\x1b\",\"z\":\"2\"}"},
        {"x q=\"open a=1",
            ",\"message\":\"x\",\"fields\":{\"q\":\"open a=1\"}"},
        {"say \"hi\"\tA=1 9=2 =3 a=1",
            ",\"message\":\"say \\\"hi\\\"\\tA=1 9=2 "
            "=3\",\"fields\":{\"a\":\"1\"}"},
        {"twice a=1 b=2 a=\"x b=9\"", ",\"message\":\"twice\",\"fields\":{"
                                      "\"b\":\"2\",\"a\":\"x b=9\"}"},
        {"", ",\"message\":\"\""},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf b = {0};

        logjson_put_message(&b, table[i].message, NULL, 1000);
        buf_append_byte(&b, '\0');
        assert_string_equal((const char *)b.data, table[i].want);
        buf_fini(&b);
    }
}

static void has_no_fields_where_there_are_none(void **state)
{
    struct buf b = {0};

    logjson_put_message(&b, "x y=1", "", 1000);
    buf_append_byte(&b, '\0');
    assert_string_equal((const char *)b.data, ",\"message\":\"x y=1\"");
    buf_clear(&b);
    logjson_put_message(&b, "x", " a=1 b=\"2 3\"", 1000);
    buf_append_byte(&b, '\0');
    assert_string_equal((const char *)b.data,
        ",\"message\":\"x\",\"fields\":{\"a\":\"1\",\"b\":\"2 3\"}");
    buf_fini(&b);
}

/* No letter is cut apart, and no field. */
static void stays_within_its_room(void **state)
{
    static const char *const wants[] = {
        ",\"message\":\"\",\"fields\":{\"a\":\"1\"}",
        ",\"message\":\"\\\"\",\"fields\":{\"a\":\"1\"}",
        ",\"message\":\"\\\"\",\"fields\":{\"a\":\"1\"}",
        ",\"message\":\"\\\"é\",\"fields\":{\"a\":\"1\"}",
    };
    static const size_t rooms[] = {33, 34, 35, 36};

    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        struct buf b = {0};

        logjson_put_message(&b, "\"é\"\"\"\"\"\"",
            " a=1 b=0123456789012345678901234567890123456789", rooms[i]);
        assert_true(b.len <= rooms[i]);
        buf_append_byte(&b, '\0');
        assert_string_equal((const char *)b.data, wants[i]);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_fields_out_of_a_message),
        cmocka_unit_test(stays_within_its_room),
        cmocka_unit_test(has_no_fields_where_there_are_none),
    };

    return cmocka_run_group_tests_name("util.logjson", tests, NULL, NULL);
}
