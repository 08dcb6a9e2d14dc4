/* Envelopes between cells: what was read is written so that it reads back. */
#include "fuzz.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "wire/bigendian.h"
#include "wire/crossing.h"

#define SKIP_LEN 6 /* bytes of a gateway that an order leaves out */

static void put(struct buf *out, const struct crossing *c)
{
    struct crossing_gateway *skips =
        xcalloc(c->nskips + 1, sizeof(struct crossing_gateway));

    for (size_t i = 0; i < c->nskips; i++) {
        skips[i].ip = get32(c->skips + i * SKIP_LEN);
        skips[i].port = get16(c->skips + i * SKIP_LEN + 4);
        assert(crossing_skips(c, skips[i].ip, skips[i].port));
    }
    crossing_put(out, c, skips);
    buf_append(out, c->data, c->len);
    free(skips);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf once = {0}, twice = {0};
    struct crossing c, again;

    if (crossing_read(&c, data, len) < 0)
        return 0;
    put(&once, &c);
    assert(once.len == len);
    assert(crossing_read(&again, once.data, once.len) == 0);
    assert(again.kind == c.kind && again.number == c.number);
    put(&twice, &again);
    assert(fuzz_same(&once, &twice));
    buf_fini(&once);
    buf_fini(&twice);
    return 0;
}
