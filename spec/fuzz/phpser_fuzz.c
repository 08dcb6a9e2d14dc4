/* Serialized values: writing what was read is stable, and merging two accepted
 * arrays gives an accepted one. The first two bytes cut the input in two. */
#include "fuzz.h"

#include "../wire/transcode.h"

/* A second pass over what the first one wrote changes nothing. */
static void check_value(const uint8_t *data, size_t len)
{
    struct buf once = {0}, twice = {0};
    int err = transcode(&once, data, len);

    assert(err == phpser_check(data, len));
    if (err == 0) {
        assert(transcode(&twice, once.data, once.len) == 0);
        assert(fuzz_same(&once, &twice));
        for (size_t cut = 0; cut < len && cut < 64; cut++)
            assert(phpser_check(data, cut) < 0);
    }
    buf_fini(&once);
    buf_fini(&twice);
}

/* Merging the same again changes nothing any more. */
static void check_merge(
    const uint8_t *base, size_t base_len, const uint8_t *over, size_t over_len)
{
    struct buf once = {0}, twice = {0};

    if (phpser_merge(&once, base, base_len, over, over_len) == 0) {
        assert(phpser_check(once.data, once.len) == 0);
        assert(phpser_merge(&twice, once.data, once.len, over, over_len) == 0);
        assert(phpser_check(twice.data, twice.len) == 0);
    } else {
        assert(once.len == 0);
    }
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t cut;

    if (len < 2)
        return 0;
    cut = (size_t)(data[0] << 8 | data[1]);
    data += 2;
    len -= 2;
    cut = cut < len ? cut : len;
    check_value(data, cut);
    check_merge(data, cut, data + cut, len - cut);
    check_merge(data, cut, data, cut);
    return 0;
}
