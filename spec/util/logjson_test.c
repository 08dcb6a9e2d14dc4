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
        {"", ",\"message\":\"\""},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf b = {0};

        logjson_put_message(&b, table[i].message);
        buf_append_byte(&b, '\0');
        assert_string_equal((const char *)b.data, table[i].want);
        buf_fini(&b);
    }
}

static void has_no_fields_where_there_are_none(void **state)
{
    struct buf b = {0};

    logjson_put_fields(&b, "");
    assert_int_equal(b.len, 0);
    logjson_put_fields(&b, " a=1 b=\"2 3\"");
    buf_append_byte(&b, '\0');
    assert_string_equal(
        (const char *)b.data, ",\"fields\":{\"a\":\"1\",\"b\":\"2 3\"}");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_fields_out_of_a_message),
        cmocka_unit_test(has_no_fields_where_there_are_none),
    };

    return cmocka_run_group_tests_name("util.logjson", tests, NULL, NULL);
}
