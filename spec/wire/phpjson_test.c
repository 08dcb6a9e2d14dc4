/* JSON strings against bytes from PHP 8.2's json_encode(). */
#include "vectors.h"

#include "wire/phpjson.h"

static void assert_string(const char *text, size_t len, const char *want)
{
    struct bytes b = bytes_copy(text, len);
    struct buf out = {0};

    phpjson_put_string(&out, b.data, b.len);
    assert_buf_text(&out, want);
    buf_fini(&out);
    bytes_fini(&b);
}

static void escapes_as_php_does(void **state)
{
    assert_string("", 0, "\"\"");
    assert_string("a b~\x7f", 5, "\"a b~\x7f\"");
    assert_string("\"\\/", 3, "\"\\\"\\\\\\/\"");
    assert_string("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
    assert_string("\0\x01\x0b\x1f", 4, "\"\\u0000\\u0001\\u000b\\u001f\"");
    assert_string("é", 2, "\"\\u00e9\"");
    assert_string("房间", 6, "\"\\u623f\\u95f4\"");
    assert_string("😀", 4, "\"\\ud83d\\ude00\"");
    assert_string("\xf4\x8f\xbf\xbf", 4, "\"\\udbff\\udfff\"");
}

static void replaces_what_is_not_utf8(void **state)
{
    assert_string("a\xff"
                  "b",
        3, "\"a\\ufffdb\"");
    assert_string("\xc3", 1, "\"\\ufffd\"");
    assert_string("\xc0\x80", 2, "\"\\ufffd\\ufffd\"");
    assert_string("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"");
    assert_string("\xf0\x9f\x98", 3, "\"\\ufffd\\ufffd\\ufffd\"");
    assert_string("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    assert_string("\xe6\x88"
                  "a",
        3, "\"\\ufffd\\ufffda\"");
}

static void writes_every_code_point_so_that_it_reads_back(void **state)
{
    struct buf out = {0};

    for (uint32_t c = 0; c <= 0x10ffff; c += c < 0x3000 ? 1 : 97) {
        json_t *string;
        char want[8];
        size_t len;

        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        if (c < 0x80) {
            len = 1;
            want[0] = (char)c;
        } else if (c < 0x800) {
            len = 2;
            want[0] = (char)(0xc0 | c >> 6);
        } else if (c < 0x10000) {
            len = 3;
            want[0] = (char)(0xe0 | c >> 12);
        } else {
            len = 4;
            want[0] = (char)(0xf0 | c >> 18);
        }
        for (size_t i = 1; i < len; i++)
            want[i] = (char)(0x80 | (c >> (6 * (len - 1 - i)) & 0x3f));
        phpjson_put_string(&out, want, len);
        string = json_loadb((const char *)out.data, out.len,
            JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(string);
        assert_int_equal(json_string_length(string), len);
        assert_memory_equal(json_string_value(string), want, len);
        json_decref(string);
        buf_clear(&out);
    }
    buf_fini(&out);
}

static void writes_unsigned_numbers(void **state)
{
    struct buf out = {0};

    phpjson_put_uint(&out, 0);
    buf_append_byte(&out, ' ');
    phpjson_put_uint(&out, 10);
    buf_append_byte(&out, ' ');
    phpjson_put_uint(&out, UINT32_MAX);
    assert_buf_text(&out, "0 10 4294967295");
    buf_fini(&out);
}

/* Its text, or "" when it is refused; out then holds what it held. */
static void assert_value(
    struct buf *out, const struct bytes *value, const char *want)
{
    int err;

    buf_append_byte(out, '>');
    err = phpjson_put_value(out, value->data, value->len);
    assert_int_equal(err == 0, want[0] != '\0');
    assert_int_equal(out->data[0], '>');
    buf_consume(out, 1);
    assert_buf_text(out, want);
}

static void writes_values_as_workerman_sends_them(void **state)
{
    json_t *root = vectors_load("spec/vectors/php-json.json");
    struct buf out = {0};
    json_t *vector;
    size_t i;

    json_array_foreach(json_object_get(root, "values"), i, vector)
    {
        const char *want = json_string_value(json_object_get(vector, "json"));
        struct bytes b =
            bytes_from_hex(json_string_value(json_object_get(vector, "hex")));

        assert_value(&out, &b, want ? want : "");
        for (size_t cut = 0; cut < b.len; cut++) {
            struct bytes part = bytes_copy(b.data, cut);

            assert_value(&out, &part, "");
            bytes_fini(&part);
        }
        bytes_fini(&b);
    }
    assert_true(i > 30);
    json_decref(root);
    buf_fini(&out);
}

/* Who sends it as text checks it as a whole. */
static void leaves_bytes_in_values_as_they_are(void **state)
{
    struct bytes b = bytes_copy("a:1:{i:0;s:4:\"\xe2\x80\xff\"\";}", 21);
    struct buf out = {0};

    assert_value(&out, &b, "[\"\xe2\x80\xff\\\"\"]");
    bytes_fini(&b);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_as_php_does),
        cmocka_unit_test(replaces_what_is_not_utf8),
        cmocka_unit_test(writes_every_code_point_so_that_it_reads_back),
        cmocka_unit_test(writes_unsigned_numbers),
        cmocka_unit_test(writes_values_as_workerman_sends_them),
        cmocka_unit_test(leaves_bytes_in_values_as_they_are),
    };

    return cmocka_run_group_tests_name("wire.phpjson", tests, NULL, NULL);
}
