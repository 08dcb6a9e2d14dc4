/* The statuses that gwrun gives, and problems: a problem is an answer like a
 * script's, so that it leaves the same way. */
#include "wire/httpstatus.h"

#include <string.h>

#include "wire/answer.h"

#define PROBLEM "application/problem+json"

const char *httpstatus_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };

    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return status < 400 ? "OK" : "Refused";
}

static void put_header(struct buf *out, const char *name, const char *value)
{
    answer_put_header(out, name, strlen(name), value, strlen(value));
}

/* All but the body. */
static void put_head(struct buf *out, unsigned status)
{
    answer_put_status(out, status);
    put_header(
        out, "content-type", status < 300 ? "application/json" : PROBLEM);
    put_header(out, "cache-control", "no-store");
    if (status == 401)
        put_header(out, "www-authenticate", "Bearer");
    if (status == 405)
        put_header(out, "allow", "POST");
    if (status == 429)
        put_header(out, "retry-after", "60");
    if (status == 503)
        put_header(out, "retry-after", "1");
}

void httpstatus_put_json(
    struct buf *out, unsigned status, const char *json, size_t len)
{
    put_head(out, status);
    answer_put(out, ANSWER_BODY, json, len);
}

void httpstatus_put_problem(
    struct buf *out, unsigned status, const char *code, const char *detail)
{
    size_t start;

    put_head(out, status);
    start = answer_begin(out, ANSWER_BODY);
    buf_printf(out,
        "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,"
        "\"code\":\"%s\",\"detail\":\"%s\"}",
        httpstatus_phrase(status), status, code, detail);
    answer_end(out, start);
}
