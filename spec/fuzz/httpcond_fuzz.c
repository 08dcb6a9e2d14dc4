/* Conditions and ranges of any head: what is to be sent lies in the file. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "wire/httpcond.h"

#define FIELDS_MAX 16

/* The first byte chooses the file's size, the rest are header lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char line[] = "GET / HTTP/1.1\r\n";
    static const uint64_t sizes[] = {0, 1, 100, UINT64_MAX / 4};
    static struct httphead_field fields[FIELDS_MAX];
    struct httphead h = {.fields = fields, .max = FIELDS_MAX};
    struct httpcond_file file = {
        .etag = "\"1-a\"", .modified = 784111777, .ranges = true};
    struct httpcond what;
    char *head;
    size_t n = sizeof(line) - 1;

    if (len == 0)
        return 0;
    file.size = sizes[data[0] % 4];
    head = malloc(n + len + 3);
    memcpy(head, line, n);
    memcpy(head + n, data + 1, len - 1);
    memcpy(head + n + len - 1, "\r\n\r\n", 4);
    if (httphead_parse(&h, head, n + len + 3) == 0) {
        what = httpcond_judge(&h, &file);
        assert(what.status == 200 || what.status == 206 || what.status == 304 ||
               what.status == 412 || what.status == 416);
        if (what.status == 206)
            assert(what.size > 0 && what.first < file.size &&
                   what.size <= file.size - what.first);
        if (what.status == 200)
            assert(what.first == 0 && what.size == file.size);
        httpcond_accepts(&h, "br");
    }
    free(head);
    return 0;
}
