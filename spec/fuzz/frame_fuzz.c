/* Frames: any cut gives the same packets, and each is written as it came. */
#include "fuzz.h"

#include "wire/frame.h"

static void reencode(struct buf *out, const uint8_t *packet, size_t len)
{
    size_t before = out->len, body_len = 0;
    const uint8_t *body = frame_body(packet, len, &body_len);
    struct frame f;

    if (frame_decode(&f, packet, len) < 0) {
        buf_append_byte(out, '!'); /* a refusal must not depend on the cut */
        assert(!body);
        return;
    }
    assert(body == f.body && body_len == f.body_len);
    frame_encode(out, &f);
    assert(out->len - before == len);
    assert(memcmp(out->data + before, packet, len) == 0);
    assert(frame_cmd_name(f.cmd));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct fuzz_stream stream = {frame_measure, reencode};

    fuzz_check_delivery(&stream, data, len);
    return 0;
}
