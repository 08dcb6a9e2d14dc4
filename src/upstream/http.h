/* http.h - HTTP requests on the loop.
 *
 * libcurl's multi interface: connections are kept and used again, certificates
 * are always verified, only http and https are spoken, also after redirects.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_HTTP_H
#define GW_UPSTREAM_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "util/tallies.h"

#define HTTP_CALLS_MAX       1000         /* under way; one more is -ENOBUFS */
#define HTTP_CONNECTIONS_MAX 256          /* open; further requests wait */
#define HTTP_PER_HOST_MAX    32           /* of them to one host */
#define HTTP_HEADERS_MAX     (128 * 1024) /* bytes of a response; -EMSGSIZE */

#define HTTP_AHEAD (64 * 1024) /* bytes of a stream not taken yet */

struct http;
struct http_call;

/* Of a stream: bytes of the body have come, or it has ended. */
typedef void (*http_more_cb)(void *arg);

/* Borrowed until http_start() returns. */
struct http_request {
    const char *method; /* in capitals */
    const char *url;
    const char *const *headers; /* "Name: value", without line ends */
    size_t nheaders;
    const char *body; /* NULL: none */
    size_t body_len;
    uint64_t timeout_ms;
    uint64_t connect_ms;
    size_t body_max;     /* bytes of the response's; more is -EMSGSIZE */
    long redirects_max;  /* 0: they are returned as they are */
    const char *ca_file; /* NULL: the system's */
    /* Not NULL: a stream. done gets the head alone, as soon as that is there,
     * and the call goes on until http_cancel() if it was one. timeout_ms is the
     * owner's affair. The body comes as the server sends it, and while
     * HTTP_AHEAD bytes wait to be taken nothing more is read. */
    http_more_cb more;
};

struct http_response {
    long status;
    const char *headers; /* lines as they came, of the last response */
    size_t headers_len;
    const char *body;
    size_t body_len;
    const char *url; /* after redirects */
};

/* err 0 and a response, borrowed; or -errno and what happened, for people. */
typedef void (*http_done_cb)(int err, const struct http_response *response,
    const char *message, void *arg);

/* tally is borrowed and outlives it; NULL: nobody looks. */
struct http *http_new(uv_loop_t *loop, struct tally *tally);

/* At once; no callback will run any more. Not inside a callback. */
void http_close(struct http *h);

/* done runs once, on a later turn. 0 and *out (for http_cancel(), while done
 * has not run), or -errno. */
int http_start(struct http *h, const struct http_request *request,
    http_done_cb done, void *arg, struct http_call **out);

/* Neither done nor more will run; the connection is closed if it is busy. */
void http_cancel(struct http_call *call);

/* Of a stream whose head has come: what waits to be taken, until the next call
 * of anything; so much of it is done with. */
const uint8_t *http_bytes(const struct http_call *call, size_t *len);
void http_take(struct http_call *call, size_t n);

/* Whether the body has ended; what has come can be taken all the same. *err 0:
 * it is whole; or -errno and what happened, for people. */
bool http_has_ended(
    const struct http_call *call, int *err, const char **message);

#endif /* GW_UPSTREAM_HTTP_H */
