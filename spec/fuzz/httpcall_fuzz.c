/* Requests as a gateway may send them: what is read lies in the packet, and
 * written again it is the same. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "wire/httpcall.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t count = httpcall_count_headers(data, len);
    struct httphead_field *fields = calloc(count + 1, sizeof(*fields));
    struct httpcall r = {.head = {.fields = fields, .max = count}};
    struct buf out = {0};

    if (httpcall_read(&r, data, len) == 0) {
        assert(r.head.nfields == count);
        assert(r.body + r.body_len == data + len);
        httpcall_put(&out, &r);
        assert(out.len == len);
        assert(len == 1 || memcmp(out.data + 1, data + 1, len - 1) == 0);
    }
    buf_fini(&out);
    free(fields);
    return 0;
}
