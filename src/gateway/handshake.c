#include "gateway/handshake.h"

#include <stdbool.h>
#include <string.h>

#include "gateway/params.h"
#include "wire/phpser.h"

static void put_text(struct buf *out, const char *text)
{
    if (text)
        phpser_put_string(out, text, strlen(text));
    else
        phpser_put_null(out);
}

static void put_entry(struct buf *out, const char *key, const char *text)
{
    phpser_put_string(out, key, strlen(key));
    put_text(out, text);
}

static void put_number(struct buf *out, const char *key, int64_t number)
{
    phpser_put_string(out, key, strlen(key));
    phpser_put_int(out, number);
}

static const char *find_header(
    const struct client_io_request *request, const char *name)
{
    for (size_t i = 0; i < request->nheaders; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

static bool is_repeated(const struct client_io_request *request, size_t i)
{
    return find_header(request, request->headers[i].name) !=
           request->headers[i].value;
}

static size_t count_headers(const struct client_io_request *request)
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

/* Values of a repeated header are joined with commas. */
static void put_header_value(struct buf *out, struct buf *scratch,
    const struct client_io_request *request, size_t first)
{
    const char *name = request->headers[first].name;

    buf_clear(scratch);
    buf_append_str(scratch, request->headers[first].value);
    for (size_t i = first + 1; i < request->nheaders; i++) {
        if (strcmp(request->headers[i].name, name) != 0)
            continue;
        buf_append_byte(scratch, ',');
        buf_append_str(scratch, request->headers[i].value);
    }
    phpser_put_string(out, scratch->data, scratch->len);
}

static void put_headers(
    struct buf *out, const struct client_io_request *request)
{
    struct buf scratch = {0};

    for (size_t i = 0; i < request->nheaders; i++) {
        if (is_repeated(request, i))
            continue;
        put_header_name(out, &scratch, request->headers[i].name);
        put_header_value(out, &scratch, request, i);
    }
    buf_fini(&scratch);
}

static void put_server(struct buf *out, const struct client_io_request *request,
    const union addr *peer, uint16_t server_port)
{
    char host[ADDR_TEXT_SIZE];

    phpser_put_array(out, 9 + count_headers(request));
    put_entry(out, "QUERY_STRING", request->query);
    put_entry(out, "REQUEST_METHOD", "GET");
    put_entry(out, "REQUEST_URI", request->uri);
    put_entry(out, "SERVER_PROTOCOL", "HTTP/1.1");
    put_entry(out, "SERVER_NAME", find_header(request, "host"));
    put_entry(out, "CONTENT_TYPE", find_header(request, "content-type"));
    put_entry(out, "REMOTE_ADDR", addr_format_host(host, peer));
    put_number(out, "REMOTE_PORT", addr_port(peer));
    put_number(out, "SERVER_PORT", server_port);
    put_headers(out, request);
    phpser_put_end(out);
}

static void put_parts(struct buf *out, const struct client_io_request *request,
    const union addr *peer, uint16_t server_port)
{
    const char *cookies = find_header(request, "cookie");

    phpser_put_string(out, "get", 3);
    params_put_query(out, request->query);
    phpser_put_string(out, "server", 6);
    put_server(out, request, peer, server_port);
    phpser_put_string(out, "cookie", 6);
    params_put_cookies(out, cookies ? cookies : "");
}

void handshake_put(struct buf *out, const struct client_io_request *request,
    const union addr *peer, uint16_t server_port)
{
    phpser_put_array(out, 3);
    put_parts(out, request, peer, server_port);
    phpser_put_end(out);
}

void handshake_put_question(struct buf *out,
    const struct client_io_request *request, const union addr *peer,
    uint16_t server_port)
{
    char host[ADDR_TEXT_SIZE];
    struct buf scratch = {0};

    phpser_put_array(out, 7);
    put_entry(out, "path", request->path);
    put_entry(out, "uri", request->uri);
    put_entry(out, "remote_addr", addr_format_host(host, peer));
    phpser_put_string(out, "headers", 7);
    phpser_put_array(out, count_headers(request));
    for (size_t i = 0; i < request->nheaders; i++) {
        if (is_repeated(request, i))
            continue;
        phpser_put_key(
            out, request->headers[i].name, strlen(request->headers[i].name));
        put_header_value(out, &scratch, request, i);
    }
    phpser_put_end(out);
    buf_fini(&scratch);
    put_parts(out, request, peer, server_port);
    phpser_put_end(out);
}
