/* A request becomes one serialized array: nothing is kept, and of a header that
 * is repeated PHP gets one value, joined as its RFC says. */
#include "gateway/superglobals.h"

#include <stdbool.h>
#include <string.h>

#include "wire/params.h"
#include "wire/phpser.h"

static void put_text(struct buf *out, const char *text)
{
    if (text)
        phpser_put_string(out, text, strlen(text));
    else
        phpser_put_null(out);
}

static void put_pair(struct buf *out, const char *key, const char *text)
{
    phpser_put_string(out, key, strlen(key));
    put_text(out, text);
}

static void put_number(struct buf *out, const char *key, int64_t number)
{
    phpser_put_string(out, key, strlen(key));
    phpser_put_int(out, number);
}

/* Every name is compared with every other one: strcmp() is called only for
 * those that begin alike. */
static bool is_named(
    const struct client_conn_request *request, size_t i, const char *name)
{
    const char *own = request->headers[i].name;

    return own[0] == name[0] && strcmp(own, name) == 0;
}

static const char *find_header(
    const struct client_conn_request *request, const char *name)
{
    for (size_t i = 0; i < request->nheaders; i++)
        if (is_named(request, i, name))
            return request->headers[i].value;
    return NULL;
}

static bool is_repeated(const struct client_conn_request *request, size_t i)
{
    return find_header(request, request->headers[i].name) !=
           request->headers[i].value;
}

static size_t count_headers(const struct client_conn_request *request)
{
    size_t count = 0;

    for (size_t i = 0; i < request->nheaders; i++)
        count += !is_repeated(request, i);
    return count;
}

/* "x-real-ip" as "HTTP_X_REAL_IP". */
static void put_header_name(
    struct buf *out, struct buf *scratch, const char *name)
{
    buf_clear(scratch);
    buf_append_str(scratch, "HTTP_");
    for (; *name; name++) {
        char c = *name;

        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        buf_append_byte(scratch, c == '-' ? '_' : (uint8_t)c);
    }
    phpser_put_string(out, scratch->data, scratch->len);
}

/* The values of a header; of one that is repeated they are joined with commas
 * (RFC 9110 section 5.3), cookies with semicolons (RFC 6265 section 4.2.1). */
static void join_values(struct buf *out,
    const struct client_conn_request *request, const char *name)
{
    const char *separator = strcmp(name, "cookie") == 0 ? "; " : ",";

    buf_clear(out);
    for (size_t i = 0; i < request->nheaders; i++) {
        if (!is_named(request, i, name))
            continue;
        if (out->len > 0)
            buf_append_str(out, separator);
        buf_append_str(out, request->headers[i].value);
    }
}

static void put_header_value(struct buf *out, struct buf *scratch,
    const struct client_conn_request *request, const char *name)
{
    join_values(scratch, request, name);
    phpser_put_string(out, scratch->data, scratch->len);
}

static void put_headers(
    struct buf *out, const struct client_conn_request *request)
{
    struct buf scratch = {0};

    for (size_t i = 0; i < request->nheaders; i++) {
        if (is_repeated(request, i))
            continue;
        put_header_name(out, &scratch, request->headers[i].name);
        put_header_value(out, &scratch, request, request->headers[i].name);
    }
    buf_fini(&scratch);
}

static void put_server(struct buf *out,
    const struct client_conn_request *request, const union addr *peer,
    uint16_t server_port)
{
    char host[ADDR_TEXT_SIZE];

    phpser_put_array(
        out, 9 + count_headers(request) + (request->subprotocol != NULL));
    put_pair(out, "QUERY_STRING", request->query);
    put_pair(out, "REQUEST_METHOD", "GET");
    put_pair(out, "REQUEST_URI", request->uri);
    put_pair(out, "SERVER_PROTOCOL", "HTTP/1.1");
    put_pair(out, "SERVER_NAME", find_header(request, "host"));
    put_pair(out, "CONTENT_TYPE", find_header(request, "content-type"));
    put_pair(out, "REMOTE_ADDR", addr_format_host(host, peer));
    put_number(out, "REMOTE_PORT", addr_port(peer));
    put_number(out, "SERVER_PORT", server_port);
    put_headers(out, request);
    if (request->subprotocol)
        put_pair(out, "WEBSOCKET_PROTOCOL", request->subprotocol);
    phpser_put_end(out);
}

static size_t put_parts(struct buf *out,
    const struct client_conn_request *request, const union addr *peer,
    uint16_t server_port)
{
    struct buf cookies = {0};
    size_t left_out;

    join_values(&cookies, request, "cookie");
    buf_append_byte(&cookies, '\0');
    phpser_put_string(out, "get", 3);
    left_out = params_put_query(out, request->query);
    phpser_put_string(out, "server", 6);
    put_server(out, request, peer, server_port);
    phpser_put_string(out, "cookie", 6);
    left_out += params_put_cookies(out, (const char *)cookies.data);
    buf_fini(&cookies);
    return left_out;
}

size_t superglobals_put(struct buf *out,
    const struct client_conn_request *request, const union addr *peer,
    uint16_t server_port)
{
    size_t left_out;

    phpser_put_array(out, 3);
    left_out = put_parts(out, request, peer, server_port);
    phpser_put_end(out);
    return left_out;
}

size_t superglobals_put_question(struct buf *out,
    const struct client_conn_request *request, const union addr *peer,
    uint16_t server_port)
{
    char host[ADDR_TEXT_SIZE];
    struct buf scratch = {0};
    size_t left_out;

    phpser_put_array(out, 7);
    put_pair(out, "path", request->path);
    put_pair(out, "uri", request->uri);
    put_pair(out, "remote_addr", addr_format_host(host, peer));
    phpser_put_string(out, "headers", 7);
    phpser_put_array(out, count_headers(request));
    for (size_t i = 0; i < request->nheaders; i++) {
        if (is_repeated(request, i))
            continue;
        phpser_put_key(
            out, request->headers[i].name, strlen(request->headers[i].name));
        put_header_value(out, &scratch, request, request->headers[i].name);
    }
    phpser_put_end(out);
    buf_fini(&scratch);
    left_out = put_parts(out, request, peer, server_port);
    phpser_put_end(out);
    return left_out;
}
