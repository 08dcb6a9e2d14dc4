/* fakes.h - client sockets and worker links that only note what happens to
 * them, in place of client_io.c and net/conn.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_GATEWAY_FAKES_H
#define GW_SPEC_GATEWAY_FAKES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "gateway/client_io.h"
#include "net/conn.h"
#include "util/alloc.h"
#include "util/log.h"

struct client_conn {
    struct buf received; /* messages, each with a "\n" */
    int closed;          /* code; 0: open */
    bool destroyed;
    bool paused;
};

struct conn {
    struct buf out;
    bool full;
};

static inline void fake_fini(struct client_conn *c)
{
    buf_fini(&c->received);
}

struct blob *client_io_frame(
    struct client_io *io, const void *data, size_t len, bool raw)
{
    struct blob *b = blob_new(len, NULL);

    memcpy(b->data, data, len);
    return b;
}

int client_send(struct client_conn *c, const void *data, size_t len, bool raw)
{
    if (c->closed || c->destroyed)
        return -ENOTCONN;
    buf_append(&c->received, data, len);
    buf_append_str(&c->received, raw ? " raw\n" : "\n");
    return 0;
}

int client_send_blob(struct client_conn *c, struct blob *framed)
{
    return client_send(c, framed->data, framed->len, false);
}

void client_close(struct client_conn *c, int code, const char *reason)
{
    c->closed = code;
}

void client_destroy(struct client_conn *c, const char *reason)
{
    c->destroyed = true;
}

void client_pause(struct client_conn *c)
{
    c->paused = true;
}

void client_resume(struct client_conn *c)
{
    c->paused = false;
}

struct buf *conn_out(struct conn *c)
{
    return &c->out;
}

bool conn_is_full(const struct conn *c)
{
    return c->full;
}

size_t conn_queued(const struct conn *c)
{
    return c->out.len;
}

#endif /* GW_SPEC_GATEWAY_FAKES_H */
