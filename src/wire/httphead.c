#include "wire/httphead.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
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
    for (const char *p = line; *p != '\0'; p++)
        if (!is_token_char(*p))
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
        if (h->nfields == HTTPHEAD_FIELDS_MAX ||
            parse_field(&h->fields[h->nfields], line) < 0 ||
            is_second_host(h, h->fields[h->nfields].name))
            return -EPROTO;
        h->nfields++;
    }
}

const char *httphead_find(const struct httphead *h, const char *name)
{
    for (size_t i = 0; i < h->nfields; i++)
        if (strcmp(h->fields[i].name, name) == 0)
            return h->fields[i].value;
    return NULL;
}
