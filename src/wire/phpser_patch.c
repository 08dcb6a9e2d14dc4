/* Changing some keys of a serialized array: what stays is copied as it is. */
#include <errno.h>

#include "util/alloc.h"
#include "util/hash.h"
#include "wire/phpser_impl.h"

#define HEAD_ROOM 32 /* bytes, for "a:123:{" */
#define FEW       8  /* so many changes are compared one by one */

struct change {
    UT_hash_handle hh;
    const uint8_t *value; /* borrowed; NULL: the key goes */
    size_t value_len;
    bool done;      /* the base had it */
    bool text_zero; /* the key was written so */
    size_t key_len; /* bytes */
    uint8_t key[];  /* as phpser_put_key() writes it */
};

struct patching {
    struct change *changes;       /* owned; in their order */
    struct buf key;               /* scratch for the key at hand */
    bool clear;                   /* what is not in changes goes */
    size_t count;                 /* elements of the result */
    size_t start;                 /* of the result */
    struct phpser_copies *copies; /* NULL: base has no references */
};

/* Read one whole value; 0 or as phpser_next(). */
static int read_value(struct phpser_reader *r)
{
    size_t depth = r->depth;
    struct phpser_token t;
    int got;

    do
        got = phpser_next(r, &t);
    while (got > 0 && r->depth > depth);
    return got > 0 ? 0 : got;
}

static void make_key(struct buf *out, const struct phpser_token *t)
{
    buf_clear(out);
    if (t->type == PHPSER_INT)
        phpser_put_int(out, t->integer);
    else
        phpser_put_key(out, t->string.data, t->string.len);
}

/* The change of the key in p->key, or NULL. */
static struct change *find(const struct patching *p)
{
    const struct buf *key = &p->key;
    struct change *c = p->changes;

    if (HASH_COUNT(p->changes) <= FEW) {
        while (c && (c->key_len != key->len ||
                        memcmp(c->key, key->data, key->len) != 0))
            c = c->hh.next;
        return c;
    }
    HASH_FIND(hh, p->changes, key->data, key->len, c);
    return c;
}

static struct change *find_or_add(
    struct patching *p, const struct phpser_token *key)
{
    struct change *c;

    make_key(&p->key, key);
    c = find(p);
    if (c)
        return c;
    c = xcalloc(1, sizeof(*c) + p->key.len);
    c->key_len = p->key.len;
    memcpy(c->key, p->key.data, c->key_len);
    HASH_ADD_KEYPTR(hh, p->changes, c->key, c->key_len, c);
    return c;
}

/* Open an array. 0, -EINVAL when it is none, or as phpser_next(). */
static int open_array(struct phpser_reader *r, const void *data, size_t len)
{
    struct phpser_token t;
    int got;

    phpser_read(r, data, len);
    got = phpser_next(r, &t);
    if (got > 0 && t.type != PHPSER_ARRAY)
        return -EINVAL;
    return got < 0 ? got : 0;
}

/* Nothing may follow an array that was read to its end. */
static int close_array(struct phpser_reader *r, int got)
{
    struct phpser_token t;

    if (got >= 0)
        got = phpser_next(r, &t);
    return got == 0 && r->references > 0 ? -ENOTSUP : got;
}

/* The next key of an open array: > 0, 0 at its end, or as phpser_next(). */
static int next_key(struct phpser_reader *r, struct phpser_token *key)
{
    int got = phpser_next(r, key);

    return got > 0 && key->type == PHPSER_END ? 0 : got;
}

static int read_over(struct patching *p, const void *data, size_t len)
{
    struct phpser_reader r;
    struct phpser_token key;
    int got = open_array(&r, data, len);

    if (got < 0)
        return got;
    while ((got = next_key(&r, &key)) > 0) {
        bool text_zero = phpser_is_text_zero(&key);
        struct change *c = find_or_add(p, &key);
        const uint8_t *value = r.at;

        got = read_value(&r);
        if (got < 0)
            break;
        c->text_zero = text_zero;
        c->value = value;
        c->value_len = (size_t)(r.at - value);
    }
    return close_array(&r, got);
}

/* What is named in over, too, stays. */
static int read_gone(struct patching *p, const void *data, size_t len)
{
    struct phpser_reader r;
    struct phpser_token t;
    int got;

    phpser_read(&r, data, len);
    got = phpser_next(&r, &t);
    if (got > 0 && t.type == PHPSER_BOOL) {
        p->clear = t.boolean;
        return close_array(&r, got);
    }
    if (got <= 0 || t.type != PHPSER_ARRAY)
        return got < 0 ? got : -EINVAL;
    while ((got = next_key(&r, &t)) > 0) {
        got = phpser_next(&r, &t);
        if (got <= 0)
            break;
        if (t.type != PHPSER_INT && t.type != PHPSER_STRING)
            return -EINVAL;
        find_or_add(p, &t);
    }
    return close_array(&r, got);
}

static void put_new(struct patching *p, struct buf *out, struct change *c)
{
    c->done = true;
    if (c->text_zero)
        buf_append_str(out, PHPSER_TEXT_ZERO);
    else
        buf_append(out, c->key, c->key_len);
    buf_append(out, c->value, c->value_len);
    p->count++;
}

/* Copy what lies between two places of base. */
static void copy(struct patching *p, struct buf *out, const uint8_t *from,
    const uint8_t *end)
{
    size_t len = (size_t)(end - from);

    if (p->copies && len > 0)
        phpser_copied(p->copies, 0, from, len, out->len - p->start);
    buf_append(out, from, len);
}

/* Copy the elements of base that stay, with new values where there are any. */
static int copy_base(
    struct patching *p, struct buf *out, const void *base, size_t base_len)
{
    struct phpser_reader r;
    struct phpser_token key;
    const uint8_t *from; /* what stays and is not copied yet */
    int got = open_array(&r, base, base_len);

    if (got < 0)
        return got;
    from = r.at;
    for (;;) {
        const uint8_t *at = r.at;
        struct change *c;
        int err;

        got = next_key(&r, &key);
        if (got > 0) {
            make_key(&p->key, &key);
            err = read_value(&r);
            got = err < 0 ? err : 1;
        }
        if (got <= 0) {
            copy(p, out, from, at);
            got = close_array(&r, got);
            return got == -ENOTSUP && p->copies ? 0 : got;
        }
        c = find(p);
        if (!c) {
            p->count++;
            continue;
        }
        copy(p, out, from, at);
        from = r.at;
        if (c->value && !c->done)
            put_new(p, out, c);
    }
}

/* The elements, without the array's head and end. */
static int put_elements(
    struct patching *p, struct buf *out, const void *base, size_t base_len)
{
    int err = 0;

    if (base_len > 0 && !p->clear)
        err = copy_base(p, out, base, base_len);

    if (err < 0)
        return err;
    for (struct change *c = p->changes; c; c = c->hh.next)
        if (c->value && !c->done)
            put_new(p, out, c);
    return p->count > PHPSER_COUNT_MAX ? -E2BIG : 0;
}

static void fini(struct patching *p)
{
    struct change *c = p->changes;

    HASH_CLEAR(hh, p->changes); /* the table only */
    while (c) {
        struct change *after = c->hh.next;

        free(c);
        c = after;
    }
    buf_fini(&p->key);
}

/* The elements follow a gap: put the array's head in front. */
static void put_head(struct patching *p, struct buf *out)
{
    struct buf head = {0};
    uint8_t *gap = out->data + p->start;
    size_t len = out->len - p->start - HEAD_ROOM;

    phpser_put_array(&head, p->count);
    memcpy(gap, head.data, head.len);
    memmove(gap + head.len, gap + HEAD_ROOM, len);
    out->len = p->start + head.len + len;
    if (p->copies)
        phpser_moved_up(p->copies, HEAD_ROOM - head.len);
    buf_fini(&head);
}

/* The array, or nothing. */
static int put_array(
    struct patching *p, struct buf *out, const void *base, size_t base_len)
{
    int err;

    buf_extend(out, HEAD_ROOM);
    err = put_elements(p, out, base, base_len);
    if (err < 0) {
        out->len = p->start;
        return err;
    }
    put_head(p, out);
    phpser_put_end(out);
    return 0;
}

/* The same once more, of a base that has references. */
static int put_renumbered(
    struct patching *p, struct buf *out, const void *base, size_t base_len)
{
    struct phpser_copies copies = {.from = {{base, base_len}}};
    int err;

    p->count = 0;
    p->copies = &copies;
    for (struct change *c = p->changes; c; c = c->hh.next)
        c->done = false;
    err = put_array(p, out, base, base_len);
    if (err == 0)
        err = phpser_renumber(out, p->start, &copies);
    if (err < 0)
        out->len = p->start;
    p->copies = NULL;
    buf_fini(&copies.list);
    return err;
}

int phpser_apply(struct buf *out, const void *base, size_t base_len,
    const struct phpser_patch *patch)
{
    struct patching p = {.start = out->len};
    int err = read_over(&p, patch->over, patch->over_len);

    if (err == 0 && patch->gone_len > 0)
        err = read_gone(&p, patch->gone, patch->gone_len);
    if (err == 0) {
        err = put_array(&p, out, base, base_len);
        if (err == -ENOTSUP)
            err = put_renumbered(&p, out, base, base_len);
    }
    fini(&p);
    return err;
}

const uint8_t *phpser_find(const void *data, size_t len, const void *key,
    size_t key_len, size_t *value_len)
{
    struct phpser_reader r;
    struct phpser_token t;
    struct buf wanted = {0}, scratch = {0};
    const uint8_t *found = NULL;

    phpser_read(&r, key, key_len);
    if (phpser_next(&r, &t) <= 0 || open_array(&r, data, len) < 0)
        return NULL;
    make_key(&wanted, &t);
    while (next_key(&r, &t) > 0) {
        const uint8_t *value = r.at;

        make_key(&scratch, &t);
        if (read_value(&r) < 0)
            break;
        if (scratch.len == wanted.len &&
            memcmp(scratch.data, wanted.data, wanted.len) == 0) {
            found = value; /* of a key that comes twice the last value counts */
            *value_len = (size_t)(r.at - value);
        }
    }
    buf_fini(&wanted);
    buf_fini(&scratch);
    return found;
}
