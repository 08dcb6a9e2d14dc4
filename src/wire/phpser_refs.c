/* References in a text that was put together from parts of others.
 *
 * R:n; means the n-th value of the whole text, r:n; the object there. The whole
 * is the first one; keys do not count, nor does R, but r does. Thus the numbers
 * change with every value that comes or goes in front of what they mean. What
 * the bytes of C:…:{} add to the count only their class knows.
 *
 * Format: PHP ext/standard/var_unserializer.re. */
#include <errno.h>
#include <stdlib.h>

#include "wire/phpser_impl.h"

struct phpser_copy {
    int text;
    size_t from, to; /* offsets */
    size_t len;      /* bytes */
};

/* The offsets of a text's values, by their number less one. */
struct values {
    struct buf at; /* owned; size_t each */
};

struct renumbering {
    struct values from[2];
    struct values to; /* as far as it was read */
    struct buf moved; /* owned; struct phpser_copy by text and from */
    const struct phpser_copy *copies;
    size_t count;
    size_t here; /* the copy that was read last */
};

void phpser_copied(struct phpser_copies *c, int text, const uint8_t *part,
    size_t len, size_t to)
{
    struct phpser_copy copy = {.text = text,
        .from = (size_t)(part - c->from[text].data),
        .to = to,
        .len = len};

    buf_append(&c->list, &copy, sizeof(copy));
}

void phpser_moved_up(struct phpser_copies *c, size_t by)
{
    struct phpser_copy *list = (void *)c->list.data;

    for (size_t i = 0; i < c->list.len / sizeof(*list); i++)
        list[i].to -= by;
}

static size_t count_of(const struct values *v)
{
    return v->at.len / sizeof(size_t);
}

static const size_t *offsets(const struct values *v)
{
    return (const size_t *)(const void *)v->at.data;
}

/* Note a value that begins at offset. -ENOTSUP: nobody can know the numbers of
 * those behind it. */
static int note(struct values *v, size_t offset, uint8_t tag)
{
    if (tag == 'C')
        return -ENOTSUP;
    if (tag != 'R')
        buf_append(&v->at, &offset, sizeof(offset));
    return 0;
}

static int read_values(struct values *v, const struct phpser_text *text)
{
    struct phpser_levels levels = {.begun = false};
    struct phpser_reader r;
    const uint8_t *value;
    int got;

    if (text->len == 0)
        return 0;
    phpser_read(&r, text->data, text->len);
    while ((got = phpser_walk(&r, &levels, &value)) > 0) {
        int err = note(v, (size_t)(value - text->data), *value);

        if (err < 0)
            return err;
    }
    return got;
}

static int by_from(const void *a, const void *b)
{
    const struct phpser_copy *x = a, *y = b;

    if (x->text != y->text)
        return x->text - y->text;
    return (x->from > y->from) - (x->from < y->from);
}

/* The number of the value that begins at offset, or 0. */
static size_t number_at(const struct values *v, size_t offset)
{
    size_t low = 0, high = count_of(v);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (offsets(v)[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count_of(v) && offsets(v)[low] == offset ? low + 1 : 0;
}

/* Where what begins at offset from of a text went. False: nowhere. */
static bool find_moved(
    const struct renumbering *n, int text, size_t from, size_t *to)
{
    const struct phpser_copy *list = (const void *)n->moved.data;
    size_t low = 0, high = n->count;

    while (low < high) { /* the first that begins behind it */
        size_t middle = low + (high - low) / 2;
        const struct phpser_copy *c = &list[middle];

        if (c->text < text || (c->text == text && c->from <= from))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || list[low - 1].text != text ||
        from - list[low - 1].from >= list[low - 1].len)
        return false;
    *to = list[low - 1].to + (from - list[low - 1].from);
    return true;
}

/* The number that a reference at offset gets, or 0. Only what is in front of it
 * was read so far, and can be meant. */
static size_t new_number(struct renumbering *n, size_t offset, uint64_t old)
{
    const struct phpser_copy *c;
    size_t to;

    while (n->here < n->count &&
           offset >= n->copies[n->here].to + n->copies[n->here].len)
        n->here++;
    if (n->here == n->count)
        return 0;
    c = &n->copies[n->here];
    if (offset < c->to || old == 0 || old > count_of(&n->from[c->text]) ||
        !find_moved(n, c->text, offsets(&n->from[c->text])[old - 1], &to))
        return 0;
    return number_at(&n->to, to);
}

/* Append text to out with new numbers. */
static int put_renumbered(
    struct renumbering *n, struct buf *out, const uint8_t *text, size_t len)
{
    struct phpser_levels levels = {.begun = false};
    struct phpser_reader r;
    const uint8_t *value, *from = text;
    int got;

    phpser_read(&r, text, len);
    while ((got = phpser_walk(&r, &levels, &value)) > 0) {
        size_t offset = (size_t)(value - text), number;
        int err;

        if (*value == 'R' || *value == 'r') {
            number = new_number(n, offset, strtoull((char *)value + 2, 0, 10));
            if (number == 0)
                return -ENOTSUP;
            buf_append(out, from, (size_t)(value + 2 - from));
            buf_printf(out, "%zu;", number);
            from = r.at;
        }
        err = note(&n->to, offset, *value);
        if (err < 0)
            return err;
    }
    buf_append(out, from, (size_t)(text + len - from));
    return got;
}

int phpser_renumber(
    struct buf *out, size_t start, const struct phpser_copies *c)
{
    struct renumbering n = {.copies = (const void *)c->list.data,
        .count = c->list.len / sizeof(struct phpser_copy)};
    struct buf renumbered = {0};
    int err = 0;

    for (int i = 0; i < 2 && err == 0; i++)
        err = read_values(&n.from[i], &c->from[i]);
    if (err == 0) {
        buf_append(&n.moved, c->list.data, c->list.len);
        if (n.count > 0)
            qsort(n.moved.data, n.count, sizeof(struct phpser_copy), by_from);
        err = put_renumbered(
            &n, &renumbered, out->data + start, out->len - start);
    }
    if (err == 0) {
        out->len = start;
        buf_append(out, renumbered.data, renumbered.len);
    }
    for (int i = 0; i < 2; i++)
        buf_fini(&n.from[i].at);
    buf_fini(&n.to.at);
    buf_fini(&n.moved);
    buf_fini(&renumbered);
    return err;
}
