/* Upgrade requests: whatever a client asks with, what workers get of it is one
 * value. The input is lines: the path and query, then headers. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/superglobals.h"
#include "util/alloc.h"
#include "wire/params.h"
#include "wire/phpser.h"

#define HEADERS_MAX 64

static void check_value(struct buf *out, size_t elements)
{
    struct phpser_reader r;
    struct phpser_token t;

    assert(phpser_check(out->data, out->len) == 0);
    phpser_read(&r, out->data, out->len);
    assert(phpser_next(&r, &t) == 1);
    assert(t.type == PHPSER_ARRAY && t.count <= elements);
    buf_clear(out);
}

/* "name: value" lines; names in lower case, as port.c hands them on. */
static size_t split_headers(struct httphead_field *headers, char *text)
{
    size_t n = 0;
    char *line;

    while (n < HEADERS_MAX && (line = strsep(&text, "\n"))) {
        char *value = strchr(line, ':');

        if (!value)
            continue;
        *value++ = '\0';
        for (char *at = line; *at; at++)
            if (*at >= 'A' && *at <= 'Z')
                *at = (char)(*at - 'A' + 'a');
        headers[n++] = (struct httphead_field){line, value};
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct httphead_field headers[HEADERS_MAX];
    struct client_conn_request request = {.headers = headers};
    char *text = xcalloc(1, len + 1);
    union addr peer;
    struct buf out = {0};
    char *rest = text;
    char *query;

    if (len > 0)
        memcpy(text, data, len);
    request.uri = request.path = strsep(&rest, "\n");
    query = strchr(request.uri, '?');
    request.query = query ? query + 1 : "";
    request.nheaders = split_headers(headers, rest);
    addr_parse(&peer, len % 2 ? "[2001:db8::7]:4321" : "192.0.2.7:4321");

    superglobals_put(&out, &request, &peer, 8283);
    check_value(&out, 3);
    superglobals_put_question(&out, &request, &peer, 8283);
    check_value(&out, 7);
    params_put_query(&out, text);
    check_value(&out, PARAMS_VARS_MAX);
    params_put_cookies(&out, text);
    check_value(&out, PARAMS_VARS_MAX);
    buf_fini(&out);
    free(text);
    return 0;
}
