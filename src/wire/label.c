/* Labels between workers and gateways. Both check them: a line break in one
 * would be a field, or a message, of its own. */
#include "wire/label.h"

#include <errno.h>
#include <string.h>

#include "util/utf8.h"

bool label_is_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\r' || text[i] == '\n' || text[i] == '\0')
            return false;
    return len <= LABEL_TEXT_MAX && utf8_valid((const uint8_t *)text, len);
}

static void put_part(struct buf *out, const char *text, size_t len)
{
    buf_append_byte(out, (uint8_t)len);
    buf_append(out, text, len);
}

void label_put(struct buf *out, const struct label *label)
{
    put_part(out, label->event, label->event_len);
    put_part(out, label->id, label->id_len);
}

/* Bytes that the part at data takes; 0: it is not valid. */
static size_t read_part(
    const char **text, size_t *text_len, const uint8_t *data, size_t len)
{
    if (len == 0 || data[0] > len - 1)
        return 0;
    *text = (const char *)data + 1;
    *text_len = data[0];
    return label_is_text(*text, *text_len) ? 1 + *text_len : 0;
}

ssize_t label_read(struct label *label, const uint8_t *data, size_t len)
{
    size_t event = read_part(&label->event, &label->event_len, data, len);
    size_t id = event > 0 ? read_part(&label->id, &label->id_len, data + event,
                                len - event)
                          : 0;

    return id > 0 ? (ssize_t)(event + id) : -EPROTO;
}
