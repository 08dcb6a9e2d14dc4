/* fakes.h - client sockets and worker links that only note what happens to
 * them, in place of port.c and net/conn.c.
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
#include <stdio.h>
#include <string.h>

#include "clients/port.h"
#include "net/conn.h"
#include "util/alloc.h"
#include "util/log.h"

struct client_conn {
    struct buf received; /* messages, each with a "\n" */
    int closed;          /* code; 0: open */
    char reason[128];    /* with it */
    enum client_conn_cause cause;
    bool destroyed;
    bool paused;
    const struct client_protocol *protocol; /* NULL: its port's */
};

struct conn {
    struct buf out;
    bool full;
    size_t full_at; /* bytes in out from which on it is; 0: never */
};

static inline void fake_fini(struct client_conn *c)
{
    buf_fini(&c->received);
}

static const struct client_protocol fake_websocket = {.has_types = true};
static const struct client_protocol *fake_protocol = &fake_websocket;

const struct client_protocol *port_protocol(const struct port *io)
{
    return fake_protocol;
}

static unsigned fake_framed; /* messages framed for many */

static const char *fake_ending(enum protocol_form form)
{
    static const char *const endings[] = {[PROTOCOL_AS_USUAL] = "\n",
        [PROTOCOL_AS_TEXT] = " text\n",
        [PROTOCOL_AS_BINARY] = " binary\n",
        [PROTOCOL_AS_IS] = " raw\n"};

    return endings[form];
}

static struct blob *fake_frame(
    const void *data, size_t len, enum protocol_form form)
{
    const char *ending = fake_ending(form);
    struct blob *b = blob_new(len + strlen(ending), NULL);

    if (len > 0)
        memcpy(b->data, data, len);
    memcpy(b->data + len, ending, strlen(ending));
    return b;
}

struct blob *port_frame(struct port *io, const struct client_protocol *p,
    const struct protocol_message *what)
{
    struct buf bytes = {0};
    struct blob *blob;

    fake_framed++;
    if (what->label && p->put_label)
        p->put_label(&bytes, what->label);
    buf_append(&bytes, what->data, what->len);
    blob = fake_frame(bytes.data, bytes.len, what->form);
    buf_fini(&bytes);
    return blob;
}

static unsigned fake_binary; /* messages that could not be sent for it */

void port_count_binary(struct port *io)
{
    fake_binary++;
}

const struct client_protocol *client_conn_protocol(const struct client_conn *c)
{
    return c->protocol ? c->protocol : fake_protocol;
}

int client_conn_send_blob(struct client_conn *c, struct blob *framed)
{
    if (c->closed || c->destroyed)
        return -ENOTCONN;
    buf_append(&c->received, framed->data, framed->len);
    return 0;
}

int client_conn_send(struct client_conn *c, const void *data, size_t len,
    enum protocol_form form)
{
    struct blob *b = fake_frame(data, len, form);
    int err = client_conn_send_blob(c, b);

    blob_unref(b);
    return err;
}

void client_conn_close(struct client_conn *c, enum client_conn_cause cause,
    int code, const char *reason)
{
    c->closed = code;
    c->cause = cause;
    snprintf(c->reason, sizeof(c->reason), "%s", reason ? reason : "");
}

void client_conn_destroy(struct client_conn *c, enum client_conn_cause cause)
{
    c->destroyed = true;
    c->cause = cause;
}

struct client_conn_end client_conn_how_ended(const struct client_conn *c)
{
    return (struct client_conn_end){
        c->cause, c->destroyed ? 1006 : c->closed, c->reason, 0};
}

void client_conn_pause(struct client_conn *c)
{
    c->paused = true;
}

void client_conn_resume(struct client_conn *c)
{
    c->paused = false;
}

struct buf *conn_out(struct conn *c)
{
    return &c->out;
}

bool conn_is_far(const struct conn *c)
{
    return false;
}

uint64_t conn_silence(const struct conn *c)
{
    return 0;
}

static unsigned fake_room_asked; /* times that anybody wanted to know */

bool conn_is_full(const struct conn *c)
{
    fake_room_asked++;
    return c->full || (c->full_at > 0 && c->out.len >= c->full_at);
}

size_t conn_queued(const struct conn *c)
{
    return c->out.len;
}

#endif /* GW_SPEC_GATEWAY_FAKES_H */
