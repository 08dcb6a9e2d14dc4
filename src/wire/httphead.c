/* The text is cut in place: names and values point into the caller's buffer,
 * each NUL-terminated. */
#include "wire/httphead.h"

#include <errno.h>
#include <string.h>

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool httphead_is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_token_char(text[i]))
            return false;
    return len > 0;
}

/* Visible, a space, or above ASCII. */
static bool is_text_char(char c)
{
    return (unsigned char)c >= ' ' && c != 0x7f;
}

ssize_t httphead_measure(const void *data, size_t len, size_t max)
{
    size_t seen = len < max ? len : max;
    const char *end = memmem(data, seen, "\r\n\r\n", 4);

    if (end != NULL)
        return end + 4 - (const char *)data;
    return len >= max ? -EMSGSIZE : 0;
}

/* Cut the line at *at off at its CRLF and step behind it. NULL: there is no
 * CRLF, or something in the line that may not be there. */
static char *take_line(char **at, const char *end)
{
    char *line = *at;
    char *p = line;

    while (p < end && (is_text_char(*p) || *p == '\t'))
        p++;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    *p = '\0';
    *at = p + 2;
    return line;
}

static int parse_request_line(struct httphead *h, char *line)
{
    char *target = strchr(line, ' ');
    char *version = target != NULL ? strchr(target + 1, ' ') : NULL;

    if (version == NULL || target == line || version == target + 1)
        return -EPROTO;
    if (strcmp(version + 1, "HTTP/1.1") == 0)
        h->minor = 1;
    else if (strcmp(version + 1, "HTTP/1.0") == 0)
        h->minor = 0;
    else
        return -EPROTO;
    *target++ = '\0';
    *version = '\0';
    if (strpbrk(target, "\t#") != NULL)
        return -EPROTO;
    if (!httphead_is_token(line, strlen(line)))
        return -EPROTO;
    h->method = line;
    h->target = target;
    return 0;
}

static int parse_field(struct httphead_field *f, char *line)
{
    char *p = line;
    char *end = line + strlen(line);

    for (; is_token_char(*p); p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    if (p == line || *p != ':')
        return -EPROTO;
    *p++ = '\0';
    p += strspn(p, " \t");
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    f->name = line;
    f->value = p;
    return 0;
}

/* Which host is meant must not depend on who reads it. */
static bool is_second_host(const struct httphead *h, const char *name)
{
    return strcmp(name, "host") == 0 && httphead_find(h, name) != NULL;
}

int httphead_parse(struct httphead *h, char *data, size_t len)
{
    const char *end = data + len;
    struct httphead_field f;
    char *at = data;
    char *line = take_line(&at, end);

    h->nfields = 0;
    if (line == NULL || parse_request_line(h, line) < 0)
        return -EPROTO;
    for (;;) {
        line = take_line(&at, end);
        if (line == NULL)
            return -EPROTO;
        if (*line == '\0')
            return at == end ? 0 : -EPROTO;
        if (parse_field(&f, line) < 0 || is_second_host(h, f.name))
            return -EPROTO;
        if (strchr(f.name, '_') != NULL)
            continue;
        if (h->nfields == h->max)
            return -EMSGSIZE;
        h->fields[h->nfields++] = f;
    }
}

/* Names are compared again and again for a request: strcmp() is called only for
 * one that may be it. */
static bool is_named(const struct httphead_field *f, const char *name)
{
    return f->name[0] == name[0] && strcmp(f->name, name) == 0;
}

const char *httphead_find(const struct httphead *h, const char *name)
{
    for (size_t i = 0; i < h->nfields; i++)
        if (is_named(&h->fields[i], name))
            return h->fields[i].value;
    return NULL;
}

bool httphead_find_only(
    const struct httphead *h, const char *name, const char **out)
{
    *out = NULL;
    for (size_t i = 0; i < h->nfields; i++) {
        if (!is_named(&h->fields[i], name))
            continue;
        if (*out != NULL) {
            *out = NULL;
            return false;
        }
        *out = h->fields[i].value;
    }
    return true;
}

/* The value of the list's next line, or NULL. */
static const char *next_line(struct httphead_list *l)
{
    while (l->next < l->head->nfields) {
        const struct httphead_field *f = &l->head->fields[l->next++];

        if (is_named(f, l->name))
            return f->value;
    }
    return NULL;
}

bool httphead_next(struct httphead_list *l, const char **text, size_t *len)
{
    if (l->at == NULL)
        l->at = next_line(l);
    for (; l->at != NULL; l->at = next_line(l)) {
        *text = l->at + strspn(l->at, ", \t");
        *len = strcspn(*text, ", \t");
        l->at = *text + strcspn(*text, ",");
        if (*len > 0)
            return true;
    }
    return false;
}
