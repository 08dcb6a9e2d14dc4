/* Merging sessions, against array_replace_recursive() of PHP 8.2. */
#include "vectors.h"

#include <errno.h>

#include "wire/phpser.h"

static int merge(struct buf *out, const char *base, const char *over)
{
    struct bytes b = bytes_copy(base, strlen(base));
    struct bytes o = bytes_copy(over, strlen(over));
    int err = phpser_merge(out, b.data, b.len, o.data, o.len);

    bytes_fini(&b);
    bytes_fini(&o);
    return err;
}

static void assert_merged(const char *base, const char *over, const char *want)
{
    struct buf out = {0};

    assert_int_equal(merge(&out, base, over), 0);
    assert_buf_text(&out, want);
    buf_fini(&out);
}

static void replaces_and_appends(void **state)
{
    assert_merged("a:2:{s:1:\"a\";i:1;s:1:\"b\";i:2;}",
        "a:2:{s:1:\"c\";i:3;s:1:\"a\";i:9;}",
        "a:3:{s:1:\"a\";i:9;s:1:\"b\";i:2;s:1:\"c\";i:3;}");
}

static void merges_arrays_in_both_key_by_key(void **state)
{
    assert_merged("a:1:{s:1:\"l\";a:3:{i:0;i:1;i:1;i:2;i:2;i:3;}}",
        "a:1:{s:1:\"l\";a:1:{i:0;i:9;}}",
        "a:1:{s:1:\"l\";a:3:{i:0;i:9;i:1;i:2;i:2;i:3;}}");
    assert_merged("a:1:{s:1:\"x\";a:1:{s:1:\"y\";a:1:{i:5;N;}}}",
        "a:1:{s:1:\"x\";a:1:{s:1:\"y\";a:1:{i:6;b:1;}}}",
        "a:1:{s:1:\"x\";a:1:{s:1:\"y\";a:2:{i:5;N;i:6;b:1;}}}");
}

static void replaces_where_only_one_is_an_array(void **state)
{
    assert_merged("a:1:{i:0;a:1:{i:1;i:2;}}", "a:1:{i:0;s:1:\"x\";}",
        "a:1:{i:0;s:1:\"x\";}");
    assert_merged("a:1:{i:0;s:1:\"x\";}", "a:1:{i:0;a:1:{i:1;i:2;}}",
        "a:1:{i:0;a:1:{i:1;i:2;}}");
}

static void keeps_everything_when_one_is_empty(void **state)
{
    assert_merged("", "a:0:{}", "a:0:{}");
    assert_merged("", "a:1:{i:0;i:1;}", "a:1:{i:0;i:1;}");
    assert_merged("a:0:{}", "a:1:{i:0;i:1;}", "a:1:{i:0;i:1;}");
    assert_merged("a:1:{i:0;i:1;}", "a:0:{}", "a:1:{i:0;i:1;}");
    assert_merged("a:1:{i:0;a:1:{i:1;i:2;}}", "a:1:{i:0;a:0:{}}",
        "a:1:{i:0;a:1:{i:1;i:2;}}");
}

static void takes_keys_as_php_does(void **state)
{
    assert_merged("a:1:{s:1:\"7\";i:1;}", "a:1:{i:07;i:2;}", "a:1:{i:7;i:2;}");
    assert_merged("a:2:{i:0;i:1;i:0;i:2;}", "a:0:{}", "a:1:{i:0;i:2;}");
}

static void does_what_the_captured_update_did(void **state)
{
    assert_merged(
        "a:7:{s:4:\"name\";s:6:\"张三\";s:1:\"n\";i:5;s:1:\"f\";d:1.5;"
        "s:1:\"t\";b:1;s:1:\"z\";N;s:4:\"list\";a:3:{i:0;i:1;i:1;"
        "i:2;i:2;i:3;}s:4:\"deep\";a:1:{s:1:\"x\";a:1:{s:1:\"y\";"
        "s:1:\"z\";}}}",
        "a:3:{s:1:\"n\";i:6;s:4:\"deep\";a:1:{s:1:\"x\";a:1:{s:1:\"w\";i:1;}}"
        "s:4:\"list\";a:1:{i:0;i:9;}}",
        "a:7:{s:4:\"name\";s:6:\"张三\";s:1:\"n\";i:6;s:1:\"f\";d:1.5;"
        "s:1:\"t\";b:1;s:1:\"z\";N;s:4:\"list\";a:3:{i:0;i:9;i:1;i:2;i:2;"
        "i:3;}s:4:\"deep\";a:1:{s:1:\"x\";a:2:{s:1:\"y\";s:1:\"z\";s:1:\"w\";"
        "i:1;}}}");
}

static void assert_refused(const char *base, const char *over, int err)
{
    struct buf out = {0};

    buf_append_str(&out, "kept");
    assert_int_equal(merge(&out, base, over), err);
    assert_buf_text(&out, "kept");
    buf_fini(&out);
}

static void refuses_without_a_trace(void **state)
{
    assert_refused("i:1;", "a:0:{}", -EINVAL);
    assert_refused("a:0:{}", "N;", -EINVAL);
    assert_refused("a:0:{}", "", -EPROTO);
    assert_refused("a:1:{i:0;i:1;", "a:0:{}", -EPROTO);
    assert_refused("a:0:{}", "a:1:{i:0;i:1;}x", -EPROTO);
    assert_refused("a:1:{i:0;i:1;}", "a:1:{i:0;R:1;}", -ENOTSUP);
    assert_refused("O:1:\"A\":0:{}", "a:0:{}", -ENOTSUP);
}

static void refuses_what_could_not_be_read_again(void **state)
{
    const size_t count = PHPSER_COUNT_MAX / 2 + 1;
    struct buf half = {0}, out = {0};

    phpser_put_array(&half, count);
    for (size_t i = 0; i < count; i++)
        buf_append(&half, "i:0;N;", 6);
    phpser_put_end(&half);
    assert_int_equal(phpser_check(half.data, half.len), 0);
    assert_int_equal(
        phpser_merge(&out, half.data, half.len, half.data, half.len), -E2BIG);
    assert_int_equal(out.len, 0);
    buf_fini(&half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_and_appends),
        cmocka_unit_test(merges_arrays_in_both_key_by_key),
        cmocka_unit_test(replaces_where_only_one_is_an_array),
        cmocka_unit_test(keeps_everything_when_one_is_empty),
        cmocka_unit_test(takes_keys_as_php_does),
        cmocka_unit_test(does_what_the_captured_update_did),
        cmocka_unit_test(refuses_without_a_trace),
        cmocka_unit_test(refuses_what_could_not_be_read_again),
    };

    return cmocka_run_group_tests_name("wire.phpser_merge", tests, NULL, NULL);
}
