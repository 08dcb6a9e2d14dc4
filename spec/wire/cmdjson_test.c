/* The JSON of commands: captured bodies byte for byte, and what PHP accepts. */
#include "vectors.h"

#include <errno.h>

#include "wire/cmdjson.h"
#include "wire/frame.h"

/* Whatever is read from captured traffic is written the same again. */

static void rewrite_target(struct buf *out, const struct frame *f)
{
    struct cmdjson_target t;

    assert_int_equal(cmdjson_parse_target(&t, f->ext, f->ext_len), 0);
    if (f->cmd == FRAME_SEND_TO_GROUP)
        cmdjson_put_group_target(out, &t.groups, &t.exclude);
    else
        cmdjson_put_all_target(
            out, t.has_connections ? &t.connections : NULL, &t.exclude);
    cmdjson_fini_target(&t);
}

static void rewrite_names(struct buf *out, const struct frame *f)
{
    struct cmdjson_names names;

    assert_int_equal(cmdjson_parse_names(&names, f->ext, f->ext_len), 0);
    cmdjson_put_names(out, &names);
    cmdjson_fini_names(&names);
}

static void rewrite_select(struct buf *out, const struct frame *f)
{
    struct cmdjson_select s;

    assert_int_equal(cmdjson_parse_select(&s, f->ext, f->ext_len), 0);
    cmdjson_put_select(out, &s);
    cmdjson_fini_select(&s);
}

static void rewrite_auth(struct buf *out, const struct frame *f)
{
    struct cmdjson_auth a;

    assert_int_equal(cmdjson_parse_auth(&a, f->body, f->body_len), 0);
    cmdjson_put_auth(out, a.worker_key, a.secret_key, NULL, NULL);
    assert_buf_equal(out, f->body, f->body_len);
    cmdjson_fini_auth(&a);
}

static void rewrite(struct buf *out, const struct frame *f)
{
    switch (f->cmd) {
    case FRAME_SEND_TO_ALL:
    case FRAME_SEND_TO_GROUP:
        rewrite_target(out, f);
        break;
    case FRAME_SEND_TO_UID:
    case FRAME_BATCH_GET_CLIENT_ID_BY_UID:
    case FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP:
        rewrite_names(out, f);
        break;
    case FRAME_SELECT:
        rewrite_select(out, f);
        break;
    case FRAME_WORKER_CONNECT:
        rewrite_auth(out, f);
        return;
    default:
        return;
    }
    assert_buf_equal(out, f->ext, f->ext_len);
}

static void rewrite_all(const uint8_t *data, size_t len)
{
    struct buf out = {0};
    struct frame f;

    for (size_t at = 0; at < len;) {
        ssize_t n = frame_measure(data + at, len - at, FRAME_MAX_LEN);

        assert_int_equal(frame_decode(&f, data + at, (size_t)n), 0);
        rewrite(&out, &f);
        at += (size_t)n;
    }
    buf_fini(&out);
}

static void writes_captured_bodies_as_it_read_them(void **state)
{
    vectors_each_capture(rewrite_all);
}

static void assert_name(
    const struct cmdjson_name *n, const char *want, bool is_int)
{
    assert_int_equal(n->len, strlen(want));
    assert_string_equal(n->data, want);
    assert_int_equal(n->is_int, is_int);
}

static int parse_names(struct cmdjson_names *out, const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    int err = cmdjson_parse_names(out, b.data, b.len);

    bytes_fini(&b);
    return err;
}

static void reads_names_of_every_scalar(void **state)
{
    struct cmdjson_names n;

    assert_int_equal(
        parse_names(&n, "[\"\\u623f/\",-7,9223372036854775807,null,true]"), 0);
    assert_int_equal(n.count, 5);
    assert_name(&n.items[0], "房/", false);
    assert_name(&n.items[1], "-7", true);
    assert_name(&n.items[2], "9223372036854775807", true);
    assert_name(&n.items[3], "", false);
    assert_name(&n.items[4], "1", true);
    cmdjson_fini_names(&n);
}

static void reads_names_of_an_object(void **state)
{
    struct cmdjson_names n;

    assert_int_equal(parse_names(&n, "{\"1\":\"a\",\"5\":\"b\"}"), 0);
    assert_int_equal(n.count, 2);
    assert_name(&n.items[0], "a", false);
    assert_name(&n.items[1], "b", false);
    cmdjson_fini_names(&n);
    assert_int_equal(parse_names(&n, "[]"), 0);
    assert_int_equal(n.count, 0);
    cmdjson_fini_names(&n);
}

static void carries_a_nul_in_a_name(void **state)
{
    char data[] = "a\0b";
    struct cmdjson_name name = {.data = data, .len = 3};
    struct cmdjson_names names = {.items = &name, .count = 1};
    struct buf out = {0};
    struct cmdjson_names got;

    cmdjson_put_names(&out, &names);
    assert_int_equal(cmdjson_parse_names(&got, out.data, out.len), 0);
    assert_int_equal(got.items[0].len, 3);
    assert_memory_equal(got.items[0].data, data, 4);
    cmdjson_fini_names(&got);
    buf_fini(&out);
}

static void refuses_names_that_are_none(void **state)
{
    static const char *const bad[] = {"", "x", "7", "\"a\"", "null", "[[]]",
        "[\"a\",{}]", "[1.5]", "[99999999999999999999]", "[\"\xff\"]", "[1",
        "[1]]"};
    struct cmdjson_names n;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse_names(&n, bad[i]) != -EPROTO)
            fail_msg("%s was accepted", bad[i]);
}

static int parse_target(struct cmdjson_target *out, const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    int err = cmdjson_parse_target(out, b.data, b.len);

    bytes_fini(&b);
    return err;
}

static void an_empty_target_is_everybody(void **state)
{
    static const char *const texts[] = {"", "[]", "{}", "{\"exclude\":null}",
        "{\"connections\":null}", "{\"exclude\":[]}"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cmdjson_target t;

        assert_int_equal(parse_target(&t, texts[i]), 0);
        assert_false(t.has_connections);
        assert_int_equal(t.exclude.count, 0);
        assert_int_equal(t.groups.count, 0);
        cmdjson_fini_target(&t);
    }
}

static void an_empty_list_of_connections_is_nobody(void **state)
{
    struct cmdjson_target t;

    assert_int_equal(parse_target(&t, "{\"connections\":[]}"), 0);
    assert_true(t.has_connections);
    assert_int_equal(t.connections.count, 0);
    cmdjson_fini_target(&t);
}

static void goes_by_values_of_connections_and_keys_of_exclude(void **state)
{
    struct cmdjson_target t;

    assert_int_equal(parse_target(&t, "{\"connections\":{\"0\":5,\"9\":\"6\"},"
                                      "\"exclude\":{\"7\":true,\"8\":null}}"),
        0);
    assert_int_equal(t.connections.count, 2);
    assert_int_equal(t.connections.items[0], 5);
    assert_int_equal(t.connections.items[1], 6);
    assert_int_equal(t.exclude.count, 1);
    assert_int_equal(t.exclude.items[0], 7);
    cmdjson_fini_target(&t);
    assert_int_equal(
        parse_target(&t, "{\"connections\":[4294967295],\"exclude\":[3]}"), 0);
    assert_true(t.connections.items[0] == UINT32_MAX);
    assert_int_equal(t.exclude.items[0], 3);
    cmdjson_fini_target(&t);
}

static void refuses_targets_that_are_none(void **state)
{
    static const char *const bad[] = {"x", "7", "[1]", "{\"connections\":7}",
        "{\"connections\":[-1]}", "{\"connections\":[4294967296]}",
        "{\"connections\":[1.5]}", "{\"connections\":[null]}",
        "{\"connections\":[\"\"]}", "{\"connections\":[\"12345678901\"]}",
        "{\"connections\":[\"4294967296\"]}", "{\"connections\":[\"1a\"]}",
        "{\"connections\":[[1]]}", "{\"exclude\":{\"a\":1}}",
        "{\"exclude\":\"3\"}", "{\"connections\":[1],\"exclude\":[-1]}",
        "{\"group\":\"room1\"}", "{\"group\":[[]]}"};
    struct cmdjson_target t;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse_target(&t, bad[i]) != -EPROTO)
            fail_msg("%s was accepted", bad[i]);
}

static void writes_empty_sets_as_php_does(void **state)
{
    const struct cmdjson_ids none = {0};
    const struct cmdjson_names no_names = {0};
    struct buf out = {0};

    cmdjson_put_all_target(&out, &none, NULL);
    assert_buf_text(&out, "{\"connections\":[]}");
    cmdjson_put_all_target(&out, NULL, &none);
    assert_buf_text(&out, "");
    cmdjson_put_all_target(&out, NULL, NULL);
    assert_buf_text(&out, "");
    cmdjson_put_group_target(&out, &no_names, &none);
    assert_buf_text(&out, "{\"group\":[],\"exclude\":null}");
    buf_fini(&out);
}

static int parse_auth(struct cmdjson_auth *out, const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    int err = cmdjson_parse_auth(out, b.data, b.len);

    bytes_fini(&b);
    return err;
}

static void reads_php_auth(void **state)
{
    struct cmdjson_auth a;

    assert_int_equal(
        parse_auth(&a, "{\"worker_key\":\"w:0\",\"secret_key\":\"k\"}"), 0);
    assert_string_equal(a.worker_key, "w:0");
    assert_string_equal(a.secret_key, "k");
    assert_int_equal(a.gwrun, 0);
    assert_null(a.process);
    assert_false(cmdjson_has_feature(&a, "x"));
    cmdjson_fini_auth(&a);
    assert_int_equal(parse_auth(&a, "{}"), 0);
    assert_null(a.worker_key);
    assert_string_equal(a.secret_key, "");
    cmdjson_fini_auth(&a);
}

static void offers_features(void **state)
{
    static const char *const features[] = {"ipv6", "ack", NULL};
    static const struct cmdjson_tokens tokens = {
        .process = "0123456789abcdef", .pair = "p", .machine = "m"};
    struct buf out = {0};
    struct cmdjson_auth a;

    cmdjson_put_auth(&out, "w:0", "k", features, &tokens);
    assert_int_equal(cmdjson_parse_auth(&a, out.data, out.len), 0);
    assert_int_equal(a.gwrun, 1);
    assert_int_equal(a.nfeatures, 2);
    assert_string_equal(a.process, "0123456789abcdef");
    assert_string_equal(a.pair, "p");
    assert_string_equal(a.machine, "m");
    assert_true(cmdjson_has_feature(&a, "ipv6"));
    assert_true(cmdjson_has_feature(&a, "ack"));
    assert_false(cmdjson_has_feature(&a, "ac"));
    assert_buf_text(&out,
        "{\"worker_key\":\"w:0\",\"secret_key\":\"k\","
        "\"gwrun\":{\"version\":1,\"features\":[\"ipv6\",\"ack\"],"
        "\"process\":\"0123456789abcdef\",\"pair\":\"p\","
        "\"machine\":\"m\"}}");
    cmdjson_fini_auth(&a);
    cmdjson_put_auth(&out, NULL, "", NULL, NULL);
    assert_buf_text(&out, "{\"secret_key\":\"\"}");
    buf_fini(&out);
}

static void refuses_auth_that_is_none(void **state)
{
    static const char *const bad[] = {"", "[]", "7", "{\"secret_key\":7}",
        "{\"secret_key\":\"a\\u0000b\"}", "{\"worker_key\":[]}",
        "{\"gwrun\":7}", "{\"gwrun\":{}}", "{\"gwrun\":{\"version\":0}}",
        "{\"gwrun\":{\"version\":1,\"features\":[7]}}",
        "{\"gwrun\":{\"version\":1,\"features\":\"x\"}}",
        "{\"gwrun\":{\"version\":1,\"pair\":1}}",
        "{\"gwrun\":{\"version\":1,\"machine\":[]}}",
        "{\"gwrun\":{\"version\":1,\"process\":7}}",
        "{\"gwrun\":{\"version\":1,\"process\":\"a\\u0000b\"}}",
        ("{\"gwrun\":{\"version\":1,\"process\":"
         "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\"}}"),
        "{\"gwrun\":{\"version\":99999999999}}"};
    struct cmdjson_auth a;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse_auth(&a, bad[i]) != -EPROTO)
            fail_msg("%s was accepted", bad[i]);
}

static int parse_select(struct cmdjson_select *out, const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    int err = cmdjson_parse_select(out, b.data, b.len);

    bytes_fini(&b);
    return err;
}

static void reads_fields_and_where(void **state)
{
    struct cmdjson_select s;

    assert_int_equal(
        parse_select(&s, "{\"fields\":[\"groups\",\"other\"],\"where\":"
                         "{\"uid\":[\"alice\",7],\"connection_id\":[1,2],"
                         "\"groups\":{\"0\":\"r\"},\"more\":[]}}"),
        0);
    assert_true(s.groups && !s.session && !s.uid && s.has_where);
    assert_int_equal(s.where_uids.count, 2);
    assert_name(&s.where_uids.items[1], "7", true);
    assert_int_equal(s.where_groups.count, 1);
    assert_int_equal(s.where_ids.count, 2);
    cmdjson_fini_select(&s);
}

static void tells_no_where_from_an_empty_one(void **state)
{
    static const struct {
        const char *text;
        bool has_where;
        const char *again;
    } cases[] = {
        {"{\"fields\":[]}", false, "{\"fields\":[],\"where\":[]}"},
        {"{\"fields\":[],\"where\":null}", false,
            "{\"fields\":[],\"where\":[]}"},
        {"{\"fields\":[],\"where\":{}}", false, "{\"fields\":[],\"where\":[]}"},
        {"{\"fields\":[],\"where\":{\"uid\":[]}}", true,
            "{\"fields\":[],\"where\":{\"connection_id\":[]}}"},
        {"{\"fields\":[],\"where\":{\"mine\":true}}", true,
            "{\"fields\":[],\"where\":{\"mine\":true}}"},
    };
    struct buf out = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cmdjson_select s;

        assert_int_equal(parse_select(&s, cases[i].text), 0);
        assert_int_equal(s.has_where, cases[i].has_where);
        cmdjson_put_select(&out, &s);
        assert_buf_text(&out, cases[i].again);
        cmdjson_fini_select(&s);
    }
    buf_fini(&out);
}

static void refuses_selects_that_are_none(void **state)
{
    static const char *const bad[] = {"", "7", "[]", "{}", "{\"fields\":7}",
        "{\"fields\":[7]}", "{\"fields\":[],\"where\":7}",
        "{\"fields\":[],\"where\":{\"uid\":\"alice\"}}",
        "{\"fields\":[],\"where\":{\"uid\":[\"a\"],\"groups\":[{}]}}",
        "{\"fields\":[],\"where\":{\"connection_id\":[\"x\"]}}"};
    struct cmdjson_select s;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse_select(&s, bad[i]) != -EPROTO)
            fail_msg("%s was accepted", bad[i]);
}

static void refuses_json_cut_at_any_length(void **state)
{
    const char *target = "{\"group\":[\"r\"],\"exclude\":{\"3\":3}}";
    const char *select = "{\"fields\":[\"uid\"],\"where\":{\"uid\":[7]}}";
    struct cmdjson_target t;
    struct cmdjson_select s;

    for (size_t len = 1; len < strlen(target); len++) {
        struct bytes cut = bytes_copy(target, len);

        assert_int_equal(cmdjson_parse_target(&t, cut.data, len), -EPROTO);
        bytes_fini(&cut);
    }
    for (size_t len = 0; len < strlen(select); len++) {
        struct bytes cut = bytes_copy(select, len);

        assert_int_equal(cmdjson_parse_select(&s, cut.data, len), -EPROTO);
        bytes_fini(&cut);
    }
}

static void refuses_deep_nesting_and_long_texts(void **state)
{
    char *text = malloc(CMDJSON_MAX_LEN + 1);
    struct cmdjson_names n;

    memset(text, '[', CMDJSON_MAX_LEN + 1);
    assert_int_equal(cmdjson_parse_names(&n, text, 1000000), -EPROTO);
    memset(text, ' ', CMDJSON_MAX_LEN + 1);
    memcpy(text, "[]", 2);
    assert_int_equal(
        cmdjson_parse_names(&n, text, CMDJSON_MAX_LEN + 1), -EPROTO);
    assert_int_equal(cmdjson_parse_names(&n, text, CMDJSON_MAX_LEN), 0);
    cmdjson_fini_names(&n);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_captured_bodies_as_it_read_them),
        cmocka_unit_test(reads_names_of_every_scalar),
        cmocka_unit_test(reads_names_of_an_object),
        cmocka_unit_test(carries_a_nul_in_a_name),
        cmocka_unit_test(refuses_names_that_are_none),
        cmocka_unit_test(an_empty_target_is_everybody),
        cmocka_unit_test(an_empty_list_of_connections_is_nobody),
        cmocka_unit_test(goes_by_values_of_connections_and_keys_of_exclude),
        cmocka_unit_test(refuses_targets_that_are_none),
        cmocka_unit_test(writes_empty_sets_as_php_does),
        cmocka_unit_test(reads_php_auth),
        cmocka_unit_test(offers_features),
        cmocka_unit_test(refuses_auth_that_is_none),
        cmocka_unit_test(reads_fields_and_where),
        cmocka_unit_test(tells_no_where_from_an_empty_one),
        cmocka_unit_test(refuses_selects_that_are_none),
        cmocka_unit_test(refuses_json_cut_at_any_length),
        cmocka_unit_test(refuses_deep_nesting_and_long_texts),
    };

    return cmocka_run_group_tests_name("wire.cmdjson", tests, NULL, NULL);
}
