/* Requests on their way to a worker: what comes out is what went in, and of
 * what is cut or made up nothing is read that is not there. */
#include "vectors.h"

#include <errno.h>

#include "wire/bigendian.h"
#include "wire/httpcall.h"

#define FIELDS_MAX 8

static struct httphead_field fields[] = {
    {"host", "x"}, {"cookie", "a=1"}, {"cookie", ""}};

static const struct httpcall call = {
    .tls = true,
    .remote_port = 40000,
    .server_port = 8283,
    .remote_addr = "127.0.0.1",
    .head = {.method = "POST",
        .target = "/a?b=1",
        .minor = 1,
        .fields = fields,
        .nfields = 3},
    .body = (const uint8_t *)"b\0dy",
    .body_len = 4,
};

static int read_bytes(struct httpcall *out, const uint8_t *data, size_t len)
{
    static struct httphead_field room[FIELDS_MAX];

    *out = (struct httpcall){.head = {.fields = room, .max = FIELDS_MAX}};
    return httpcall_read(out, data, len);
}

static void what_is_put_is_read(void **state)
{
    struct buf out = {0};
    struct httpcall r;

    httpcall_put(&out, &call);
    assert_int_equal(httpcall_count_headers(out.data, out.len), 3);
    assert_int_equal(read_bytes(&r, out.data, out.len), 0);
    assert_true(r.tls);
    assert_int_equal(r.remote_port, 40000);
    assert_int_equal(r.server_port, 8283);
    assert_string_equal(r.remote_addr, "127.0.0.1");
    assert_string_equal(r.head.method, "POST");
    assert_string_equal(r.head.target, "/a?b=1");
    assert_int_equal(r.head.minor, 1);
    assert_int_equal(r.head.nfields, 3);
    assert_string_equal(r.head.fields[1].name, "cookie");
    assert_string_equal(r.head.fields[1].value, "a=1");
    assert_string_equal(r.head.fields[2].value, "");
    assert_int_equal(r.body_len, 4);
    assert_memory_equal(r.body, "b\0dy", 4);
    buf_fini(&out);
}

static void what_is_cut_is_refused(void **state)
{
    struct buf out = {0};
    struct httpcall r;

    httpcall_put(&out, &call);
    for (size_t cut = 0; cut < out.len - 4; cut++) {
        struct bytes b = bytes_copy(out.data, cut);

        assert_int_equal(read_bytes(&r, b.data, b.len), -EPROTO);
        bytes_fini(&b);
    }
    assert_int_equal(read_bytes(&r, out.data, out.len - 4), 0);
    assert_int_equal(r.body_len, 0);
    buf_fini(&out);
}

static void numbers_that_lie_are_refused(void **state)
{
    struct buf out = {0};
    struct httpcall r;
    uint32_t texts;

    httpcall_put(&out, &call);
    put16(out.data + 6, 65535);
    assert_int_equal(httpcall_count_headers(out.data, out.len), 0);
    assert_int_equal(read_bytes(&r, out.data, out.len), -EMSGSIZE);
    put16(out.data + 6, 4);
    assert_int_equal(read_bytes(&r, out.data, out.len), -EPROTO);
    put16(out.data + 6, 2);
    assert_int_equal(read_bytes(&r, out.data, out.len), -EPROTO);
    put16(out.data + 6, 3);
    texts = get32(out.data + 8);
    put32(out.data + 8, texts - 1);
    assert_int_equal(read_bytes(&r, out.data, out.len), -EPROTO);
    put32(out.data + 8, UINT32_MAX);
    assert_int_equal(read_bytes(&r, out.data, out.len), -EPROTO);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(what_is_cut_is_refused),
        cmocka_unit_test(numbers_that_lie_are_refused),
    };

    return cmocka_run_group_tests_name("wire.httpcall", tests, NULL, NULL);
}
