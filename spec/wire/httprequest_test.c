/* RFC 9112 by section: what a request's head says, and its body, cut at every
 * byte and given byte by byte. */
#include "vectors.h"

#include <errno.h>
#include <stdio.h>

#include "wire/httpbody.h"
#include "wire/httprequest.h"

#define FIELDS_MAX 16
#define BODY_MAX   64

/* A request whole: the status that refuses it, or 0 and its body. */
struct outcome {
    unsigned status;
    struct httprequest r;
    char target[128], host[128];
    struct buf body;
    size_t used; /* of all its bytes */
};

static void read_head(struct outcome *o, char *data, size_t len)
{
    struct httphead_field fields[FIELDS_MAX];
    struct httphead h = {.fields = fields, .max = FIELDS_MAX};
    const char *host;

    if (httphead_parse(&h, data, len) < 0) {
        o->status = 400;
        return;
    }
    o->status = httprequest_read(&o->r, &h);
    host = httphead_find(&h, "host");
    snprintf(o->target, sizeof(o->target), "%s", h.target);
    snprintf(o->host, sizeof(o->host), "%s", host ? host : "");
}

static void read_body(
    struct outcome *o, const uint8_t *data, size_t len, size_t step, size_t cut)
{
    struct httpbody b;
    int err = httpbody_begin(&b, &o->r, BODY_MAX);

    for (size_t at = 0; err == 0 && at < len && !httpbody_is_whole(&b);) {
        size_t n = at < cut ? cut - at : step;
        struct bytes piece = bytes_copy(data + at, n < len - at ? n : len - at);
        ssize_t used = httpbody_take(&b, &o->body, piece.data, piece.len);

        if (used >= 0) {
            assert_true((size_t)used == piece.len || httpbody_is_whole(&b));
            at += (size_t)used;
            o->used += (size_t)used;
        } else {
            err = (int)used;
        }
        bytes_fini(&piece);
    }
    if (err < 0)
        o->status = err == -EMSGSIZE ? 413 : 400;
    else if (!httpbody_is_whole(&b))
        o->status = 1; /* waits for more */
}

static struct outcome read_cut(const char *text, size_t step, size_t cut)
{
    struct outcome o = {0};
    size_t len = strlen(text);
    ssize_t head = httphead_measure(text, len, 8192);
    char *copy = strdup(text);

    assert_true(head > 0);
    read_head(&o, copy, (size_t)head);
    o.used = (size_t)head;
    if (o.status == 0)
        read_body(
            &o, (const uint8_t *)text + head, len - (size_t)head, step, cut);
    free(copy);
    return o;
}

/* The same however it is cut. */
static struct outcome read_request(const char *text)
{
    struct outcome whole = read_cut(text, SIZE_MAX, 0);

    for (size_t cut = 1; cut < strlen(text); cut++) {
        struct outcome o = read_cut(text, SIZE_MAX, cut);

        assert_int_equal(o.status, whole.status);
        assert_int_equal(o.body.len, whole.body.len);
        if (o.status == 0)
            assert_int_equal(o.used, whole.used);
        buf_fini(&o.body);
    }
    for (size_t step = 1; step < 8; step++) {
        struct outcome o = read_cut(text, step, 0);

        assert_int_equal(o.status, whole.status);
        assert_int_equal(o.body.len, whole.body.len);
        buf_fini(&o.body);
    }
    return whole;
}

#define POST    "POST / HTTP/1.1\r\nHost: a\r\n"
#define POST10  "POST / HTTP/1.0\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define X64     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256    X64 X64 X64 X64

static const struct {
    const char *section, *text;
    unsigned status;
    const char *body; /* of a status 0 */
} cases[] = {
    {"2.2 a bare CR", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400, ""},
    {"3 no version", "GET /\r\n\r\n", 400, ""},
    {"3 two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
    {"3.1 no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
    {"3.2 no host", "GET / HTTP/1.1\r\n\r\n", 400, ""},
    {"3.2 two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, ""},
    {"3.2 no host's spelling", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, ""},
    {"3.2 somebody's host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, ""},
    {"3.2 an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0, ""},
    {"3.2 1.0 needs none", "GET / HTTP/1.0\r\n\r\n", 0, ""},
    {"3.2.1 no slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
    {"3.2.1 a NUL", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
    {"3.2.2 absolute", "GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n", 0, ""},
    {"3.2.2 with a name", "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400,
        ""},
    {"3.2.2 of nobody", "GET http:///c HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
    {"3.2.2 another scheme", "GET ftp://b/c HTTP/1.1\r\nHost: a\r\n\r\n", 400,
        ""},
    {"3.2.3 authority", "CONNECT b:80 HTTP/1.1\r\nHost: b\r\n\r\n", 405, ""},
    {"3.2.4 asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0, ""},
    {"3.2.4 of another method", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
    {"5.1 a blank before the colon", POST "Content-Length : 1\r\n\r\nx", 400,
        ""},
    {"5.2 a folded line", POST "X: a\r\n b\r\n\r\n", 400, ""},
    {"6.1 1.0 knows no codings",
        POST10 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
    {"6.1 both",
        POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
             "0\r\n\r\n",
        400, ""},
    {"6.1 an unknown one",
        POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, ""},
    {"6.1 in any case", POST "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 0,
        ""},
    {"6.1 chunked twice",
        POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, ""},
    {"6.3 chunked not last",
        POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, ""},
    {"6.3 no chunked", POST "Transfer-Encoding: identity\r\n\r\n", 400, ""},
    {"6.3 nothing", POST "Transfer-Encoding:\r\n\r\n", 400, ""},
    {"6.3 another name", POST "Transfer-Encoding: xchunked\r\n\r\n", 400, ""},
    {"6.3 something behind it",
        POST "Transfer-Encoding: chunked x\r\n\r\n0\r\n\r\n", 400, ""},
    {"6.3 a parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        400, ""},
    {"6.3 in two lines",
        POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
             "0\r\n\r\n",
        400, ""},
    {"6.2 a length", POST "Content-Length: 5\r\n\r\nhello", 0, "hello"},
    {"6.2 none", POST "\r\nhello", 0, ""},
    {"6.2 nought", POST "Content-Length: 0\r\n\r\nhello", 0, ""},
    {"6.2 what is behind it", POST "Content-Length: 2\r\n\r\nhello", 0, "he"},
    {"6.2 not all of it", POST "Content-Length: 6\r\n\r\nhello", 1, "hello"},
    {"6.3 two lengths",
        POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, ""},
    {"6.3 a list", POST "Content-Length: 5, 5\r\n\r\nhello", 400, ""},
    {"6.3 a sign", POST "Content-Length: +5\r\n\r\nhello", 400, ""},
    {"6.3 less than nothing", POST "Content-Length: -5\r\n\r\nhello", 400, ""},
    {"6.3 hexadecimal", POST "Content-Length: 0x5\r\n\r\nhello", 400, ""},
    {"6.3 no number", POST "Content-Length:\r\n\r\nhello", 400, ""},
    {"6.3 too large", POST "Content-Length: 65\r\n\r\n", 413, ""},
    {"6.3 no such number",
        POST "Content-Length: 18446744073709551621\r\n\r\nhello", 413, ""},
    {"7.1 chunks", CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nX", 0,
        "hello world"},
    {"7.1 hexadecimal",
        CHUNKED "A\r\n0123456789\r\n0a\r\n0123456789\r\n0\r\n\r\n", 0,
        "01234567890123456789"},
    {"7.1 the last may have many noughts", CHUNKED "000\r\n\r\n", 0, ""},
    {"7.1 not the last", CHUNKED "5\r\nhello\r\n", 1, "hello"},
    {"7.1 no size", CHUNKED "\r\nhello", 400, ""},
    {"7.1 no number", CHUNKED "x\r\n", 400, ""},
    {"7.1 0x", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400, ""},
    {"7.1 a sign", CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 400, ""},
    {"7.1 a blank in front", CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 400, ""},
    {"7.1 a blank behind", CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400, ""},
    {"7.1 a bare LF", CHUNKED "5\nhello\r\n0\r\n\r\n", 400, ""},
    {"7.1 a bare LF behind", CHUNKED "5\r\nhello\n0\r\n\r\n", 400, ""},
    {"7.1 a bare CR", CHUNKED "5\rhello\r\n0\r\n\r\n", 400, ""},
    {"7.1 too short", CHUNKED "4\r\nhello\r\n0\r\n\r\n", 400, "hell"},
    {"7.1 no end of the chunk", CHUNKED "5\r\nhello0\r\n\r\n", 400, "hello"},
    {"7.1 17 digits", CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n", 400,
        ""},
    {"7.1 too large", CHUNKED "41\r\n", 413, ""},
    {"7.1 too large together", CHUNKED "40\r\n" X64 "\r\n1\r\n", 413, ""},
    {"7.1 the largest number", CHUNKED "ffffffffffffffff\r\n", 413, ""},
    {"7.1.1 an extension", CHUNKED "5;a=b\r\nhello\r\n0;c\r\n\r\n", 0, "hello"},
    {"7.1.1 blanks", CHUNKED "5 \t;a = \"b;c\"\r\nhello\r\n0\r\n\r\n", 0,
        "hello"},
    {"7.1.1 a LF in it", CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 400, ""},
    {"7.1.1 a CR in it", CHUNKED "5;a\rb\r\nhello\r\n0\r\n\r\n", 400, ""},
    {"7.1.1 one of 256 bytes", CHUNKED "0;" X256 "\r\n\r\n", 0, ""},
    {"7.1.1 one of 257", CHUNKED "0;" X256 "x\r\n\r\n", 400, ""},
    {"7.1.2 trailers", CHUNKED "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", 0, "x"},
    {"7.1.2 no name", CHUNKED "0\r\n: b\r\n\r\n", 400, ""},
    {"7.1.2 no colon", CHUNKED "0\r\nab\r\n\r\n", 400, ""},
    {"7.1.2 a folded line", CHUNKED "0\r\nA: b\r\n c\r\n\r\n", 400, ""},
    {"7.1.2 a bare LF", CHUNKED "0\r\nA: b\nC: d\r\n\r\n", 400, ""},
    {"9110 10.1.1 a 100", POST "Expect: 100-Continue\r\n\r\n", 0, ""},
    {"9110 10.1.1 something else", POST "Expect: 200-ok\r\n\r\n", 417, ""},
    {"9110 10.1.1 of 1.0", POST10 "Expect: 200-ok\r\n\r\n", 0, ""},
};

static void each_section_has_its_cases(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome o = read_request(cases[i].text);

        if (o.status != cases[i].status)
            fail_msg("%s: status %u, not %u", cases[i].section, o.status,
                cases[i].status);
        if (o.body.len != strlen(cases[i].body) && o.status <= 1)
            fail_msg("%s: %zu bytes of body", cases[i].section, o.body.len);
        if (o.status == 0 && o.body.len > 0)
            assert_memory_equal(o.body.data, cases[i].body, o.body.len);
        buf_fini(&o.body);
    }
}

static void the_next_request_begins_behind_the_body(void **state)
{
    static const char one[] = CHUNKED "1\r\nx\r\n0\r\nA: b\r\n\r\n";
    char two[sizeof(one) + 32];
    struct outcome o;

    snprintf(two, sizeof(two), "%sGET / HTTP/1.1\r\n", one);
    o = read_request(two);
    assert_int_equal(o.status, 0);
    assert_int_equal(o.used, strlen(one));
    buf_fini(&o.body);
}

static void an_absolute_target_overrides_the_host(void **state)
{
    static const struct {
        const char *absolute, *target, *host;
    } targets[] = {
        {"http://b/c?d", "/c?d", "b"},
        {"HTTPS://b.example:8443/", "/", "b.example:8443"},
        {"http://b", "/", "b"},
        {"http://bc?d=/e", "/?d=/e", "bc"},
        {"http://[::1]:80?", "/?", "[::1]:80"},
    };

    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        char text[128];
        struct outcome o;

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n",
            targets[i].absolute);
        o = read_request(text);
        assert_int_equal(o.status, 0);
        assert_string_equal(o.target, targets[i].target);
        assert_string_equal(o.host, targets[i].host);
    }
}

static void trailers_have_a_limit(void **state)
{
    struct buf text = {0};
    struct outcome o;

    buf_append_str(&text, CHUNKED "0\r\n");
    while (text.len < HTTPBODY_TRAILER_MAX + 200)
        buf_append_str(&text, "A: " X64 "\r\n");
    buf_append(&text, "\r\n", 3);
    o = read_cut((const char *)text.data, 100, 0);
    assert_int_equal(o.status, 400);
    buf_fini(&text);
}

static void a_connection_goes_on_or_not(void **state)
{
    static const struct {
        const char *text;
        bool keeps;
    } heads[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\n"
         "Connection: close\r\n\r\n",
            false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct outcome o = read_request(heads[i].text);

        assert_int_equal(o.status, 0);
        assert_int_equal(o.r.keep_alive, heads[i].keeps);
    }
}

static void who_expects_a_100_is_known(void **state)
{
    struct outcome o = read_request(POST "Expect: 100-continue\r\n\r\n");

    assert_true(o.r.expects_continue);
    o = read_request(POST10 "Expect: 100-continue\r\n\r\n");
    assert_false(o.r.expects_continue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_section_has_its_cases),
        cmocka_unit_test(the_next_request_begins_behind_the_body),
        cmocka_unit_test(an_absolute_target_overrides_the_host),
        cmocka_unit_test(trailers_have_a_limit),
        cmocka_unit_test(a_connection_goes_on_or_not),
        cmocka_unit_test(who_expects_a_100_is_known),
    };

    return cmocka_run_group_tests_name("wire.httprequest", tests, NULL, NULL);
}
