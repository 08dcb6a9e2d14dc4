/* Labels of event streams' messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "wire/label.h"

static void a_label_comes_back_as_it_was(void **state)
{
    static char longest[LABEL_TEXT_MAX];
    const struct label table[] = {
        {"tick", "7", 4, 1},
        {"", "7", 0, 1},
        {"tick", "", 4, 0},
        {longest, longest, LABEL_TEXT_MAX, LABEL_TEXT_MAX},
    };

    memset(longest, 'x', sizeof(longest));
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf out = {0};
        struct label got;

        label_put(&out, &table[i]);
        buf_append_str(&out, "message");
        assert_int_equal(
            label_read(&got, out.data, out.len), out.len - strlen("message"));
        assert_int_equal(got.event_len, table[i].event_len);
        assert_memory_equal(got.event, table[i].event, got.event_len);
        assert_int_equal(got.id_len, table[i].id_len);
        assert_memory_equal(got.id, table[i].id, got.id_len);
        for (size_t len = 0; len < out.len - strlen("message"); len++)
            assert_int_equal(label_read(&got, out.data, len), -EPROTO);
        buf_fini(&out);
    }
}

static void what_would_break_a_line_is_refused(void **state)
{
    static const char *const wrong[] = {"a\nb", "a\rb", "\xff", "a\0"};
    struct label got;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        size_t len = i == 3 ? 2 : strlen(wrong[i]);
        const struct label label = {"x", wrong[i], 1, len};
        struct buf out = {0};

        assert_false(label_is_text(wrong[i], len));
        label_put(&out, &label);
        assert_int_equal(label_read(&got, out.data, out.len), -EPROTO);
        buf_fini(&out);
    }
    assert_true(label_is_text("", 0));
    assert_true(label_is_text("\xc3\xa9 7\t", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_comes_back_as_it_was),
        cmocka_unit_test(what_would_break_a_line_is_refused),
    };

    return cmocka_run_group_tests_name("wire.label", tests, NULL, NULL);
}
