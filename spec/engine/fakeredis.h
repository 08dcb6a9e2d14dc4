/* fakeredis.h - a Redis that says exactly what a test wants, on a loopback port
 * of its own; a line is one connection to it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_ENGINE_FAKEREDIS_H
#define GW_SPEC_ENGINE_FAKEREDIS_H

#include "../net/testloop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "net/addr.h"
#include "util/buf.h"

struct fakeredis {
    struct testloop *t; /* borrowed */
    int listening;
    uint16_t port;
};

struct line {
    struct fakeredis *server;
    int fd; /* -1: nobody has connected */
    struct buf heard;
};

static inline void fakeredis_open(struct fakeredis *f, struct testloop *t)
{
    union addr addr;

    f->t = t;
    f->listening = testloop_bind(&addr);
    f->port = addr_port(&addr);
    assert_int_equal(listen(f->listening, 8), 0);
    fcntl(f->listening, F_SETFL, O_NONBLOCK);
}

static inline void fakeredis_close(struct fakeredis *f)
{
    close(f->listening);
}

static inline void line_init(struct line *l, struct fakeredis *f)
{
    *l = (struct line){.server = f, .fd = -1};
}

/* The other side finds that the connection is lost. */
static inline void hang_up(struct line *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    buf_clear(&l->heard);
}

static inline void line_fini(struct line *l)
{
    hang_up(l);
    buf_fini(&l->heard);
}

/* Turn the loop once, and wait a moment for fd, which the loop does not know.
 */
static inline void fakeredis_turn(struct fakeredis *f, int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};

    assert_false(f->t->expired);
    uv_run(&f->t->loop, UV_RUN_NOWAIT);
    poll(&readable, 1, 1);
}

/* The next connection is this line. */
static inline void take(struct line *l)
{
    hang_up(l);
    while (
        (l->fd = accept4(l->server->listening, NULL, NULL, SOCK_NONBLOCK)) < 0)
        fakeredis_turn(l->server, l->server->listening);
}

/* Has this come since the last expect()? */
static inline bool hears(struct line *l, const char *text)
{
    ssize_t n = read(l->fd, buf_reserve(&l->heard, 65536), 65536);

    if (n > 0)
        buf_commit(&l->heard, (size_t)n);
    buf_append_byte(&l->heard, 0);
    l->heard.len--;
    /* what is published is no text */
    return memmem(l->heard.data, l->heard.len, text, strlen(text)) != NULL;
}

/* Wait until this comes; what came with it is forgotten. */
static inline void expect(struct line *l, const char *text)
{
    while (!hears(l, text))
        fakeredis_turn(l->server, l->fd);
    buf_clear(&l->heard);
}

static inline void say(struct line *l, const char *text)
{
    assert_int_equal(write(l->fd, text, strlen(text)), strlen(text));
}

/* A bulk string. */
static inline void say_text(struct line *l, const char *text)
{
    char all[512];

    snprintf(all, sizeof(all), "$%zu\r\n%s\r\n", strlen(text), text);
    say(l, all);
}

/* An engine asks what server this is: one that will do. */
static inline void introduce(struct line *l)
{
    expect(l, "INFO");
    say_text(l, "redis_version:7.0.15\r\nrole:master\r\n"
                "maxmemory_policy:noeviction\r\n");
}

/* how: subscribe or unsubscribe. */
static inline void say_confirmed(
    struct line *l, const char *how, const char *channel)
{
    char text[128];

    snprintf(text, sizeof(text), "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:1\r\n",
        strlen(how), how, strlen(channel), channel);
    say(l, text);
}

#endif /* GW_SPEC_ENGINE_FAKEREDIS_H */
