/* The register's lines, as PHP writes them. */
#include "vectors.h"

#include <errno.h>

#include "wire/regmsg.h"

static int parse(struct regmsg *m, const char *text)
{
    struct bytes b = bytes_copy(text, strlen(text));
    int err = regmsg_parse(m, b.data, b.len);

    bytes_fini(&b);
    return err;
}

static void assert_refused(const char *text)
{
    struct regmsg m;

    if (parse(&m, text) != -EPROTO)
        fail_msg("%s was accepted", text);
}

/* Expected bytes: php -r 'echo json_encode(…);' of PHP 8.2. */
static void writes_what_php_writes(void **state)
{
    static const char *const addresses[] = {"10.0.0.5:2900", "10.0.0.6:2900"};
    struct buf out = {0};

    regmsg_put_gateway_connect(&out, "10.0.0.5:2900", "a/b\"\\é\n");
    assert_buf_text(&out,
        "{\"event\":\"gateway_connect\",\"address\":\"10.0.0.5:2900\","
        "\"secret_key\":\"a\\/b\\\"\\\\\\u00e9\\n\"}\n");
    regmsg_put_worker_connect(&out, "");
    assert_buf_text(
        &out, "{\"event\":\"worker_connect\",\"secret_key\":\"\"}\n");
    regmsg_put_ping(&out);
    assert_buf_text(&out, "{\"event\":\"ping\"}\n");
    regmsg_put_broadcast_addresses(&out, addresses, 2);
    assert_buf_text(&out,
        "{\"event\":\"broadcast_addresses\","
        "\"addresses\":[\"10.0.0.5:2900\",\"10.0.0.6:2900\"]}\n");
    regmsg_put_broadcast_addresses(&out, NULL, 0);
    assert_buf_text(
        &out, "{\"event\":\"broadcast_addresses\",\"addresses\":[]}\n");
    buf_fini(&out);
}

static void reads_gateway_connect(void **state)
{
    struct regmsg m;

    assert_int_equal(
        parse(&m, "{\"event\":\"gateway_connect\",\"address\":\"1.2.3.4:5\","
                  "\"secret_key\":\"\\u5bc6\"}"),
        0);
    assert_int_equal(m.event, REGMSG_GATEWAY_CONNECT);
    assert_string_equal(m.address, "1.2.3.4:5");
    assert_string_equal(m.secret_key, "密");
    assert_null(m.addresses);
    regmsg_fini(&m);
}

static void reads_worker_connect_and_ping(void **state)
{
    struct regmsg m;

    assert_int_equal(parse(&m, " { \"event\" : \"worker_connect\" } "), 0);
    assert_int_equal(m.event, REGMSG_WORKER_CONNECT);
    assert_string_equal(m.secret_key, "");
    assert_null(m.address);
    regmsg_fini(&m);
    assert_int_equal(parse(&m, "{\"event\":\"ping\",\"more\":[1,2]}"), 0);
    assert_int_equal(m.event, REGMSG_PING);
    regmsg_fini(&m);
}

static void reads_addresses_as_list_and_as_object(void **state)
{
    static const char *const lines[] = {
        "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\",\"b:2\"]}",
        "{\"event\":\"broadcast_addresses\","
        "\"addresses\":{\"0\":\"a:1\",\"2\":\"b:2\"}}",
    };

    for (size_t i = 0; i < 2; i++) {
        struct regmsg m;

        assert_int_equal(parse(&m, lines[i]), 0);
        assert_int_equal(m.event, REGMSG_BROADCAST_ADDRESSES);
        assert_int_equal(m.count, 2);
        assert_string_equal(m.addresses[0], "a:1");
        assert_string_equal(m.addresses[1], "b:2");
        regmsg_fini(&m);
    }
}

static void reads_an_empty_list(void **state)
{
    struct regmsg m;

    assert_int_equal(
        parse(&m, "{\"event\":\"broadcast_addresses\",\"addresses\":[]}"), 0);
    assert_int_equal(m.count, 0);
    regmsg_fini(&m);
}

static void refuses_what_is_not_a_message(void **state)
{
    assert_refused("");
    assert_refused("hello");
    assert_refused("[]");
    assert_refused("\"ping\"");
    assert_refused("{}");
    assert_refused("{\"event\":7}");
    assert_refused("{\"event\":\"pong\"}");
    assert_refused("{\"event\":\"ping\"} {}");
    assert_refused("{\"event\":\"ping\",\"secret_key\":7}");
    assert_refused("{\"event\":\"worker_connect\",\"secret_key\":\"\xff\"}");
    assert_refused("{\"event\":\"worker_connect\",\"secret_key\":\"\\u0000\"}");
}

static void refuses_missing_addresses(void **state)
{
    assert_refused("{\"event\":\"gateway_connect\"}");
    assert_refused("{\"event\":\"gateway_connect\",\"address\":\"\"}");
    assert_refused("{\"event\":\"gateway_connect\",\"address\":[\"a:1\"]}");
    assert_refused("{\"event\":\"broadcast_addresses\"}");
    assert_refused("{\"event\":\"broadcast_addresses\",\"addresses\":\"a:1\"}");
    assert_refused(
        "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\",2]}");
    assert_refused(
        "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\",\"\"]}");
}

static void refuses_a_line_cut_at_any_length(void **state)
{
    const char *line =
        "{\"event\":\"gateway_connect\",\"address\":\"1.2.3.4:5\"}";
    struct regmsg m;

    for (size_t len = 0; len < strlen(line); len++) {
        struct bytes cut = bytes_copy(line, len);

        assert_int_equal(regmsg_parse(&m, cut.data, cut.len), -EPROTO);
        bytes_fini(&cut);
    }
}

static void refuses_deep_nesting_and_long_lines(void **state)
{
    size_t len = REGMSG_MAX_LEN + 1;
    char *line = malloc(len);
    struct regmsg m;

    memset(line, '[', len);
    assert_int_equal(regmsg_parse(&m, line, len - 1), -EPROTO);
    memset(line, ' ', len);
    memcpy(line, "{\"event\":\"ping\"}", 16);
    assert_int_equal(regmsg_parse(&m, line, len), -EPROTO);
    assert_int_equal(regmsg_parse(&m, line, len - 1), 0);
    regmsg_fini(&m);
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_php_writes),
        cmocka_unit_test(reads_gateway_connect),
        cmocka_unit_test(reads_worker_connect_and_ping),
        cmocka_unit_test(reads_addresses_as_list_and_as_object),
        cmocka_unit_test(reads_an_empty_list),
        cmocka_unit_test(refuses_what_is_not_a_message),
        cmocka_unit_test(refuses_missing_addresses),
        cmocka_unit_test(refuses_a_line_cut_at_any_length),
        cmocka_unit_test(refuses_deep_nesting_and_long_lines),
    };

    return cmocka_run_group_tests_name("wire.regmsg", tests, NULL, NULL);
}
