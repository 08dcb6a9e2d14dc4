/* Control messages: one JSON object a line, always with a type. */
#include "vectors.h"

#include "wire/ctlmsg.h"

static json_t *parse(const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    json_t *m = ctlmsg_parse(b.data, b.len);

    bytes_fini(&b);
    return m;
}

static void reads_type_and_fields(void **state)
{
    json_t *m = parse("{\"type\":\"status\",\"slot\":3,\"name\":\"w\"}");

    assert_non_null(m);
    assert_string_equal(ctlmsg_type(m), "status");
    assert_int_equal(ctlmsg_int(m, "slot", -1), 3);
    assert_string_equal(ctlmsg_string(m, "name", "?"), "w");
    json_decref(m);
}

static void gives_the_default_for_other_types(void **state)
{
    json_t *m = parse("{\"type\":\"status\",\"slot\":\"3\",\"name\":1}");

    assert_int_equal(ctlmsg_int(m, "slot", -1), -1);
    assert_int_equal(ctlmsg_int(m, "none", -1), -1);
    assert_string_equal(ctlmsg_string(m, "name", "?"), "?");
    assert_null(ctlmsg_string(m, "none", NULL));
    json_decref(m);
}

static void refuses_what_has_no_type(void **state)
{
    static const char *const lines[] = {"", "x", "[]", "7", "{}",
        "{\"type\":7}", "{\"type\":null}", "{\"type\":\"a\"}x",
        "{\"type\":\"a\\u0000\"}"};

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_null(parse(lines[i]));
}

static void refuses_a_line_cut_at_any_length(void **state)
{
    const char *line = "{\"type\":\"status\",\"slot\":3}";

    for (size_t len = 0; len < strlen(line); len++) {
        struct bytes cut = bytes_copy(line, len);

        assert_null(ctlmsg_parse(cut.data, cut.len));
        bytes_fini(&cut);
    }
}

static void writes_one_line_whatever_the_text(void **state)
{
    struct buf out = {0};
    json_t *m;

    ctlmsg_put(&out, json_pack("{s:s, s:s, s:i}", "type", "log", "text",
                         "a\nb\r\"\\/é", "slot", 2));
    assert_ptr_equal(memchr(out.data, '\n', out.len), out.data + out.len - 1);
    m = ctlmsg_parse(out.data, out.len - 1);
    assert_non_null(m);
    assert_string_equal(ctlmsg_string(m, "text", ""), "a\nb\r\"\\/é");
    json_decref(m);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_type_and_fields),
        cmocka_unit_test(gives_the_default_for_other_types),
        cmocka_unit_test(refuses_what_has_no_type),
        cmocka_unit_test(refuses_a_line_cut_at_any_length),
        cmocka_unit_test(writes_one_line_whatever_the_text),
    };

    return cmocka_run_group_tests_name("wire.ctlmsg", tests, NULL, NULL);
}
