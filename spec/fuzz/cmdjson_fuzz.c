/* The JSON of commands: the first byte says which; what was read is written so
 * that it reads back. Once is not enough to compare: an id that came twice is
 * written as the same key twice, and then read as one. */
#include "fuzz.h"

#include "wire/cmdjson.h"

/* Each: parse, put, fini; false when data was refused. */

static bool rewrite_auth(struct buf *out, const uint8_t *data, size_t len)
{
    struct cmdjson_tokens tokens;
    struct cmdjson_auth a;

    if (cmdjson_parse_auth(&a, data, len) < 0)
        return false;
    tokens = (struct cmdjson_tokens){a.process, a.pair, a.machine};
    cmdjson_put_auth(out, a.worker_key, a.secret_key,
        a.gwrun ? (const char *const *)a.features : NULL, &tokens);
    for (size_t i = 0; i < a.nfeatures; i++)
        assert(cmdjson_has_feature(&a, a.features[i]));
    cmdjson_fini_auth(&a);
    return true;
}

static bool rewrite_all_target(struct buf *out, const uint8_t *data, size_t len)
{
    struct cmdjson_target t;

    if (cmdjson_parse_target(&t, data, len) < 0)
        return false;
    cmdjson_put_all_target(
        out, t.has_connections ? &t.connections : NULL, &t.exclude);
    cmdjson_fini_target(&t);
    return true;
}

static bool rewrite_group_target(
    struct buf *out, const uint8_t *data, size_t len)
{
    struct cmdjson_target t;

    if (cmdjson_parse_target(&t, data, len) < 0)
        return false;
    cmdjson_put_group_target(out, &t.groups, &t.exclude);
    cmdjson_fini_target(&t);
    return true;
}

static bool rewrite_names(struct buf *out, const uint8_t *data, size_t len)
{
    struct cmdjson_names names;

    if (cmdjson_parse_names(&names, data, len) < 0)
        return false;
    cmdjson_put_names(out, &names);
    cmdjson_fini_names(&names);
    return true;
}

static bool rewrite_select(struct buf *out, const uint8_t *data, size_t len)
{
    struct cmdjson_select s;

    if (cmdjson_parse_select(&s, data, len) < 0)
        return false;
    cmdjson_put_select(out, &s);
    cmdjson_fini_select(&s);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool (*const rewrites[])(struct buf *, const uint8_t *, size_t) = {
        rewrite_auth, rewrite_all_target, rewrite_group_target, rewrite_names,
        rewrite_select};
    struct buf text[3] = {0};

    if (len == 0)
        return 0;
    if (rewrites[data[0] % 5](&text[0], data + 1, len - 1)) {
        for (int i = 0; i < 2; i++)
            assert(
                rewrites[data[0] % 5](&text[i + 1], text[i].data, text[i].len));
        assert(fuzz_same(&text[1], &text[2]));
    }
    for (int i = 0; i < 3; i++)
        buf_fini(&text[i]);
    return 0;
}
