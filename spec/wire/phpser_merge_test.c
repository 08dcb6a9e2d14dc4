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
    assert_merged(
        "a:1:{s:1:\"0\";i:1;}", "a:1:{i:0;i:2;}", "a:1:{s:1:\"0\";i:2;}");
    assert_merged("a:1:{i:0;i:1;}", "a:1:{s:1:\"0\";i:2;}", "a:1:{i:0;i:2;}");
    assert_merged("a:1:{i:5;a:0:{}}", "a:1:{i:5;a:1:{s:1:\"0\";i:2;}}",
        "a:1:{i:5;a:1:{s:1:\"0\";i:2;}}");
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
    assert_refused("O:1:\"A\":0:{}", "a:0:{}", -EINVAL);
}

static void gives_references_their_new_numbers(void **state)
{
    /* inside a value, behind one that grew */
    assert_merged("a:2:{s:1:\"a\";i:1;s:1:\"o\";O:1:\"A\":1:{s:1:\"x\";r:3;}}",
        "a:1:{s:1:\"a\";a:2:{i:0;N;i:1;N;}}",
        "a:2:{s:1:\"a\";a:2:{i:0;N;i:1;N;}s:1:\"o\";O:1:\"A\":1:{s:1:\"x\";"
        "r:5;}}");
    /* across keys, of base and of over; r counts itself, R does not */
    assert_merged("a:5:{i:0;O:1:\"A\":0:{}i:1;r:2;i:2;i:7;i:3;R:4;i:4;a:0:{}}",
        "a:4:{i:4;a:1:{i:9;i:9;}i:5;O:1:\"B\":0:{}i:6;r:4;i:7;R:4;}",
        "a:8:{i:0;O:1:\"A\":0:{}i:1;r:2;i:2;i:7;i:3;R:4;i:4;a:1:{i:9;i:9;}"
        "i:5;O:1:\"B\":0:{}i:6;r:7;i:7;R:7;}");
    /* into an array that is merged, and out of it */
    assert_merged("a:2:{i:0;a:2:{i:0;N;i:1;i:5;}i:1;a:2:{i:0;R:4;i:1;N;}}",
        "a:2:{i:0;a:1:{i:0;a:1:{i:0;N;}}i:1;a:1:{i:1;i:6;}}",
        "a:2:{i:0;a:2:{i:0;a:1:{i:0;N;}i:1;i:5;}i:1;a:2:{i:0;R:5;i:1;i:6;}}");
    /* what is replaced may be a reference, and what is meant may be one */
    assert_merged("a:3:{i:0;O:1:\"A\":0:{}i:1;r:2;i:2;r:3;}", "a:1:{i:3;N;}",
        "a:4:{i:0;O:1:\"A\":0:{}i:1;r:2;i:2;r:3;i:3;N;}");
    assert_merged("a:3:{i:0;O:1:\"A\":0:{}i:1;r:2;i:2;r:2;}",
        "a:1:{i:1;a:1:{i:0;N;}}",
        "a:3:{i:0;O:1:\"A\":0:{}i:1;a:1:{i:0;N;}i:2;r:2;}");
}

static void refuses_references_that_would_mean_nothing(void **state)
{
    static const char two[] = "a:2:{i:0;O:1:\"A\":1:{i:0;N;}i:1;r:2;}";

    assert_refused(two, "a:1:{i:0;i:1;}", -ENOTSUP);
    assert_refused("a:2:{i:0;a:0:{}i:1;R:2;}", "a:1:{i:0;a:0:{}}", -ENOTSUP);
    assert_refused("a:2:{i:1;N;i:0;N;}", two, -ENOTSUP); /* comes before it */
    assert_refused("a:2:{i:0;a:1:{i:0;N;}i:1;R:2;}", "a:1:{i:1;a:0:{}}",
        -ENOTSUP); /* PHP would merge the array that is meant */
    assert_refused(
        "a:1:{i:1;a:0:{}}", "a:2:{i:0;a:1:{i:0;N;}i:1;R:2;}", -ENOTSUP);
    assert_refused("a:0:{}", "a:1:{i:0;R:1;}", -ENOTSUP);
    assert_refused("a:1:{i:0;R:1;}", "a:0:{}", -ENOTSUP);
    assert_refused("a:2:{i:0;N;i:1;R:0;}", "a:0:{}", -ENOTSUP);
    assert_refused("a:2:{i:0;N;i:1;R:4;}", "a:0:{}", -ENOTSUP);
    assert_refused(
        "a:2:{i:0;N;i:1;R:9223372036854775807;}", "a:0:{}", -ENOTSUP);
}

static void refuses_to_guess_what_a_class_counts(void **state)
{
    assert_refused("a:2:{i:0;O:1:\"A\":0:{}i:1;C:1:\"S\":4:{r:2;}}",
        "a:1:{i:2;N;}", -ENOTSUP);
    assert_refused("a:2:{i:0;C:1:\"S\":2:{N;}i:1;r:2;}", "a:0:{}", -ENOTSUP);
    assert_merged("a:1:{i:0;C:1:\"S\":2:{N;}}", "a:1:{i:1;N;}",
        "a:2:{i:0;C:1:\"S\":2:{N;}i:1;N;}");
}

static void hands_on_objects_and_deep_arrays_as_they_are(void **state)
{
    struct buf base = {0}, want = {0};

    assert_merged("a:2:{s:1:\"o\";O:1:\"A\":1:{s:1:\"x\";i:1;}s:1:\"n\";i:1;}",
        "a:1:{s:1:\"n\";i:2;}",
        "a:2:{s:1:\"o\";O:1:\"A\":1:{s:1:\"x\";i:1;}s:1:\"n\";i:2;}");
    assert_merged("a:1:{s:1:\"o\";O:1:\"A\":0:{}}", "a:1:{s:1:\"o\";i:1;}",
        "a:1:{s:1:\"o\";i:1;}");
    for (int i = 0; i < 70; i++)
        buf_append_str(&base, "a:1:{i:0;");
    buf_append_str(&base, "N;");
    for (int i = 0; i < 70; i++)
        buf_append_byte(&base, '}');
    buf_append(&want, base.data, base.len);
    buf_append_byte(&base, 0);
    buf_append_byte(&want, 0);
    assert_merged((const char *)base.data, "a:0:{}", (const char *)want.data);
    /* In both: the over's value where no array is read any more. */
    assert_merged((const char *)base.data, (const char *)base.data,
        (const char *)want.data);
    buf_fini(&base);
    buf_fini(&want);
}

static void assert_kept(const char *was, const char *now, const char *want)
{
    struct buf out = {0};

    assert_int_equal(
        phpser_keep_opaque(&out, was, strlen(was), now, strlen(now)), 0);
    assert_buf_text(&out, want);
    buf_fini(&out);
}

static void keeps_what_the_changer_of_an_array_did_not_see(void **state)
{
    assert_kept("a:2:{i:0;E:3:\"A:B\";i:1;i:5;}", "a:1:{i:1;i:6;}",
        "a:2:{i:0;E:3:\"A:B\";i:1;i:6;}");
    assert_kept("a:1:{i:0;a:1:{i:1;O:1:\"A\":0:{}}}", "a:1:{i:0;a:0:{}}",
        "a:1:{i:0;a:1:{i:1;O:1:\"A\":0:{}}}");
    assert_kept("a:1:{i:0;a:1:{i:1;O:1:\"A\":0:{}}}", "a:0:{}", "a:0:{}");
    assert_kept("a:1:{i:0;O:1:\"A\":0:{}}", "a:1:{i:0;i:1;}", "a:1:{i:0;i:1;}");
}

/* What a script made a list is one when it comes back, whatever was there. */
static void leaves_a_list_a_list(void **state)
{
    assert_kept("a:2:{i:1;i:5;i:-3;i:6;}", "a:2:{i:0;i:1;i:1;i:2;}",
        "a:2:{i:0;i:1;i:1;i:2;}");
    assert_kept("a:1:{s:1:\"0\";i:5;}", "a:1:{i:0;i:1;}", "a:1:{i:0;i:1;}");
    assert_kept(
        "a:1:{i:0;i:5;}", "a:1:{s:1:\"0\";i:1;}", "a:1:{s:1:\"0\";i:1;}");
    assert_kept("a:2:{s:1:\"k\";E:3:\"A:B\";i:0;i:5;}", "a:1:{i:0;i:1;}",
        "a:1:{i:0;i:1;}");
    assert_kept("a:3:{i:0;i:5;i:1;E:3:\"A:B\";i:2;E:3:\"A:B\";}",
        "a:1:{i:0;i:1;}", "a:3:{i:0;i:1;i:1;E:3:\"A:B\";i:2;E:3:\"A:B\";}");
    assert_kept("a:2:{s:1:\"k\";E:3:\"A:B\";i:0;i:5;}",
        "a:2:{s:1:\"0\";i:1;i:1;i:2;}",
        "a:3:{s:1:\"k\";E:3:\"A:B\";s:1:\"0\";i:1;i:1;i:2;}");
}

static void takes_no_references_out_of_a_part(void **state)
{
    static const char part[] = "a:1:{i:0;r:3;}";
    struct buf out = {0};

    assert_int_equal(
        phpser_keep_opaque(&out, part, sizeof(part) - 1, "a:0:{}", 6),
        -ENOTSUP);
    assert_int_equal(out.len, 0);
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
        cmocka_unit_test(gives_references_their_new_numbers),
        cmocka_unit_test(refuses_references_that_would_mean_nothing),
        cmocka_unit_test(refuses_to_guess_what_a_class_counts),
        cmocka_unit_test(hands_on_objects_and_deep_arrays_as_they_are),
        cmocka_unit_test(keeps_what_the_changer_of_an_array_did_not_see),
        cmocka_unit_test(leaves_a_list_a_list),
        cmocka_unit_test(takes_no_references_out_of_a_part),
        cmocka_unit_test(refuses_what_could_not_be_read_again),
    };

    return cmocka_run_group_tests_name("wire.phpser_merge", tests, NULL, NULL);
}
