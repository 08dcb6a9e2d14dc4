/* Bodies of requests: given whole, cut in two and byte by byte they are the
 * same, never longer than allowed, and what is behind them is left alone. The
 * first byte says where to cut, the second how long a body is. */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "wire/httpbody.h"

#define MAX 512

struct outcome {
    struct buf body;
    size_t used;
    int err;
    bool whole;
};

static struct outcome take(const struct httprequest *r, const uint8_t *data,
    size_t len, size_t first, size_t step)
{
    struct outcome o = {0};
    struct httpbody b;
    size_t n = first;

    o.err = httpbody_begin(&b, r, MAX);
    while (o.err == 0 && o.used < len && !httpbody_is_whole(&b)) {
        ssize_t used;

        n = n < len - o.used ? n : len - o.used;
        used = httpbody_take(&b, &o.body, data + o.used, n);
        assert(o.body.len <= MAX);
        if (used < 0) {
            o.err = (int)used;
            assert(o.err == -EPROTO || o.err == -EMSGSIZE);
        } else {
            assert((size_t)used == n || httpbody_is_whole(&b));
            o.used += (size_t)used;
        }
        n = step;
    }
    o.whole = o.err == 0 && httpbody_is_whole(&b);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct httprequest r = {0};
    struct outcome whole, cut, bytes;

    if (len < 2)
        return 0;
    r.chunked = data[1] == 0;
    r.length = r.chunked ? 0 : data[1] * 4u;
    whole = take(&r, data + 2, len - 2, len, len);
    cut = take(&r, data + 2, len - 2, data[0] + 1u, len);
    bytes = take(&r, data + 2, len - 2, 1, 1);
    assert(cut.err == whole.err && bytes.err == whole.err);
    assert(cut.whole == whole.whole && bytes.whole == whole.whole);
    if (whole.err == 0) {
        assert(cut.used == whole.used && bytes.used == whole.used);
        assert(cut.body.len == whole.body.len);
        assert(bytes.body.len == whole.body.len);
        assert(
            whole.body.len == 0 ||
            (memcmp(cut.body.data, whole.body.data, whole.body.len) == 0 &&
                memcmp(bytes.body.data, whole.body.data, whole.body.len) == 0));
        assert(!whole.whole || r.chunked || whole.body.len == r.length);
    }
    buf_fini(&whole.body);
    buf_fini(&cut.body);
    buf_fini(&bytes.body);
    return 0;
}
