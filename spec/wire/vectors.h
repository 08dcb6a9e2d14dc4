/* vectors.h - captured bytes for the specs of wire/: files of spec/vectors/,
 * found because the specs run at the root of the tree.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SPEC_WIRE_VECTORS_H
#define SPEC_WIRE_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "util/alloc.h"
#include "util/buf.h"

struct bytes {
    uint8_t *data; /* owned; exactly len bytes, so that ASan sees the end */
    size_t len;
};

static inline struct bytes bytes_copy(const void *data, size_t len)
{
    struct bytes b = {.data = malloc(len ? len : 1), .len = len};

    assert_non_null(b.data);
    if (len > 0)
        memcpy(b.data, data, len);
    return b;
}

static inline struct bytes bytes_from_hex(const char *hex)
{
    struct bytes b = bytes_copy(hex, strlen(hex) / 2);

    for (size_t i = 0; i < b.len; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};

        b.data[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return b;
}

static inline void bytes_fini(struct bytes *b)
{
    free(b->data);
}

/* The caller ends it with json_decref(). */
static inline json_t *vectors_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);

    if (!root)
        fail_msg("%s: %s", path, error.text);
    return root;
}

/* Compares and empties b. */
static inline void assert_buf_equal(
    struct buf *b, const void *want, size_t want_len)
{
    assert_int_equal(b->len, want_len);
    if (want_len > 0)
        assert_memory_equal(b->data, want, want_len);
    buf_clear(b);
}

static inline void assert_buf_text(struct buf *b, const char *want)
{
    buf_append_byte(b, 0);
    assert_string_equal((const char *)b->data, want);
    buf_clear(b);
}

/* Every packet of spec/vectors/gatewayworker-conversations.json that goes to
 * a gateway, or over the worker's link; one capture may hold several. */
typedef void (*vectors_packet_cb)(const uint8_t *data, size_t len);

static inline void vectors_each_capture(vectors_packet_cb cb)
{
    json_t *root =
        vectors_load("spec/vectors/gatewayworker-conversations.json");
    json_t *call, *connection, *piece;
    size_t i, j, count = 0;

    json_array_foreach(json_object_get(root, "client_calls"), i, call)
    {
        json_array_foreach(json_object_get(call, "connections"), j, connection)
        {
            struct bytes b = bytes_from_hex(
                json_string_value(json_object_get(connection, "to_gateway")));

            cb(b.data, b.len);
            bytes_fini(&b);
            count++;
        }
    }
    json_array_foreach(json_object_get(root, "worker_link"), i, piece)
    {
        struct bytes b =
            bytes_from_hex(json_string_value(json_object_get(piece, "hex")));

        cb(b.data, b.len);
        bytes_fini(&b);
        count++;
    }
    json_decref(root);
    assert_true(count > 70);
}

#endif /* SPEC_WIRE_VECTORS_H */
