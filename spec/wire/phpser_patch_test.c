/* Changing some keys of a serialized array. */
#include "vectors.h"

#include <errno.h>

#include "wire/phpser.h"

static int apply(
    struct buf *out, const char *base, const char *over, const char *gone)
{
    struct bytes b = bytes_copy(base, strlen(base));
    struct bytes o = bytes_copy(over, strlen(over));
    struct bytes g = bytes_copy(gone, strlen(gone));
    struct phpser_patch patch = {o.data, o.len, g.data, g.len};
    int err = phpser_apply(out, b.data, b.len, &patch);

    bytes_fini(&b);
    bytes_fini(&o);
    bytes_fini(&g);
    return err;
}

static void assert_applied(
    const char *base, const char *over, const char *gone, const char *want)
{
    struct buf out = {0};

    buf_append_str(&out, "before ");
    assert_int_equal(apply(&out, base, over, gone), 0);
    buf_consume(&out, 7);
    assert_buf_text(&out, want);
    buf_fini(&out);
}

static void replaces_whole_values(void **state)
{
    assert_applied("a:2:{s:1:\"a\";a:2:{i:0;i:1;i:1;i:2;}s:1:\"b\";i:2;}",
        "a:2:{s:1:\"c\";i:3;s:1:\"a\";a:1:{i:0;i:9;}}", "",
        "a:3:{s:1:\"a\";a:1:{i:0;i:9;}s:1:\"b\";i:2;s:1:\"c\";i:3;}");
    assert_applied("", "a:1:{i:0;i:1;}", "", "a:1:{i:0;i:1;}");
}

static void takes_keys_away(void **state)
{
    assert_applied("a:3:{s:1:\"a\";i:1;i:42;i:2;s:1:\"c\";i:3;}", "a:0:{}",
        "a:3:{i:0;s:1:\"c\";i:1;s:2:\"42\";i:2;s:1:\"x\";}",
        "a:1:{s:1:\"a\";i:1;}");
    assert_applied(
        "a:1:{i:1;i:1;}", "a:1:{i:1;i:2;}", "a:1:{i:0;i:1;}", "a:1:{i:1;i:2;}");
    assert_applied(
        "a:2:{i:1;i:1;i:2;i:2;}", "a:1:{i:2;i:3;}", "b:1;", "a:1:{i:2;i:3;}");
}

static void hands_on_what_is_opaque(void **state)
{
    assert_applied("a:2:{s:1:\"o\";O:1:\"A\":1:{s:1:\"x\";i:1;}i:0;N;}",
        "a:1:{i:0;b:1;}", "",
        "a:2:{s:1:\"o\";O:1:\"A\":1:{s:1:\"x\";i:1;}i:0;b:1;}");
}

static void takes_keys_as_php_does(void **state)
{
    assert_applied(
        "a:1:{s:1:\"7\";i:1;}", "a:1:{i:07;i:2;}", "", "a:1:{i:7;i:2;}");
    assert_applied(
        "a:1:{i:+7;i:1;}", "a:1:{s:1:\"7\";i:2;}", "", "a:1:{i:7;i:2;}");
    assert_applied(
        "a:2:{i:0;i:1;i:0;i:2;}", "a:1:{i:0;i:3;}", "", "a:1:{i:0;i:3;}");
    assert_applied(
        "a:1:{i:0;i:1;}", "a:1:{s:1:\"0\";i:2;}", "", "a:1:{s:1:\"0\";i:2;}");
    assert_applied(
        "a:1:{s:1:\"0\";i:1;}", "a:1:{i:0;i:2;}", "", "a:1:{i:0;i:2;}");
    assert_applied("a:2:{s:1:\"0\";i:1;i:5;i:1;}", "a:0:{}", "a:1:{i:0;i:5;}",
        "a:1:{s:1:\"0\";i:1;}");
    assert_applied(
        "a:1:{s:1:\"0\";i:1;}", "a:0:{}", "a:1:{i:0;i:0;}", "a:0:{}");
}

static void does_many_changes_as_few(void **state)
{
    struct buf base = {0}, over = {0}, gone = {0}, want = {0}, out = {0};
    struct phpser_patch patch;

    phpser_put_array(&base, 100);
    phpser_put_array(&over, 40);
    phpser_put_array(&gone, 40);
    phpser_put_array(&want, 60);
    for (int i = 0; i < 100; i++) {
        phpser_put_int(&base, i);
        phpser_put_int(&base, i);
        if (i % 5 < 2) {
            phpser_put_int(&over, i);
            phpser_put_int(&over, -i);
        } else if (i % 5 < 4) {
            phpser_put_int(&gone, i);
            phpser_put_int(&gone, i);
            continue;
        }
        phpser_put_int(&want, i);
        phpser_put_int(&want, i % 5 < 2 ? -i : i);
    }
    phpser_put_end(&base);
    phpser_put_end(&over);
    phpser_put_end(&gone);
    phpser_put_end(&want);
    patch = (struct phpser_patch){over.data, over.len, gone.data, gone.len};
    assert_int_equal(phpser_apply(&out, base.data, base.len, &patch), 0);
    assert_buf_equal(&out, want.data, want.len);
    buf_fini(&base);
    buf_fini(&over);
    buf_fini(&gone);
    buf_fini(&want);
    buf_fini(&out);
}

static void assert_refused(
    const char *base, const char *over, const char *gone, int err)
{
    struct buf out = {0};

    buf_append_str(&out, "kept");
    assert_int_equal(apply(&out, base, over, gone), err);
    assert_buf_text(&out, "kept");
    buf_fini(&out);
}

static void refuses_without_a_trace(void **state)
{
    assert_refused("i:1;", "a:0:{}", "", -EINVAL);
    assert_refused("a:0:{}", "i:1;", "", -EINVAL);
    assert_refused("a:0:{}", "a:0:{}", "i:1;", -EINVAL);
    assert_refused("a:0:{}", "a:0:{}", "a:1:{i:0;N;}", -EINVAL);
    assert_refused("a:0:{}", "", "", -EPROTO);
    assert_refused("a:1:{i:0;i:1;", "a:1:{i:0;i:1;}", "", -EPROTO);
    assert_refused("a:1:{i:0;i:1;}x", "a:1:{i:0;i:1;}", "", -EPROTO);
    assert_refused("a:0:{}", "a:0:{}x", "", -EPROTO);
    assert_refused("a:0:{}", "a:0:{}", "b:1;x", -EPROTO);
    assert_refused("a:0:{}", "a:0:{}", "a:1:{i:0;i:1;", -EPROTO);
}

#define TWICE "s:1:\"o\";O:1:\"A\":1:{s:1:\"x\";i:1;}s:1:\"p\";"

static void gives_references_their_new_numbers(void **state)
{
    static const char base[] = "a:4:{i:0;a:1:{i:0;N;}i:1;i:5;" TWICE "r:5;}";

    assert_applied(base, "a:1:{i:2;N;}", "",
        "a:5:{i:0;a:1:{i:0;N;}i:1;i:5;" TWICE "r:5;i:2;N;}");
    assert_applied(base, "a:1:{i:0;a:3:{i:0;N;i:1;N;i:2;N;}}", "",
        "a:4:{i:0;a:3:{i:0;N;i:1;N;i:2;N;}i:1;i:5;" TWICE "r:7;}");
    assert_applied(
        base, "a:0:{}", "a:1:{i:0;i:0;}", "a:3:{i:1;i:5;" TWICE "r:3;}");
    assert_applied(
        base, "a:0:{}", "a:2:{i:0;i:0;i:1;i:1;}", "a:2:{" TWICE "r:2;}");
    assert_applied("a:2:{i:0;N;i:1;a:3:{i:0;i:7;i:1;R:4;i:2;a:1:{i:0;R:4;}}}",
        "a:0:{}", "a:1:{i:0;i:0;}",
        "a:1:{i:1;a:3:{i:0;i:7;i:1;R:3;i:2;a:1:{i:0;R:3;}}}");
    assert_applied(base, "a:1:{s:1:\"o\";N;}", "a:1:{i:0;s:1:\"p\";}",
        "a:3:{i:0;a:1:{i:0;N;}i:1;i:5;s:1:\"o\";N;}");
    assert_applied(base, "a:1:{i:0;N;}", "b:1;", "a:1:{i:0;N;}");
}

static void numbers_ten_and_more(void **state)
{
    struct buf base = {0};

    buf_append_str(&base, "a:2:{i:0;a:20:{");
    for (int i = 0; i < 20; i++) {
        phpser_put_int(&base, i);
        phpser_put_null(&base);
    }
    buf_append_str(&base, "}i:1;a:2:{i:0;O:1:\"A\":0:{}i:1;r:24;}}");
    buf_append_byte(&base, 0);
    assert_applied((const char *)base.data, "a:1:{i:0;N;}", "",
        "a:2:{i:0;N;i:1;a:2:{i:0;O:1:\"A\":0:{}i:1;r:4;}}");
    buf_fini(&base);
}

static void refuses_references_that_would_mean_nothing(void **state)
{
    static const char base[] = "a:2:{" TWICE "r:2;}";

    assert_refused(base, "a:1:{s:1:\"o\";i:1;}", "", -ENOTSUP);
    assert_refused(base, "a:0:{}", "a:1:{i:0;s:1:\"o\";}", -ENOTSUP);
    assert_refused("a:1:{i:0;R:1;}", "a:0:{}", "", -ENOTSUP);
    assert_refused("a:2:{i:0;R:3;i:1;N;}", "a:0:{}", "", -ENOTSUP);
    assert_refused("a:0:{}", base, "", -ENOTSUP);
    assert_refused("a:1:{i:0;C:1:\"S\":4:{R:1;}}", "a:0:{}", "", -ENOTSUP);
}

static void finds_a_value_by_its_key(void **state)
{
    static const char text[] = "a:3:{i:0;a:1:{i:7;N;}s:1:\"7\";i:1;i:1;N;}";
    size_t len = 0;
    const uint8_t *value = phpser_find(text, sizeof(text) - 1, "i:7;", 4, &len);

    assert_non_null(value);
    assert_int_equal(len, 4);
    assert_memory_equal(value, "i:1;", 4);
    assert_ptr_equal(
        phpser_find(text, sizeof(text) - 1, "s:1:\"7\";", 8, &len), value);
    assert_null(phpser_find(text, sizeof(text) - 1, "i:8;", 4, &len));
    assert_null(phpser_find("N;", 2, "i:8;", 4, &len));
    assert_null(phpser_find("", 0, "i:8;", 4, &len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_whole_values),
        cmocka_unit_test(takes_keys_away),
        cmocka_unit_test(hands_on_what_is_opaque),
        cmocka_unit_test(takes_keys_as_php_does),
        cmocka_unit_test(does_many_changes_as_few),
        cmocka_unit_test(refuses_without_a_trace),
        cmocka_unit_test(gives_references_their_new_numbers),
        cmocka_unit_test(numbers_ten_and_more),
        cmocka_unit_test(refuses_references_that_would_mean_nothing),
        cmocka_unit_test(finds_a_value_by_its_key),
    };

    return cmocka_run_group_tests_name("wire.phpser_patch", tests, NULL, NULL);
}
