/* PROXY headers: byte by byte gives what the whole gives, and no byte behind
 * the header is used. */
#include "fuzz.h"

#include <string.h>

#include "wire/proxyhdr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct proxyhdr whole, cut;
    ssize_t used = proxyhdr_parse(&whole, data, len);
    ssize_t n = 0;
    size_t at = 0;

    while (n == 0 && at < len)
        n = proxyhdr_parse(&cut, data, ++at);
    assert(n == used);
    if (used == 0)
        assert(len < PROXYHDR_MAX);
    if (used > 0) {
        assert(used <= PROXYHDR_MAX && at == (size_t)used);
        assert(memcmp(&whole, &cut, sizeof(cut)) == 0);
        assert(whole.kind != PROXYHDR_DIRECT || whole.port == 0);
    }
    return 0;
}
