/* label.h - what names a message of an event stream: its event, and its id.
 *
 * In a command with FRAME_FLAG_LABEL it stands in front of the message: a byte
 * of length and so many bytes of the event, and the same of the id; no bytes
 * for the one that is not given.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_LABEL_H
#define GW_WIRE_LABEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"

#define LABEL_TEXT_MAX 255 /* bytes of either */

struct label {
    const char *event, *id; /* borrowed; not NUL-terminated */
    size_t event_len, id_len;
};

/* Whether it may be one of the two: UTF-8 without line breaks and NUL. */
bool label_is_text(const char *text, size_t len);

void label_put(struct buf *out, const struct label *label);

/* Read the one in front of a message; *label borrows data. Its length, or
 * -EPROTO. */
ssize_t label_read(struct label *label, const uint8_t *data, size_t len);

#endif /* GW_WIRE_LABEL_H */
