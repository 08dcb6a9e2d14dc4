/* Request heads: the end is where a search from any cut finds it, and all that
 * is parsed lies in the head and is text. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "wire/httphead.h"

#define MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct httphead h;
    ssize_t head = httphead_measure(data, len, MAX);
    char *copy;

    if (head <= 0) {
        assert(head < 0 ? len >= MAX : len < MAX);
        return 0;
    }
    assert((size_t)head <= len && head <= MAX);
    assert(httphead_measure(data, (size_t)head - 1, MAX) == 0);
    copy = malloc((size_t)head);
    memcpy(copy, data, (size_t)head);
    if (httphead_parse(&h, copy, (size_t)head) == 0) {
        assert(h.target > h.method && h.target < copy + head);
        assert(h.nfields <= HTTPHEAD_FIELDS_MAX);
        for (size_t i = 0; i < h.nfields; i++) {
            assert(h.fields[i].name[0] != '\0');
            assert(h.fields[i].value >= h.fields[i].name);
            assert(h.fields[i].value + strlen(h.fields[i].value) < copy + head);
            assert(httphead_find(&h, h.fields[i].name) != NULL);
        }
    }
    free(copy);
    return 0;
}
