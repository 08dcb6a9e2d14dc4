/* Requests between gateways and workers. What is read may come from anywhere: a
 * text without its NUL is never made. */
#include "wire/httpcall.h"

#include <errno.h>
#include <string.h>

#include "wire/bigendian.h"

#define FIXED 12 /* bytes in front of the texts */

static void put_text(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text) + 1);
}

void httpcall_put(struct buf *out, const struct httpcall *r)
{
    size_t start = out->len;
    uint8_t *fixed = buf_extend(out, FIXED);

    fixed[0] = r->tls;
    fixed[1] = (uint8_t)r->head.minor;
    put16(fixed + 2, r->remote_port);
    put16(fixed + 4, r->server_port);
    put16(fixed + 6, (uint16_t)r->head.nfields);
    put_text(out, r->remote_addr);
    put_text(out, r->head.method);
    put_text(out, r->head.target);
    for (size_t i = 0; i < r->head.nfields; i++) {
        put_text(out, r->head.fields[i].name);
        put_text(out, r->head.fields[i].value);
    }
    put32(out->data + start + 8, (uint32_t)(out->len - start - FIXED));
    buf_append(out, r->body, r->body_len);
}

size_t httpcall_count_headers(const uint8_t *data, size_t len)
{
    size_t count = len >= FIXED ? get16(data + 6) : 0;

    return count <= len / 2 ? count : 0;
}

/* Texts, one after the other, of which the last must end at end. */
struct texts {
    const char *at, *end;
};

/* NULL: there is none. */
static const char *next_text(struct texts *t)
{
    const char *text = t->at;
    const char *nul = memchr(text, '\0', (size_t)(t->end - text));

    if (nul == NULL)
        return NULL;
    t->at = nul + 1;
    return text;
}

int httpcall_read(struct httpcall *r, const uint8_t *data, size_t len)
{
    struct httphead *head = &r->head;
    struct texts texts;
    size_t count;

    if (len < FIXED || get32(data + 8) > len - FIXED)
        return -EPROTO;
    texts.at = (const char *)data + FIXED;
    texts.end = texts.at + get32(data + 8);
    count = get16(data + 6);
    if (count > head->max)
        return -EMSGSIZE;
    r->tls = data[0] != 0;
    head->minor = data[1];
    r->remote_port = get16(data + 2);
    r->server_port = get16(data + 4);
    r->remote_addr = next_text(&texts);
    head->method = r->remote_addr ? next_text(&texts) : NULL;
    head->target = head->method ? next_text(&texts) : NULL;
    if (head->target == NULL)
        return -EPROTO;
    for (head->nfields = 0; head->nfields < count; head->nfields++) {
        struct httphead_field *f = &head->fields[head->nfields];

        f->name = next_text(&texts);
        f->value = f->name ? next_text(&texts) : NULL;
        if (f->value == NULL)
            return -EPROTO;
    }
    if (texts.at != texts.end)
        return -EPROTO;
    r->body = (const uint8_t *)texts.end;
    r->body_len = len - FIXED - get32(data + 8);
    return 0;
}
