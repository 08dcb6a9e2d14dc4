/* The shortest digits that read back as the same double, found by trying, and
 * PHP's rules for where the point goes. Numbers are read as decimals first, so
 * that strtod() gets what the locale cannot change. */
#include "wire/phpfloat.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS_MAX   17    /* always enough for a double */
#define EXPONENT_MAX 99999 /* beyond it all is zero or infinite anyway */

/* digits[0].digits[1]digits[2]… times ten to the exponent */
struct decimal {
    char digits[DIGITS_MAX + 1]; /* no zeros at the end, NUL-terminated */
    int exponent;
};

/* value > 0 rounded to count digits. */
static void round_to(struct decimal *d, double value, int count)
{
    char text[64];
    int n = 0;
    const char *p = text;

    snprintf(text, sizeof(text), "%.*e", count - 1, value);
    for (; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            d->digits[n++] = *p;
    d->exponent = (int)strtol(p + 1, NULL, 10);
    while (n > 1 && d->digits[n - 1] == '0')
        n--;
    d->digits[n] = '\0';
}

/* The next larger number of count digits. */
static void step_up(struct decimal *d, size_t count)
{
    size_t n = strlen(d->digits);

    memset(d->digits + n, '0', count - n);
    n = count;
    while (n > 0 && d->digits[n - 1] == '9')
        n--;
    d->digits[n] = '\0';
    if (n > 0) {
        d->digits[n - 1]++;
        return;
    }
    memcpy(d->digits, "1", 2);
    d->exponent++;
}

static bool reads_back(const struct decimal *d, double value)
{
    char text[DIGITS_MAX + 16];
    int point = (int)strlen(d->digits) - 1;
    double got;

    snprintf(text, sizeof(text), "%se%d", d->digits, d->exponent - point);
    got = strtod(text, NULL);
    return !(got < value) && !(got > value);
}

static void shortest(struct decimal *d, double value)
{
    /* 15 digits survive the way into a normal double and back, so that fewer
     * need not be tried; a subnormal has fewer. */
    int count = value < DBL_MIN ? 1 : DBL_DIG;

    for (; count < DIGITS_MAX; count++) {
        round_to(d, value, count);
        if (reads_back(d, value))
            return;
        /* Below a power of two doubles lie closer together than above it: the
         * nearest text may be out of reach and the one above it not. */
        step_up(d, (size_t)count);
        if (reads_back(d, value))
            return;
    }
    round_to(d, value, DIGITS_MAX);
}

static void put_exponential(struct buf *out, const struct decimal *d)
{
    buf_append_byte(out, (uint8_t)d->digits[0]);
    buf_append_byte(out, '.');
    buf_append_str(out, d->digits[1] ? d->digits + 1 : "0");
    buf_printf(out, "E%+d", d->exponent);
}

static void put_plain(struct buf *out, const struct decimal *d)
{
    int n = (int)strlen(d->digits);
    int before = d->exponent + 1; /* digits left of the point */

    if (before <= 0)
        buf_append_str(out, "0.");
    for (int i = before; i < 0; i++)
        buf_append_byte(out, '0');
    for (int i = 0; i < n; i++) {
        if (i == before && i > 0)
            buf_append_byte(out, '.');
        buf_append_byte(out, (uint8_t)d->digits[i]);
    }
    for (int i = n; i < before; i++)
        buf_append_byte(out, '0');
}

void phpfloat_put(struct buf *out, double value)
{
    struct decimal d;

    if (isnan(value)) {
        buf_append_str(out, "NAN");
        return;
    }
    if (signbit(value))
        buf_append_byte(out, '-');
    value = fabs(value);
    if (isinf(value)) {
        buf_append_str(out, "INF");
        return;
    }
    if (fpclassify(value) == FP_ZERO) {
        buf_append_byte(out, '0');
        return;
    }
    shortest(&d, value);
    if (d.exponent < -4 || d.exponent >= DIGITS_MAX)
        put_exponential(out, &d);
    else
        put_plain(out, &d);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* A cursor over the text; digits go to the copy that strtod() will read. */
struct scan {
    const uint8_t *at;
    const uint8_t *end;
    char copy[PHPFLOAT_TEXT_MAX + 16];
    size_t len; /* of copy */
};

static size_t copy_digits(struct scan *s)
{
    const uint8_t *from = s->at;

    while (s->at < s->end && is_digit(*s->at))
        s->copy[s->len++] = (char)*s->at++;
    return (size_t)(s->at - from);
}

static bool skip(struct scan *s, uint8_t c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* What stands behind E, or -EPROTO. */
static int parse_exponent(int *out, struct scan *s)
{
    bool negative = skip(s, '-');
    int value = 0;

    if (!negative)
        skip(s, '+');
    if (s->at == s->end)
        return -EPROTO;
    for (; s->at < s->end && is_digit(*s->at); s->at++)
        if (value < EXPONENT_MAX)
            value = value * 10 + (*s->at - '0');
    *out = negative ? -value : value;
    return 0;
}

static bool is_text(const uint8_t *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

static bool parse_special(double *out, const uint8_t *text, size_t len)
{
    if (is_text(text, len, "NAN"))
        *out = (double)NAN;
    else if (is_text(text, len, "INF"))
        *out = (double)INFINITY;
    else if (is_text(text, len, "-INF"))
        *out = -(double)INFINITY;
    else
        return false;
    return true;
}

int phpfloat_parse(double *out, const uint8_t *text, size_t len)
{
    struct scan s = {.at = text, .end = text + len};
    size_t before, behind = 0;
    int exponent = 0;

    if (parse_special(out, text, len))
        return 0;
    if (len > PHPFLOAT_TEXT_MAX)
        return -EPROTO;
    if (skip(&s, '-'))
        s.copy[s.len++] = '-';
    else
        skip(&s, '+');
    before = copy_digits(&s);
    if (skip(&s, '.'))
        behind = copy_digits(&s);
    if (before + behind == 0)
        return -EPROTO;
    if ((skip(&s, 'E') || skip(&s, 'e')) && parse_exponent(&exponent, &s) < 0)
        return -EPROTO;
    if (s.at != s.end)
        return -EPROTO;
    /* 12.5E3 is read as 125e2: without a point there is no locale in it. */
    snprintf(
        s.copy + s.len, sizeof(s.copy) - s.len, "e%d", exponent - (int)behind);
    *out = strtod(s.copy, NULL);
    return 0;
}
