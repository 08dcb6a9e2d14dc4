/* Serialized values: writing what was read is stable, and merging two accepted
 * arrays, or changing keys of one, gives an accepted one. The first two bytes
 * cut the input in two. */
#include "fuzz.h"

#include <jansson.h>

#include "../wire/transcode.h"
#include "util/utf8.h"
#include "wire/phpjson.h"

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

/* A value that JSON has is JSON, but for bytes that are not UTF-8. */
static void check_json(const uint8_t *data, size_t len)
{
    struct buf json = {0}, text = {0};

    if (phpjson_put_value(&json, data, len) == 0) {
        json_t *value;

        assert(phpser_check(data, len) == 0);
        utf8_repair(&text, json.data, json.len);
        value = json_loadb((const char *)text.data, text.len,
            JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert(value || memmem(text.data, text.len, "\\u0000", 6));
        json_decref(value);
    } else {
        assert(json.len == 0);
    }
    buf_fini(&json);
    buf_fini(&text);
}

static bool has_reference(const uint8_t *data, size_t len)
{
    return memmem(data, len, "R:", 2) || memmem(data, len, "r:", 2);
}

/* Merging the same again changes nothing any more. */
static void check_merge(
    const uint8_t *base, size_t base_len, const uint8_t *over, size_t over_len)
{
    struct buf once = {0}, twice = {0};

    if (phpser_merge(&once, base, base_len, over, over_len) == 0) {
        assert(phpser_check(once.data, once.len) == 0);
        if (phpser_merge(&twice, once.data, once.len, over, over_len) == 0)
            assert(phpser_check(twice.data, twice.len) == 0);
        else
            assert(has_reference(over, over_len));
    } else {
        assert(once.len == 0);
    }
    buf_fini(&once);
    buf_fini(&twice);
}

/* So is changing the same keys; what one half lacks is not lost by keeping. */
static void check_apply(
    const uint8_t *base, size_t base_len, const uint8_t *over, size_t over_len)
{
    struct phpser_patch patch = {over, over_len, NULL, 0};
    struct phpser_patch only = {over, over_len, "b:1;", 4};
    struct buf once = {0}, twice = {0}, kept = {0};

    if (phpser_apply(&once, base, base_len, &patch) == 0) {
        assert(phpser_check(once.data, once.len) == 0);
        assert(phpser_apply(&twice, once.data, once.len, &patch) == 0);
        assert(fuzz_same(&once, &twice));
        buf_clear(&twice);
        assert(phpser_apply(&twice, once.data, once.len, &only) == 0);
        assert(phpser_check(twice.data, twice.len) == 0);
        if (phpser_keep_opaque(
                &kept, once.data, once.len, twice.data, twice.len) == 0)
            assert(phpser_check(kept.data, kept.len) == 0);
        else
            assert(has_reference(once.data, once.len));
    } else {
        assert(once.len == 0);
    }
    buf_fini(&once);
    buf_fini(&twice);
    buf_fini(&kept);
}

/* Give the first key another value. */
static int set_first(struct buf *out, const struct buf *base,
    const struct buf *key, const void *value, size_t len)
{
    struct buf over = {0};
    struct phpser_patch patch;
    int err;

    phpser_put_array(&over, 1);
    buf_append(&over, key->data, key->len);
    buf_append(&over, value, len);
    phpser_put_end(&over);
    patch = (struct phpser_patch){over.data, over.len, NULL, 0};
    err = phpser_apply(out, base->data, base->len, &patch);
    buf_fini(&over);
    return err;
}

/* References mean the same when what was in front of them is back. */
static void check_renumber(const uint8_t *data, size_t len)
{
    static const char more[] = "a:2:{i:0;N;i:1;a:1:{i:0;N;}}";
    struct phpser_reader r;
    struct phpser_token t;
    struct buf base = {0}, key = {0}, was = {0}, grown = {0}, back = {0};
    const uint8_t *value;

    phpser_read(&r, data, len);
    if (phpser_next(&r, &t) <= 0 || t.type != PHPSER_ARRAY || t.count == 0 ||
        phpser_next(&r, &t) <= 0)
        return;
    if (t.type == PHPSER_INT)
        phpser_put_int(&key, t.integer);
    else
        phpser_put_key(&key, t.string.data, t.string.len);
    value = r.at;
    do
        if (phpser_next(&r, &t) <= 0)
            goto out;
    while (r.depth > 1);
    buf_append(&base, data, len);
    if (r.references == 0 &&
        set_first(&was, &base, &key, value, (size_t)(r.at - value)) == 0) {
        assert(set_first(&grown, &was, &key, more, sizeof(more) - 1) == 0);
        assert(phpser_check(grown.data, grown.len) == 0);
        assert(
            set_first(&back, &grown, &key, value, (size_t)(r.at - value)) == 0);
        assert(fuzz_same(&was, &back));
    }
out:
    buf_fini(&base);
    buf_fini(&key);
    buf_fini(&was);
    buf_fini(&grown);
    buf_fini(&back);
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
    check_json(data, cut);
    check_renumber(data, cut);
    check_merge(data, cut, data + cut, len - cut);
    check_merge(data, cut, data, cut);
    check_apply(data, cut, data + cut, len - cut);
    check_apply(data, cut, data, cut);
    return 0;
}
