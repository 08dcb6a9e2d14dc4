/* Two serialized PHP arrays into one, as array_replace_recursive() does:
 * updateSession. What stays is copied as the bytes it came as; objects and
 * references are never built. The result is allocated, and nothing is changed
 * when the input is not valid. */

#include "wire/phpser.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "util/hash.h"
#include "wire/phpser_impl.h"

/* What becomes of elements of base that over does not have. */
enum keep { KEEP_ALL, KEEP_OPAQUE };

/* A serialized value inside one of the two inputs. */
struct slice {
    const uint8_t *data; /* borrowed */
    size_t len;
};

struct entry {
    struct slice value;
    UT_hash_handle hh;
    struct slice over; /* replaces value; data NULL when nothing does */
    bool text_zero;    /* the key is written so */
    bool stays;
    uint8_t key[]; /* serialized as phpser_put_key() does */
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

/* Whether a value that lies in so many arrays is. */
static bool is_opaque(struct slice s, int depth)
{
    return strchr("OCERr", s.data[0]) ||
           (is_array(s) && depth >= PHPSER_DEPTH_MAX);
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
    e->text_zero = phpser_is_text_zero(key);
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

static void read_over(struct entries *list, struct slice array, enum keep keep)
{
    struct phpser_reader r;
    struct phpser_token t;

    phpser_read(&r, array.data, array.len);
    next(&r, &t);
    while (next(&r, &t) && t.type != PHPSER_END) {
        struct entry *e = find_or_add(list, &t);

        if (keep == KEEP_OPAQUE)
            e->text_zero = phpser_is_text_zero(&t);
        e->over = read_value(&r);
    }
}

static bool has_number(struct entries *list, const struct entry *e, size_t n)
{
    buf_clear(&list->key);
    phpser_put_int(&list->key, (int64_t)n);
    return !e->text_zero && list->key.len == e->hh.keylen &&
           memcmp(list->key.data, e->key, list->key.len) == 0;
}

/* The length of a list; 0: it is none, or empty. */
static size_t count_list(struct entries *list)
{
    size_t n = 0;

    for (struct entry *e = list->head; e; e = e->hh.next)
        if (!has_number(list, e, n++))
            return 0;
    return n;
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
    list->head = NULL;
}

struct merging {
    struct buf *out;
    size_t start; /* of the result in out */
    enum keep keep;
    struct phpser_copies *copies; /* NULL: there are no references */
    bool unclear; /* a reference may have to be merged with what it means */
};

enum { BASE, OVER };

static void copy(struct merging *m, int text, struct slice s)
{
    if (m->copies)
        phpser_copied(m->copies, text, s.data, s.len, m->out->len - m->start);
    buf_append(m->out, s.data, s.len);
}

/* Read both arrays, which lie in depth - 1 others, and choose what stays. The
 * number of that. The order is that of base; but over is a list when all of it
 * is one, and what is kept must not make it something else. */
static size_t read_both(const struct merging *m, struct entries *list,
    struct slice base, struct slice over, int depth)
{
    size_t count = 0, listed = 0;

    if (m->keep == KEEP_OPAQUE) {
        read_over(list, over, m->keep);
        listed = count_list(list);
        if (listed == 0)
            free_entries(list);
    }
    read_base(list, base);
    if (listed == 0)
        read_over(list, over, m->keep);
    for (struct entry *e = list->head; e; e = e->hh.next) {
        e->stays = e->over.data || m->keep == KEEP_ALL ||
                   (is_opaque(e->value, depth) &&
                       (listed == 0 || has_number(list, e, count)));
        count += e->stays;
    }
    return count;
}

static void put_key(struct buf *out, const struct entry *e)
{
    if (e->text_zero)
        buf_append_str(out, PHPSER_TEXT_ZERO);
    else
        buf_append(out, e->key, e->hh.keylen);
}

/* Whether values that are not both arrays may be, by what a reference means. */
static bool may_both_be_arrays(const struct entry *e)
{
    return e->value.data && strchr("aR", e->value.data[0]) &&
           strchr("aR", e->over.data[0]) &&
           !(is_array(e->value) && is_array(e->over));
}

/* Recursion ends at PHPSER_DEPTH_MAX: what is deeper is a value like others. */
static void merge_arrays(
    struct merging *m, struct slice base, struct slice over, int depth)
{
    struct entries list = {0};

    phpser_put_array(m->out, read_both(m, &list, base, over, depth));
    for (struct entry *e = list.head; e; e = e->hh.next) {
        if (!e->stays)
            continue;
        put_key(m->out, e);
        if (!e->over.data) {
            copy(m, BASE, e->value);
        } else if (e->value.data && is_array(e->value) && is_array(e->over) &&
                   depth < PHPSER_DEPTH_MAX) {
            merge_arrays(m, e->value, e->over, depth + 1);
        } else {
            m->unclear = m->unclear || may_both_be_arrays(e);
            copy(m, OVER, e->over);
        }
    }
    phpser_put_end(m->out);
    free_entries(&list);
}

/* Check one input; add its elements to total, its references to references. */
static int check(size_t *total, size_t *references, struct slice s)
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
    *references += r.references;
    return 0;
}

static int merge_renumbered(
    struct merging *m, struct slice base, struct slice over)
{
    struct phpser_copies copies = {
        .from = {{base.data, base.len}, {over.data, over.len}}};
    int err;

    m->copies = &copies;
    merge_arrays(m, base, over, 1);
    err = m->unclear ? -ENOTSUP : phpser_renumber(m->out, m->start, &copies);
    if (err < 0)
        m->out->len = m->start;
    buf_fini(&copies.list);
    return err;
}

static int merge(
    struct buf *out, struct slice base, struct slice over, enum keep keep)
{
    struct merging m = {.out = out, .start = out->len, .keep = keep};
    size_t total = 0, references = 0;
    int err = check(&total, &references, base);

    if (err == 0)
        err = check(&total, &references, over);
    if (err < 0)
        return err;
    if (total > PHPSER_COUNT_MAX)
        return -E2BIG; /* the result could not be read again */
    if (references > 0)
        return keep == KEEP_ALL ? merge_renumbered(&m, base, over) : -ENOTSUP;
    merge_arrays(&m, base, over, 1);
    return 0;
}

int phpser_merge(struct buf *out, const void *base, size_t base_len,
    const void *over, size_t over_len)
{
    static const uint8_t nothing[] = "a:0:{}";
    struct slice b = {.data = base, .len = base_len};

    if (base_len == 0)
        b = (struct slice){.data = nothing, .len = sizeof(nothing) - 1};
    return merge(
        out, b, (struct slice){.data = over, .len = over_len}, KEEP_ALL);
}

int phpser_keep_opaque(struct buf *out, const void *was, size_t was_len,
    const void *now, size_t now_len)
{
    return merge(out, (struct slice){.data = was, .len = was_len},
        (struct slice){.data = now, .len = now_len}, KEEP_OPAQUE);
}
