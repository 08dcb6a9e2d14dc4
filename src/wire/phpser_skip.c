/* Passing over a value that is not built: objects, enums, references, and
 * arrays that lie too deep. Its form is checked as PHP's unserialize() does, so
 * that what a gateway hands on can be read again; its meaning is not. */
#include <errno.h>

#include "wire/phpser_impl.h"

/* 5:{ behind which the elements follow. */
static int open_level(struct phpser_reader *r, struct phpser_levels *levels)
{
    uint64_t count;

    if (phpser_digits(r, &count, INT64_MAX) < 0 || phpser_expect(r, ":{") < 0)
        return -EPROTO;
    if (levels->depth == PHPSER_SKIP_MAX)
        return -E2BIG;
    if (count > phpser_bytes_left(r) / PHPSER_ELEMENT_MIN)
        return -EPROTO;
    levels->left[levels->depth++] = (uint32_t)(count * 2);
    return 0;
}

/* 4:"Name" */
static int skip_name(struct phpser_reader *r)
{
    uint64_t len;

    if (phpser_digits(r, &len, phpser_bytes_left(r)) < 0 ||
        phpser_expect(r, ":\"") < 0 || len > phpser_bytes_left(r))
        return -EPROTO;
    r->at += len;
    return phpser_expect(r, "\"");
}

/* C:4:"Name":5:{.....}: only its class knows what the bytes mean. */
static int skip_custom(struct phpser_reader *r)
{
    uint64_t len;

    if (skip_name(r) < 0 || phpser_expect(r, ":") < 0 ||
        phpser_digits(r, &len, phpser_bytes_left(r)) < 0 ||
        phpser_expect(r, ":{") < 0 || len > phpser_bytes_left(r))
        return -EPROTO;
    if (memmem(r->at, len, "r:", 2) || memmem(r->at, len, "R:", 2))
        r->references++; /* by all that can be known */
    r->at += len;
    return phpser_expect(r, "}");
}

/* R:2; */
static int skip_reference(struct phpser_reader *r)
{
    uint64_t number;

    r->references++;
    if (phpser_digits(r, &number, INT64_MAX) < 0)
        return -EPROTO;
    return phpser_expect(r, ";");
}

/* One value, of arrays and objects only the head. */
static int skip_head(struct phpser_reader *r, struct phpser_levels *levels)
{
    struct phpser_token t;
    uint8_t tag = phpser_bytes_left(r) >= 2 ? r->at[0] : 0;

    switch (tag) {
    case 'a':
    case 'O':
    case 'C':
    case 'E':
    case 'R':
    case 'r':
        if (r->at[1] != ':')
            return -EPROTO;
        r->at += 2;
        break;
    default:
        return phpser_token(r, &t); /* a scalar, or nothing valid */
    }
    if (tag == 'a')
        return open_level(r, levels);
    if (tag == 'C')
        return skip_custom(r);
    if (tag == 'R' || tag == 'r')
        return skip_reference(r);
    if (skip_name(r) < 0)
        return -EPROTO;
    if (tag == 'E')
        return phpser_expect(r, ";");
    return phpser_expect(r, ":") < 0 ? -EPROTO : open_level(r, levels);
}

static int skip_key(struct phpser_reader *r)
{
    struct phpser_token t;

    if (r->at == r->end || (*r->at != 'i' && *r->at != 's'))
        return -EPROTO;
    return phpser_token(r, &t);
}

int phpser_walk(struct phpser_reader *r, struct phpser_levels *levels,
    const uint8_t **value)
{
    int err = 0;

    if (!levels->begun) {
        levels->begun = true;
        levels->depth = 0;
        *value = r->at;
        err = skip_head(r, levels);
        return err < 0 ? err : 1;
    }
    while (err == 0 && levels->depth > 0) {
        uint32_t *left = &levels->left[levels->depth - 1];

        if (*left == 0) {
            levels->depth--;
            err = phpser_expect(r, "}");
        } else if ((*left)-- % 2 == 0) {
            err = skip_key(r);
        } else {
            *value = r->at;
            err = skip_head(r, levels);
            return err < 0 ? err : 1;
        }
    }
    return err;
}

int phpser_skip(struct phpser_reader *r)
{
    struct phpser_levels levels;
    const uint8_t *value;
    int got;

    levels.begun = false;
    do
        got = phpser_walk(r, &levels, &value);
    while (got > 0);
    return got;
}
