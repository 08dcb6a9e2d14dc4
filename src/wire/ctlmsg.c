/* Lines of JSON, by jansson. A message never leaves as a line that its reader
 * could not parse: texts that are no UTF-8 are repaired, not refused. */
#include "wire/ctlmsg.h"

#include <assert.h>
#include <string.h>

#include "util/utf8.h"

json_t *ctlmsg_parse(const void *line, size_t len)
{
    json_t *m;

    if (len > CTLMSG_MAX_LEN)
        return NULL;
    m = json_loadb(line, len, 0, NULL);
    if (m && !ctlmsg_type(m)) {
        json_decref(m);
        return NULL;
    }
    return m;
}

const char *ctlmsg_type(const json_t *m)
{
    return ctlmsg_string(m, "type", NULL);
}

const char *ctlmsg_string(const json_t *m, const char *key, const char *def)
{
    const char *value = json_string_value(json_object_get(m, key));

    return value ? value : def;
}

int64_t ctlmsg_int(const json_t *m, const char *key, int64_t def)
{
    const json_t *value = json_object_get(m, key);

    return json_is_integer(value) ? json_integer_value(value) : def;
}

static int on_text(const char *text, size_t len, void *out)
{
    buf_append(out, text, len);
    return 0;
}

json_t *ctlmsg_text(const char *text)
{
    struct buf repaired = {0};
    json_t *string;

    utf8_repair(&repaired, (const uint8_t *)text, strlen(text));
    string = repaired.len > 0
                 ? json_stringn((const char *)repaired.data, repaired.len)
                 : json_string("");
    buf_fini(&repaired);
    return string;
}

void ctlmsg_put(struct buf *out, json_t *m)
{
    int err = json_dump_callback(m, on_text, out, JSON_COMPACT);

    assert(err == 0); /* only a reference cycle of our own could fail */
    json_decref(m);
    buf_append_byte(out, '\n');
}
