/* Lines of the log as JSON. They are written as text first ("what happened
 * key=value …"), which is taken apart again here: a line that is not logged as
 * JSON costs nothing for it, and nobody writes his lines twice. */
#include "util/logjson.h"

#include <stdbool.h>
#include <string.h>

void logjson_put_string(struct buf *out, const char *text, size_t len)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_append_str(out, "\\n");
        else if (c == '\t')
            buf_append_str(out, "\\t");
        else if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_byte(out, c);
    }
    buf_append_byte(out, '"');
}

/* The length of a key with its "=" at p; 0: there is none. */
static size_t key_len(const char *p)
{
    size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz_0123456789");

    return n > 0 && p[n] == '=' && (*p < '0' || *p > '9') ? n + 1 : 0;
}

/* The next " key=" from p on, at its space; or the end. */
static const char *find_key(const char *p)
{
    for (p = strchr(p, ' '); p; p = strchr(p + 1, ' ')) {
        if (key_len(p + 1) > 0)
            return p;
    }
    return NULL;
}

/* Behind the quote that ends the text at p, which begins with one. */
static const char *skip_quoted(const char *p)
{
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
    }
    return *p ? p + 1 : p;
}

/* What stands between quotes, as it was before log_quote(), but for bytes that
 * are no text, which stay \xNN. */
static void put_unquoted(struct buf *out, const char *p, const char *end)
{
    struct buf text = {0};

    for (; p < end && *p != '"'; p++) {
        char c = *p;

        if (c == '\\' && p + 1 < end && strchr("\"\\n", p[1])) {
            p++;
            c = *p == 'n' ? '\n' : *p;
        }
        buf_append_byte(&text, (uint8_t)c);
    }
    logjson_put_string(out, (const char *)text.data, text.len);
    buf_fini(&text);
}

/* The field behind the one at p; both are at the space in front, or NULL. */
static const char *next_field(const char *p)
{
    const char *value = p + 1 + key_len(p + 1);

    return find_key(*value == '"' ? skip_quoted(value) : value);
}

/* Has one behind it the same key? */
static bool comes_again(const char *p)
{
    size_t n = key_len(p + 1);

    for (const char *q = next_field(p); q; q = next_field(q)) {
        if (strncmp(q + 1, p + 1, n) == 0)
            return true;
    }
    return false;
}

static void put_field(struct buf *out, const char *p, const char *next)
{
    const char *key = p + 1;
    size_t n = key_len(key);
    const char *value = key + n;
    size_t len = next ? (size_t)(next - value) : strlen(value);

    logjson_put_string(out, key, n - 1);
    buf_append_byte(out, ':');
    if (*value == '"')
        put_unquoted(out, value + 1, value + len);
    else
        logjson_put_string(out, value, len);
}

/* p is at the space in front of the first key. */
static void put_fields(struct buf *out, const char *p, size_t max)
{
    struct buf field = {0};
    bool first = true;

    buf_append_str(out, ",\"fields\":{");
    while (p) {
        const char *next = next_field(p);

        if (!comes_again(p)) {
            buf_clear(&field);
            put_field(&field, p, next);
            if (out->len + field.len + 2 <= max) {
                if (!first)
                    buf_append_byte(out, ',');
                first = false;
                buf_append(out, field.data, field.len);
            }
        }
        p = next;
    }
    buf_append_byte(out, '}');
    buf_fini(&field);
}

/* How much of text has room, whole letters. */
static size_t measure(const char *text, size_t len, size_t room)
{
    size_t used = 0, keep = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\' || c == '\n' || c == '\t')
            used += 2;
        else
            used += c < 0x20 ? 6 : 1;
        if (used > room)
            break;
        if (i + 1 == len || ((unsigned char)text[i + 1] & 0xc0) != 0x80)
            keep = i + 1;
    }
    return keep;
}

void logjson_put_message(
    struct buf *out, const char *message, const char *fields, size_t max)
{
    static const char name[] = ",\"message\":";
    const char *first = find_key(fields ? fields : message);
    size_t len = first && !fields ? (size_t)(first - message) : strlen(message);
    struct buf rest = {0};
    size_t used;

    if (first)
        put_fields(&rest, first, max - max / 4); /* some is the message's */
    used = out->len + sizeof(name) - 1 + 2 + rest.len;
    buf_append_str(out, name);
    logjson_put_string(
        out, message, measure(message, len, max > used ? max - used : 0));
    buf_append(out, rest.data, rest.len);
    buf_fini(&rest);
}
