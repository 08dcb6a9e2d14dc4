/* http.h - HTTP requests on the loop.
 *
 * libcurl's multi interface: connections are kept and used again, certificates
 * are always verified, only http and https are spoken, also after redirects.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_HTTP_H
#define GW_UPSTREAM_HTTP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define HTTP_CALLS_MAX       1000         /* under way; one more is -ENOBUFS */
#define HTTP_CONNECTIONS_MAX 256          /* open; further requests wait */
#define HTTP_PER_HOST_MAX    32           /* of them to one host */
#define HTTP_HEADERS_MAX     (128 * 1024) /* bytes of a response; -EMSGSIZE */

struct http;
struct http_call;

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

struct http *http_new(uv_loop_t *loop);

/* At once; no callback will run any more. Not inside a callback. */
void http_close(struct http *h);

/* done runs once, on a later turn. 0 and *out (for http_cancel(), while done
 * has not run), or -errno. */
int http_start(struct http *h, const struct http_request *request,
    http_done_cb done, void *arg, struct http_call **out);

/* done will not run; the connection is closed. */
void http_cancel(struct http_call *call);

#endif /* GW_UPSTREAM_HTTP_H */
