/* What every answer has, and the forms that they come in. */
#include <stdlib.h>
#include <string.h>

#include "admin/admin_impl.h"

/* Whatever is shown runs nothing from elsewhere, and in nobody's frame. */
#define CONTENT_POLICY                                          \
    "default-src 'none'; script-src 'self'; style-src 'self'; " \
    "img-src 'self'; connect-src 'self'; base-uri 'none'; "     \
    "form-action 'self'; frame-ancestors 'none'"

/* Of every answer: name and value. */
static const char *const headers[][2] = {
    {"content-security-policy", CONTENT_POLICY},
    {"x-content-type-options", "nosniff"},
    {"x-frame-options", "DENY"},
    {"referrer-policy", "no-referrer"},
    {"cross-origin-resource-policy", "same-origin"},
    {"cache-control", "no-store"},
};

void answers_put_header(struct call *call, const char *name, const char *value)
{
    answer_put_header(&call->answer, name, strlen(name), value, strlen(value));
}

void answers_put_head(struct call *call, unsigned status, const char *type)
{
    answer_put_status(&call->answer, status);
    if (type)
        answers_put_header(call, "content-type", type);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        answers_put_header(call, headers[i][0], headers[i][1]);
}

void answers_put(struct call *call, unsigned status, const char *type,
    const void *body, size_t len)
{
    answers_put_head(call, status, type);
    answer_put(&call->answer, ANSWER_BODY, body, len);
}

void answers_put_text(struct call *call, unsigned status, const char *text)
{
    answers_put(call, status, "text/plain; charset=utf-8", text, strlen(text));
}

/* Takes the reference to value. */
void answers_put_json(struct call *call, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));

    answers_put(call, status, "application/json", text, strlen(text));
    free(text);
    json_decref(value);
}

void answers_put_file(struct call *call, const char *name)
{
    answers_put_head(call, 200, NULL);
    answer_put(&call->answer, ANSWER_FILE, name, strlen(name));
}
