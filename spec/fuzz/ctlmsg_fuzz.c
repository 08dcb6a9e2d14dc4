/* Control messages: what was read is written as one line that reads back. */
#include "fuzz.h"

#include "wire/ctlmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json_t *m = ctlmsg_parse(data, len);
    struct buf line = {0};
    json_t *again;

    if (!m)
        return 0;
    assert(ctlmsg_type(m));
    ctlmsg_put(&line, json_incref(m));
    assert(memchr(line.data, '\n', line.len) == line.data + line.len - 1);
    again = ctlmsg_parse(line.data, line.len - 1);
    assert(again && json_equal(m, again));
    json_decref(again);
    json_decref(m);
    buf_fini(&line);
    return 0;
}
