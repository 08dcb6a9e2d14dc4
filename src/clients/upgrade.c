/* What RFC 6455 section 4.2.1 wants of a request, and the port of who sends it.
 * A browser's page cannot forge what is looked at here. */
#include "clients/upgrade.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "clients/origin.h"
#include "clients/response.h"

/* Whether one of these headers, comma-separated lists, names word, in any
 * case. */
static bool lists(
    const struct httphead *head, const char *name, const char *word)
{
    struct httphead_list list = {.head = head, .name = name};
    const char *text;
    size_t len;

    while (httphead_next(&list, &text, &len))
        if (len == strlen(word) && strncasecmp(text, word, len) == 0)
            return true;
    return false;
}

/* Browsers always say where a page comes from, once; others need not. */
static bool is_origin_allowed(
    const struct port_conf *conf, const struct httphead *head)
{
    const char *const *allowed = conf->allowed_origins;
    const char *text;

    return allowed == NULL ||
           origin_of(head, allowed, "", &text) <= ORIGIN_LISTED;
}

static bool has_key(const struct httphead *head)
{
    const char *key;
    size_t n = 0;

    if (!httphead_find_only(head, "sec-websocket-key", &key) || key == NULL)
        return false;
    while (isalnum((uint8_t)key[n]) || key[n] == '+' || key[n] == '/')
        n++;
    return n == RESPONSE_KEY_LEN - 2 && strcmp(key + n, "==") == 0;
}

/* A script may have a subprotocol carry a credential, since browsers let a
 * page set no other header, so it may be as long as the head. */
static bool offers_tokens(const struct httphead *head)
{
    struct httphead_list list = {.head = head, .name = RESPONSE_SUBPROTOCOL};
    const char *text;
    size_t len;

    if (httphead_find(head, RESPONSE_SUBPROTOCOL) == NULL)
        return true;
    return httphead_next(&list, &text, &len) && httphead_is_token(text, len);
}

unsigned upgrade_guard(const struct port_conf *conf,
    const struct httphead *head, const struct httprequest *meaning)
{
    const char *version;

    if (strcmp(head->method, "GET") != 0)
        return 405;
    if (!httphead_find_only(head, "sec-websocket-version", &version))
        return 400;
    if (version == NULL || strcmp(version, "13") != 0)
        return 426;
    if (!has_key(head))
        return 400;
    if (!is_origin_allowed(conf, head))
        return 403;
    if (meaning->chunked || meaning->length > 0 || head->minor != 1 ||
        !lists(head, "connection", "upgrade") || !offers_tokens(head))
        return 400;
    return 0;
}

bool upgrade_is_wanted(const struct httphead *head)
{
    return lists(head, "upgrade", "websocket");
}
