/* Request heads: the end is where a search from any cut finds it, and all that
 * is parsed lies in the head and is text. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "wire/httphead.h"

#define MAX        8192
#define FIELDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct httphead_field fields[FIELDS_MAX];
    struct httphead h = {.fields = fields, .max = FIELDS_MAX};
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
        assert(h.nfields <= FIELDS_MAX);
        for (size_t i = 0; i < h.nfields; i++) {
            const char *name = h.fields[i].name;
            const char *only;

            assert(httphead_is_token(name, strlen(name)));
            assert(strchr(name, '_') == NULL);
            assert(httphead_find_only(&h, name, &only) == (only != NULL));
            assert(only == NULL || only == h.fields[i].value);
            assert(h.fields[i].value >= h.fields[i].name);
            assert(h.fields[i].value + strlen(h.fields[i].value) < copy + head);
            assert(httphead_find(&h, h.fields[i].name) != NULL);
        }
    }
    free(copy);
    return 0;
}
