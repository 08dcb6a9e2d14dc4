/* Client ids: 20 hex digits, and nothing else. */
#include "vectors.h"

#include <errno.h>

#include "wire/client_id.h"

static void is_written_in_lower_case(void **state)
{
    const struct client_id id = {
        .local_ip = 0x7f000001, .local_port = 2900, .connection_id = 0xABCDEF};
    char text[CLIENT_ID_LEN + 1];

    client_id_format(text, &id);
    assert_string_equal(text, "7f0000010b5400abcdef");
}

static void reads_back(void **state)
{
    static const struct client_id ids[] = {
        {0, 0, 0},
        {0xffffffff, 0xffff, 0xffffffff},
        {0x0a000005, 2900, 1},
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char text[CLIENT_ID_LEN + 1];
        struct client_id got;

        client_id_format(text, &ids[i]);
        assert_int_equal(client_id_parse(&got, text, CLIENT_ID_LEN), 0);
        assert_true(got.local_ip == ids[i].local_ip);
        assert_true(got.local_port == ids[i].local_port);
        assert_true(got.connection_id == ids[i].connection_id);
    }
}

static void may_be_given_in_upper_case(void **state)
{
    struct client_id got;

    assert_int_equal(client_id_parse(&got, "7F0000010B5400ABCDEF", 20), 0);
    assert_int_equal(got.connection_id, 0xabcdef);
}

static void refuses_other_lengths(void **state)
{
    const char *text = "7f0000010b5400abcdef00";
    struct client_id got;

    for (size_t len = 0; len <= strlen(text); len++)
        assert_int_equal(client_id_parse(&got, text, len),
            len == CLIENT_ID_LEN ? 0 : -EINVAL);
}

static void refuses_other_digits(void **state)
{
    static const char bad[] = "g/:@G`{ -+x\0";
    struct client_id got;

    for (size_t at = 0; at < CLIENT_ID_LEN; at++) {
        for (size_t i = 0; i < sizeof(bad); i++) {
            char text[] = "7f0000010b5400abcdef";

            text[at] = bad[i];
            assert_int_equal(
                client_id_parse(&got, text, CLIENT_ID_LEN), -EINVAL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_written_in_lower_case),
        cmocka_unit_test(reads_back),
        cmocka_unit_test(may_be_given_in_upper_case),
        cmocka_unit_test(refuses_other_lengths),
        cmocka_unit_test(refuses_other_digits),
    };

    return cmocka_run_group_tests_name("wire.client_id", tests, NULL, NULL);
}
