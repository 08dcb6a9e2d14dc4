/* A body's bytes, one after the other; only what a chunk or a length says is
 * copied at once. The states of a chunked one:
 *
 *   SIZE --hex--> DIGITS --CR--> SIZE_LF --LF--> DATA (or TRAILER, after a 0)
 *   DIGITS --SP, HT--> BLANK --";"--> EXTENSION --CR--> SIZE_LF
 *   DATA --all of it--> DATA_CR --CR--> DATA_LF --LF--> SIZE
 *   TRAILER --name--> NAME --":"--> VALUE --CR--> TRAILER_LF --LF--> TRAILER
 *   TRAILER --CR--> LAST_LF --LF--> WHOLE
 *
 * What is not in there is -EPROTO. */
#include "wire/httpbody.h"

#include <errno.h>

#include "wire/httphead.h"

enum {
    LENGTH,
    SIZE,
    DIGITS,
    BLANK,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    NAME,
    VALUE,
    TRAILER_LF,
    LAST_LF,
    WHOLE,
};

int httpbody_begin(struct httpbody *b, const struct httprequest *r, size_t max)
{
    *b = (struct httpbody){.max = max, .left = r->length};
    if (r->chunked)
        b->state = SIZE;
    else
        b->state = r->length > 0 ? LENGTH : WHOLE;
    return r->length > max ? -EMSGSIZE : 0;
}

bool httpbody_is_whole(const struct httpbody *b)
{
    return b->state == WHOLE;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In extensions and trailers. */
static bool is_text(uint8_t c)
{
    return (c >= ' ' && c != 0x7f) || c == '\t';
}

static int go(struct httpbody *b, bool valid, uint8_t state)
{
    b->state = state;
    return valid ? 0 : -EPROTO;
}

static int take_digit(struct httpbody *b, uint8_t c)
{
    int value = hex_value(c);

    if (value >= 0 && b->count++ < HTTPBODY_DIGITS_MAX) {
        b->left = b->left << 4 | (uint64_t)value;
        return go(b, true, DIGITS);
    }
    if (value >= 0 || b->state == SIZE)
        return -EPROTO;
    b->count = 0;
    if (b->left > b->max - b->got)
        return -EMSGSIZE;
    if (c == ';')
        return go(b, true, EXTENSION);
    if (c == ' ' || c == '\t')
        return go(b, true, BLANK);
    return go(b, c == '\r', SIZE_LF);
}

/* Also the blanks in front of its semicolon. */
static int take_extension(struct httpbody *b, uint8_t c)
{
    if (c == '\r')
        return go(b, b->state == EXTENSION, SIZE_LF);
    if (++b->count > HTTPBODY_EXTENSION_MAX || !is_text(c))
        return -EPROTO;
    if (b->state == BLANK && c != ' ' && c != '\t')
        return go(b, c == ';', EXTENSION);
    return 0;
}

static int take_trailer(struct httpbody *b, uint8_t c)
{
    if (++b->count > HTTPBODY_TRAILER_MAX)
        return -EPROTO;
    if (c == '\r')
        return go(
            b, b->state != NAME, b->state == VALUE ? TRAILER_LF : LAST_LF);
    if (b->state == VALUE)
        return is_text(c) ? 0 : -EPROTO;
    if (b->state == NAME && c == ':')
        return go(b, true, VALUE);
    return go(b, httphead_is_token((const char *)&c, 1), NAME);
}

/* One byte of a chunked body that is none of its data. */
static int take_byte(struct httpbody *b, uint8_t c)
{
    switch (b->state) {
    case SIZE:
    case DIGITS:
        return take_digit(b, c);
    case BLANK:
    case EXTENSION:
        return take_extension(b, c);
    case SIZE_LF:
        b->count = 0;
        return go(b, c == '\n', b->left > 0 ? DATA : TRAILER);
    case DATA_CR:
        return go(b, c == '\r', DATA_LF);
    case DATA_LF:
        return go(b, c == '\n', SIZE);
    case TRAILER_LF:
        b->count++;
        return go(b, c == '\n', TRAILER);
    case LAST_LF:
        return go(b, c == '\n', WHOLE);
    default:
        return take_trailer(b, c);
    }
}

static size_t take_data(
    struct httpbody *b, struct buf *out, const uint8_t *data, size_t len)
{
    size_t n = b->left < len ? (size_t)b->left : len;

    buf_append(out, data, n);
    b->got += n;
    b->left -= n;
    if (b->left == 0)
        b->state = b->state == LENGTH ? WHOLE : DATA_CR;
    return n;
}

ssize_t httpbody_take(
    struct httpbody *b, struct buf *out, const uint8_t *data, size_t len)
{
    size_t used = 0;

    while (used < len && b->state != WHOLE) {
        int err;

        if (b->state == LENGTH || b->state == DATA) {
            used += take_data(b, out, data + used, len - used);
            continue;
        }
        err = take_byte(b, data[used++]);
        if (err < 0)
            return err;
    }
    return (ssize_t)used;
}
