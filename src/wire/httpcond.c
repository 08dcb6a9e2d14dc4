/* Reads a head and decides; keeps nothing. */
#include "wire/httpcond.h"

#include <string.h>
#include <strings.h>

char *httpcond_date(char out[HTTPCOND_DATE_SIZE], time_t t)
{
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, HTTPCOND_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return out;
}

bool httpcond_read_date(const char *text, time_t *out)
{
    static const char *const forms[] = {
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850's, obsolete */
        "%a %b %e %H:%M:%S %Y",      /* asctime()'s, too */
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);

        if (end != NULL && *end == '\0') {
            *out = timegm(&tm);
            return true;
        }
    }
    return false;
}

/* Whether one of these headers, lists of entity tags, has etag, or "*". weak:
 * "W/" in front does not matter. */
static bool lists_etag(
    const struct httphead *head, const char *name, const char *etag, bool weak)
{
    struct httphead_list list = {.head = head, .name = name};
    const char *text;
    size_t len;

    while (httphead_next(&list, &text, &len)) {
        if (len == 1 && *text == '*')
            return true;
        if (weak && len > 2 && strncmp(text, "W/", 2) == 0) {
            text += 2;
            len -= 2;
        }
        if (weak && strncmp(etag, "W/", 2) == 0)
            etag += 2;
        if (*text == '"' && len == strlen(etag) && memcmp(text, etag, len) == 0)
            return true;
    }
    return false;
}

/* The date that stands once under this name. */
static bool find_date(const struct httphead *head, const char *name, time_t *t)
{
    const char *text;

    return httphead_find_only(head, name, &text) && text != NULL &&
           httpcond_read_date(text, t);
}

/* RFC 9110 section 13.2.2, but for If-Range. 0: they all hold. */
static unsigned judge_conditions(
    const struct httphead *head, const struct httpcond_file *file)
{
    time_t t;

    if (httphead_find(head, "if-match") != NULL) {
        if (!lists_etag(head, "if-match", file->etag, false))
            return 412;
    } else if (find_date(head, "if-unmodified-since", &t) &&
               file->modified > t) {
        return 412;
    }
    if (httphead_find(head, "if-none-match") != NULL)
        return lists_etag(head, "if-none-match", file->etag, true) ? 304 : 0;
    return find_date(head, "if-modified-since", &t) && file->modified <= t ? 304
                                                                           : 0;
}

/* Whether a client that has a part of the file has one of this file. */
static bool is_same_file(
    const struct httphead *head, const struct httpcond_file *file)
{
    const char *text;
    time_t t;

    if (!httphead_find_only(head, "if-range", &text))
        return false;
    if (text == NULL)
        return true;
    if (*text == '"')
        return strcmp(text, file->etag) == 0;
    return httpcond_read_date(text, &t) && t == file->modified;
}

/* The digits at *at, which moves behind them. False: there are none. What is
 * too large for a file counts as UINT64_MAX. */
static bool read_number(const char **at, uint64_t *out)
{
    const char *p = *at;
    uint64_t n = 0;

    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
    }
    *out = n;
    if (p == *at)
        return false;
    *at = p;
    return true;
}

/* "bytes=0-99", "bytes=100-", "bytes=-100" (RFC 9110 section 14.1.2). False: it
 * is not understood, or there are several. size 0: it has none of the file. */
static bool read_range(
    const char *text, uint64_t size, uint64_t *first, uint64_t *len)
{
    static const char unit[] = "bytes=";
    uint64_t from, to;
    bool has_from, has_to;

    if (strncasecmp(text, unit, strlen(unit)) != 0)
        return false;
    text += strlen(unit);
    text += strspn(text, " \t");
    has_from = read_number(&text, &from);
    if (*text++ != '-')
        return false;
    has_to = read_number(&text, &to);
    text += strspn(text, " \t");
    if (*text != '\0' || (!has_from && !has_to) ||
        (has_from && has_to && to < from))
        return false;
    if (!has_from) { /* the last so many */
        from = to < size ? size - to : 0;
        to = size;
    } else {
        to = has_to && to < size ? to + 1 : size;
    }
    *first = from;
    *len = from < to ? to - from : 0;
    return true;
}

struct httpcond httpcond_judge(
    const struct httphead *head, const struct httpcond_file *file)
{
    struct httpcond what = {.size = file->size};
    const char *range;
    uint64_t first, size;

    what.status = judge_conditions(head, file);
    if (what.status != 0)
        return what;
    what.status = 200;
    if (!file->ranges || strcmp(head->method, "GET") != 0 ||
        !httphead_find_only(head, "range", &range) || range == NULL ||
        !is_same_file(head, file) ||
        !read_range(range, file->size, &first, &size))
        return what;
    what.status = size > 0 ? 206 : 416;
    what.first = first;
    what.size = size;
    return what;
}

/* Whether the parameters at text, len bytes, have a weight of 0. */
static bool is_unwanted(const char *text, size_t len)
{
    const char *q = memchr(text, '=', len);
    const char *end = text + len;

    if (q == NULL)
        return false;
    for (q++; q < end; q++)
        if (*q != '0' && *q != '.' && *q != ' ' && *q != '\t')
            return false;
    return true;
}

bool httpcond_accepts(const struct httphead *head, const char *coding)
{
    struct httphead_list list = {.head = head, .name = "accept-encoding"};
    size_t n = strlen(coding);
    const char *text;
    size_t len;

    while (httphead_next(&list, &text, &len)) {
        if (strncasecmp(text, coding, n) == 0 &&
            (text[n] == '\0' || strchr(",; \t", text[n]) != NULL))
            return !is_unwanted(text + n, strcspn(text + n, ","));
    }
    return false;
}
