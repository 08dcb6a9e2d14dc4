/* Answers to handshakes as a worker may send them: what is found good makes one
 * head of HTTP with nothing in it but what it says, and a client nothing that
 * it may not have. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clients/response.h"
#include "gateway/admissions.h"
#include "util/alloc.h"
#include "wire/answer.h"
#include "wire/phpser.h"

/* The lines of the head at out, and the body behind it. */
static size_t check_head(const struct buf *out, size_t *lines)
{
    const uint8_t *end = memmem(out->data, out->len, "\r\n\r\n", 4);
    const char *at = (const char *)out->data;

    assert(end);
    assert(strncmp(at, "HTTP/1.1 ", 9) == 0);
    for (*lines = 0; at < (const char *)end; ++*lines) {
        const char *cr = strchr(at, '\r');

        assert(cr && cr[1] == '\n');
        assert(!memchr(at, '\n', (size_t)(cr - at)));
        assert(!memchr(at, '\0', (size_t)(cr - at)));
        assert(*lines == 0 || memchr(at, ':', (size_t)(cr - at)));
        at = cr + 2;
    }
    return out->len - (size_t)(end + 4 - out->data);
}

static void check_refusal(const struct answer *a)
{
    struct answer_part body;
    struct buf out = {0};
    size_t lines, len;

    response_put_answer(&out, a, true);
    buf_append_byte(&out, 0);
    out.len--;
    len = check_head(&out, &lines);
    assert(lines >= 3 + answer_count(a, ANSWER_HEADER));
    if (answer_find(a, ANSWER_BODY, &body))
        assert(a->status == 304 ? len == 0 : len == body.len);
    buf_fini(&out);
}

static void check_101(const struct answer *a)
{
    static const struct httphead_field fields[] = {
        {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="}};
    const struct httphead head = {
        .fields = (struct httphead_field *)fields, .nfields = 1};
    struct answer_part part;
    char *subprotocol = NULL;
    struct buf out = {0};
    size_t lines;

    if (answer_find(a, ANSWER_SUBPROTOCOL, &part))
        subprotocol = xstrndup(part.data, part.len);
    response_put_101(&out, &head, subprotocol, a);
    buf_append_byte(&out, 0);
    out.len--;
    assert(check_head(&out, &lines) == 0);
    assert(lines == 4 + (subprotocol != NULL) + answer_count(a, ANSWER_HEADER));
    free(subprotocol);
    buf_fini(&out);
}

static void check_gifts(const struct answer *a)
{
    struct answer_part part;
    size_t at = 0, end = 0;

    while (answer_next(a, &at, &part)) {
        assert((const uint8_t *)part.data + part.len == a->parts + at);
        assert(at > end);
        end = at;
        if (part.kind == ANSWER_SESSION)
            assert(phpser_check(part.data, part.len) == 0);
        if (part.kind == ANSWER_UID || part.kind == ANSWER_GROUP)
            assert(part.len > 0 && part.len <= GATEWAY_NAME_MAX);
    }
    assert(at == a->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *copy = xmemdup(data, len); /* exactly as long: overruns show */
    struct answer a;

    if (answer_parse(&a, copy, len) == NULL) {
        check_gifts(&a);
        if (a.status == 0)
            check_101(&a);
        else
            check_refusal(&a);
    }
    free(copy);
    return 0;
}
