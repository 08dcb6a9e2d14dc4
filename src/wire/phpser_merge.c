#include "wire/phpser.h"

#include <assert.h>
#include <errno.h>

#include "util/hash.h"

/* A serialized value inside one of the two inputs. */
struct slice {
    const uint8_t *data; /* borrowed */
    size_t len;
};

struct entry {
    struct slice value;
    UT_hash_handle hh;
    struct slice over; /* replaces value; data NULL when nothing does */
    uint8_t key[];     /* serialized as phpser_put_key() does */
};

/* The elements of one array in their order. */
struct entries {
    struct entry *head; /* owned; a hash that keeps the order of insertion */
    struct buf key;     /* scratch for the key at hand */
};

/* data is one valid value, for both inputs were checked first. */
static bool is_array(struct slice s)
{
    return s.data[0] == 'a';
}

static bool next(struct phpser_reader *r, struct phpser_token *t)
{
    int got = phpser_next(r, t);

    assert(got >= 0);
    return got > 0;
}

/* Read one whole value, however deep. */
static struct slice read_value(struct phpser_reader *r)
{
    const uint8_t *from = r->at;
    size_t depth = r->depth;
    struct phpser_token t;

    do
        next(r, &t);
    while (r->depth > depth);
    return (struct slice){.data = from, .len = (size_t)(r->at - from)};
}

static struct entry *find_or_add(
    struct entries *list, const struct phpser_token *key)
{
    struct entry *e;
    size_t len;

    buf_clear(&list->key);
    if (key->type == PHPSER_INT)
        phpser_put_int(&list->key, key->integer);
    else
        phpser_put_key(&list->key, key->string.data, key->string.len);
    len = list->key.len;
    HASH_FIND(hh, list->head, list->key.data, len, e);
    if (e)
        return e;
    e = xcalloc(1, sizeof(*e) + len);
    memcpy(e->key, list->key.data, len);
    HASH_ADD_KEYPTR(hh, list->head, e->key, len, e);
    return e;
}

/* Of a key that comes twice the last value counts, as in PHP. */
static void read_base(struct entries *list, struct slice array)
{
    struct phpser_reader r;
    struct phpser_token t;

    phpser_read(&r, array.data, array.len);
    next(&r, &t);
    while (next(&r, &t) && t.type != PHPSER_END)
        find_or_add(list, &t)->value = read_value(&r);
}

static void read_over(struct entries *list, struct slice array)
{
    struct phpser_reader r;
    struct phpser_token t;

    phpser_read(&r, array.data, array.len);
    next(&r, &t);
    while (next(&r, &t) && t.type != PHPSER_END)
        find_or_add(list, &t)->over = read_value(&r);
}

static void free_entries(struct entries *list)
{
    struct entry *e = list->head;

    HASH_CLEAR(hh, list->head); /* the table only */
    while (e) {
        struct entry *after = e->hh.next;

        free(e);
        e = after;
    }
    buf_fini(&list->key);
}

/* Recursion ends where the inputs do: PHPSER_DEPTH_MAX levels down. */
static void merge_arrays(struct buf *out, struct slice base, struct slice over)
{
    struct entries list = {0};

    read_base(&list, base);
    read_over(&list, over);
    phpser_put_array(out, HASH_COUNT(list.head));
    for (struct entry *e = list.head; e; e = e->hh.next) {
        buf_append(out, e->key, e->hh.keylen);
        if (!e->over.data)
            buf_append(out, e->value.data, e->value.len);
        else if (e->value.data && is_array(e->value) && is_array(e->over))
            merge_arrays(out, e->value, e->over);
        else
            buf_append(out, e->over.data, e->over.len);
    }
    phpser_put_end(out);
    free_entries(&list);
}

/* Check one input and add its elements to total. */
static int check(size_t *total, struct slice s)
{
    struct phpser_reader r;
    struct phpser_token t;
    int err;

    phpser_read(&r, s.data, s.len);
    do
        err = phpser_next(&r, &t);
    while (err > 0);
    if (err < 0)
        return err;
    if (!is_array(s))
        return -EINVAL;
    *total += r.total;
    return 0;
}

int phpser_merge(struct buf *out, const void *base, size_t base_len,
    const void *over, size_t over_len)
{
    static const uint8_t nothing[] = "a:0:{}";
    struct slice b = {.data = base, .len = base_len};
    struct slice o = {.data = over, .len = over_len};
    size_t total = 0;
    int err;

    if (base_len == 0)
        b = (struct slice){.data = nothing, .len = sizeof(nothing) - 1};
    err = check(&total, b);
    if (err == 0)
        err = check(&total, o);
    if (err < 0)
        return err;
    if (total > PHPSER_COUNT_MAX)
        return -E2BIG; /* the result could not be read again */
    merge_arrays(out, b, o);
    return 0;
}
