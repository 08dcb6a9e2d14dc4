/* serialize() against strings of PHP 8.2, good and bad, whole and cut. */
#include "vectors.h"

#include <errno.h>

#include "transcode.h"

static json_t *vector_list(json_t **root, const char *name)
{
    *root = vectors_load("spec/vectors/php-serialize.json");
    return json_object_get(*root, name);
}

static struct bytes vector_bytes(const json_t *vector)
{
    return bytes_from_hex(json_string_value(json_object_get(vector, "hex")));
}

static void writes_good_vectors_as_it_read_them(void **state)
{
    json_t *root, *vector, *list = vector_list(&root, "good");
    struct buf out = {0};
    size_t i;

    assert_true(json_array_size(list) >= 29);
    json_array_foreach(list, i, vector)
    {
        struct bytes b = vector_bytes(vector);

        assert_int_equal(phpser_check(b.data, b.len), 0);
        assert_int_equal(transcode(&out, b.data, b.len), 0);
        assert_buf_equal(&out, b.data, b.len);
        bytes_fini(&b);
    }
    buf_fini(&out);
    json_decref(root);
}

static json_t *to_json(struct phpser_reader *r, const struct phpser_token *t);

/* A list while the keys are 0, 1, 2, …, as PHP's json_encode() decides. */
static json_t *array_to_json(struct phpser_reader *r)
{
    json_t *object = json_object(), *list = json_array(), *value;
    bool is_list = true;
    struct phpser_token t;
    const char *name;

    while (phpser_next(r, &t) == 1 && t.type != PHPSER_END) {
        struct phpser_token key = t;
        char text[64];

        assert_true(key.is_key);
        if (key.type == PHPSER_INT)
            snprintf(text, sizeof(text), "%lld", (long long)key.integer);
        else
            snprintf(text, sizeof(text), "%.*s", (int)key.string.len,
                (const char *)key.string.data);
        is_list = is_list && key.type == PHPSER_INT &&
                  key.integer == (int64_t)json_object_size(object);
        assert_int_equal(phpser_next(r, &t), 1);
        json_object_set_new(object, text, to_json(r, &t));
    }
    json_object_foreach(object, name, value) json_array_append(list, value);
    json_decref(is_list ? object : list);
    return is_list ? list : object;
}

static json_t *to_json(struct phpser_reader *r, const struct phpser_token *t)
{
    switch (t->type) {
    case PHPSER_BOOL:
        return json_boolean(t->boolean);
    case PHPSER_INT:
        return json_integer(t->integer);
    case PHPSER_FLOAT:
        return json_real(t->number);
    case PHPSER_STRING:
        return json_stringn((const char *)t->string.data, t->string.len);
    case PHPSER_ARRAY:
        return array_to_json(r);
    default:
        return json_null();
    }
}

static void reads_good_vectors_to_their_values(void **state)
{
    json_t *root, *vector, *list = vector_list(&root, "good");
    size_t i;

    json_array_foreach(list, i, vector)
    {
        json_t *want = json_object_get(vector, "json");
        struct bytes b = vector_bytes(vector);
        struct phpser_reader r;
        struct phpser_token t;
        json_t *got;

        phpser_read(&r, b.data, b.len);
        assert_int_equal(phpser_next(&r, &t), 1);
        got = to_json(&r, &t);
        assert_int_equal(phpser_next(&r, &t), 0);
        /* null also stands for what JSON cannot say: INF and binary */
        if (!json_is_null(want) && !json_equal(got, want))
            fail_msg("%s", json_string_value(json_object_get(vector, "name")));
        json_decref(got);
        bytes_fini(&b);
    }
    json_decref(root);
}

static void refuses_bad_vectors(void **state)
{
    json_t *root, *vector, *list = vector_list(&root, "bad");
    size_t i;

    assert_true(json_array_size(list) >= 11);
    json_array_foreach(list, i, vector)
    {
        struct bytes b = vector_bytes(vector);

        if (phpser_check(b.data, b.len) >= 0)
            fail_msg("%s was accepted",
                json_string_value(json_object_get(vector, "name")));
        bytes_fini(&b);
    }
    json_decref(root);
}

static void hands_on_what_it_does_not_build(void **state)
{
    json_t *root, *vector, *list = vector_list(&root, "opaque");
    struct buf out = {0};
    size_t i;

    assert_true(json_array_size(list) >= 4);
    json_array_foreach(list, i, vector)
    {
        struct bytes b = vector_bytes(vector);

        assert_int_equal(transcode(&out, b.data, b.len), 0);
        assert_buf_equal(&out, b.data, b.len);
        bytes_fini(&b);
    }
    buf_fini(&out);
    json_decref(root);
}

static void refuses_a_value_cut_at_any_length(void **state)
{
    json_t *root, *vector, *list = vector_list(&root, "good");
    size_t i;

    json_array_foreach(list, i, vector)
    {
        struct bytes b = vector_bytes(vector);

        for (size_t len = 0; len < b.len; len++) {
            struct bytes cut = bytes_copy(b.data, len);

            assert_int_equal(phpser_check(cut.data, cut.len), -EPROTO);
            bytes_fini(&cut);
        }
        bytes_fini(&b);
    }
    json_decref(root);
}

static int check(const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    int err = phpser_check(b.data, b.len);

    bytes_fini(&b);
    return err;
}

static void says_why_it_refuses(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", -EPROTO},
        {"N", -EPROTO},
        {"N:", -EPROTO},
        {"i;", -EPROTO},
        {"i:;", -EPROTO},
        {"i:-;", -EPROTO},
        {"i:1.5;", -EPROTO},
        {"i:9223372036854775808;", -EPROTO},
        {"i:-9223372036854775809;", -EPROTO},
        {"b:2;", -EPROTO},
        {"b:1:", -EPROTO},
        {"d:;", -EPROTO},
        {"d:1,5;", -EPROTO},
        {"d:0x1p3;", -EPROTO},
        {"s:1:\"a\"", -EPROTO},
        {"s:-1:\"a\";", -EPROTO},
        {"s:5:\"", -EPROTO},
        {"s:18446744073709551616:\"a\";", -EPROTO},
        {"S:1:\"a\";", -EPROTO},
        {"a:1:{}", -EPROTO},
        {"a:0:{i:0;N;}", -EPROTO},
        {"a:1:{N;N;}", -EPROTO},
        {"a:1:{d:1;N;}", -EPROTO},
        {"a:1:{b:1;N;}", -EPROTO},
        {"a:1:{i:0;}", -EPROTO},
        {"a:2:{i:0;N;i:1;}", -EPROTO},
        {"i:1;i:2;", -EPROTO},
        {"a:0:{} ", -EPROTO},
        {"a:99999999999999999999:{}", -EPROTO},
        {"a:9223372036854775807:{}", -E2BIG},
        {"O:1:\"A\":1:{i:0;}", -EPROTO},
        {"O:1:\"A\":1:{N;N;}", -EPROTO},
        {"O:1:\"A\":0:{i:0;N;}", -EPROTO},
        {"O:2:\"A\":0:{}", -EPROTO},
        {"O:1:\"A\":0:{}x", -EPROTO},
        {"O:1:\"A\":9223372036854775807:{}", -EPROTO},
        {"O;", -EPROTO},
        {"C:1:\"A\":1:{}", -EPROTO},
        {"C:1:\"A\":9:{}", -EPROTO},
        {"E:3:\"A:B\"", -EPROTO},
        {"E:9:\"A:B\";", -EPROTO},
        {"R:;", -EPROTO},
        {"r:-1;", -EPROTO},
        {"a:1:{R:1;N;}", -EPROTO},
        {"a:1:{i:0;O:1:\"A\":1:{s:1:\"x\";x:1;}}", -EPROTO},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (check(cases[i].text) != cases[i].err)
            fail_msg("%s: %d", cases[i].text, check(cases[i].text));
}

/* Every cut of it is refused, too. */
static void passes_over_what_is_opaque(void **state)
{
    static const char *const values[] = {"O:8:\"stdClass\":0:{}",
        "O:1:\"A\":2:{s:1:\"x\";a:1:{i:0;O:1:\"B\":0:{}}i:7;d:0.5;}",
        "C:1:\"A\":5:{}}\"};}", "E:11:\"Suit:Hearts\";", "R:1;", "r:12;"};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        size_t len = strlen(values[i]);
        struct phpser_reader r;
        struct phpser_token t;

        phpser_read(&r, values[i], len);
        assert_int_equal(phpser_next(&r, &t), 1);
        assert_int_equal(t.type, PHPSER_OPAQUE);
        assert_ptr_equal(t.string.data, values[i]);
        assert_int_equal(t.string.len, len);
        assert_int_equal(phpser_next(&r, &t), 0);
        assert_int_equal(r.references, i >= 4);
        for (size_t cut = 0; cut < len; cut++) {
            struct bytes part = bytes_copy(values[i], cut);

            assert_int_equal(phpser_check(part.data, part.len), -EPROTO);
            bytes_fini(&part);
        }
    }
}

static void reads_numbers_as_freely_as_php(void **state)
{
    struct buf out = {0};

    assert_int_equal(transcode(&out, "a:01:{i:+007;i:-0;}", 19), 0);
    assert_buf_text(&out, "a:1:{i:7;i:0;}");
    buf_fini(&out);
}

static void nest(struct buf *out, size_t depth)
{
    for (size_t i = 1; i < depth; i++)
        buf_append_str(out, "a:1:{i:0;");
    buf_append_str(out, "a:0:{}");
    for (size_t i = 1; i < depth; i++)
        buf_append_byte(out, '}');
}

static void bounds_the_depth(void **state)
{
    struct buf b = {0};

    nest(&b, PHPSER_DEPTH_MAX + PHPSER_SKIP_MAX);
    assert_int_equal(phpser_check(b.data, b.len), 0);
    buf_clear(&b);
    nest(&b, PHPSER_DEPTH_MAX + PHPSER_SKIP_MAX + 1);
    assert_int_equal(phpser_check(b.data, b.len), -E2BIG);
    buf_clear(&b);
    nest(&b, 100000);
    assert_int_equal(phpser_check(b.data, b.len), -E2BIG);
    buf_fini(&b);
}

/* Many arrays with few elements each count as one with many. */
static void bounds_the_number_of_elements(void **state)
{
    const size_t half = PHPSER_COUNT_MAX / 2;
    struct buf b = {0};

    buf_append_str(&b, "a:2:{");
    for (int i = 0; i < 2; i++) {
        phpser_put_int(&b, i);
        phpser_put_array(&b, half);
        for (size_t j = 0; j < half; j++)
            buf_append(&b, "i:0;N;", 6);
        phpser_put_end(&b);
    }
    phpser_put_end(&b);
    assert_int_equal(phpser_check(b.data, b.len), -E2BIG);
    buf_fini(&b);
}

static void marks_keys(void **state)
{
    static const char text[] = "a:2:{i:1;s:1:\"a\";s:1:\"k\";i:2;}";
    static const struct {
        enum phpser_type type;
        bool is_key;
    } want[] = {{PHPSER_ARRAY, false}, {PHPSER_INT, true},
        {PHPSER_STRING, false}, {PHPSER_STRING, true}, {PHPSER_INT, false},
        {PHPSER_END, false}};
    struct phpser_reader r;
    struct phpser_token t;

    phpser_read(&r, text, sizeof(text) - 1);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(phpser_next(&r, &t), 1);
        assert_int_equal(t.type, want[i].type);
        assert_int_equal(t.is_key, want[i].is_key);
    }
    assert_int_equal(phpser_next(&r, &t), 0);
    assert_int_equal(phpser_next(&r, &t), 0);
}

/* Expected bytes: php -r 'echo serialize(["…" => 1]);' of PHP 8.2. */
static void writes_keys_as_php_arrays_have_them(void **state)
{
    static const struct {
        const char *key;
        const char *want;
    } cases[] = {
        {"7", "i:7;"},
        {"0", "i:0;"},
        {"-5", "i:-5;"},
        {"9223372036854775807", "i:9223372036854775807;"},
        {"-9223372036854775808", "i:-9223372036854775808;"},
        {"9223372036854775808", "s:19:\"9223372036854775808\";"},
        {"-9223372036854775809", "s:20:\"-9223372036854775809\";"},
        {"12345678901234567890123", "s:23:\"12345678901234567890123\";"},
        {"", "s:0:\"\";"},
        {"-", "s:1:\"-\";"},
        {"-0", "s:2:\"-0\";"},
        {"00", "s:2:\"00\";"},
        {"07", "s:2:\"07\";"},
        {"-07", "s:3:\"-07\";"},
        {"+7", "s:2:\"+7\";"},
        {" 1", "s:2:\" 1\";"},
        {"1.0", "s:3:\"1.0\";"},
        {"1e3", "s:3:\"1e3\";"},
    };
    struct buf out = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        phpser_put_key(&out, cases[i].key, strlen(cases[i].key));
        assert_buf_text(&out, cases[i].want);
    }
    buf_fini(&out);
}

static void check_reply_or_skip(const uint8_t *data, size_t len)
{
    struct buf out = {0};

    if (len < 4)
        return; /* the call has no reply */
    assert_int_equal(transcode(&out, data + 4, len - 4), 0);
    assert_buf_equal(&out, data + 4, len - 4);
    buf_fini(&out);
}

static void writes_captured_replies_as_it_read_them(void **state)
{
    json_t *root =
        vectors_load("spec/vectors/gatewayworker-conversations.json");
    json_t *call, *connection;
    size_t i, j;

    json_array_foreach(json_object_get(root, "client_calls"), i, call)
    {
        json_array_foreach(json_object_get(call, "connections"), j, connection)
        {
            struct bytes b = bytes_from_hex(
                json_string_value(json_object_get(connection, "from_gateway")));

            check_reply_or_skip(b.data, b.len);
            bytes_fini(&b);
        }
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_good_vectors_as_it_read_them),
        cmocka_unit_test(reads_good_vectors_to_their_values),
        cmocka_unit_test(refuses_bad_vectors),
        cmocka_unit_test(hands_on_what_it_does_not_build),
        cmocka_unit_test(refuses_a_value_cut_at_any_length),
        cmocka_unit_test(says_why_it_refuses),
        cmocka_unit_test(passes_over_what_is_opaque),
        cmocka_unit_test(reads_numbers_as_freely_as_php),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(bounds_the_number_of_elements),
        cmocka_unit_test(marks_keys),
        cmocka_unit_test(writes_keys_as_php_arrays_have_them),
        cmocka_unit_test(writes_captured_replies_as_it_read_them),
    };

    return cmocka_run_group_tests_name("wire.phpser", tests, NULL, NULL);
}
