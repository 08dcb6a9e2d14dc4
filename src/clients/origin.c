/* Whose page asks: the Origin header (RFC 6454 section 7), which browsers send
 * and no page can change. */
#include "clients/origin.h"

#include <string.h>
#include <strings.h>

static bool is_listed(const char *const *allowed, const char *origin)
{
    for (; allowed != NULL && *allowed != NULL; allowed++)
        if (strcasecmp(*allowed, origin) == 0)
            return true;
    return false;
}

/* Scheme, host and port are the request's own. */
static bool is_own(
    const struct httphead *head, const char *scheme, const char *origin)
{
    const char *host = httphead_find(head, "host");
    size_t len = strlen(scheme);

    return host != NULL && strncasecmp(origin, scheme, len) == 0 &&
           strncmp(origin + len, "://", 3) == 0 &&
           strcasecmp(origin + len + 3, host) == 0;
}

enum origin origin_of(const struct httphead *head, const char *const *allowed,
    const char *scheme, const char **text)
{
    if (!httphead_find_only(head, "origin", text))
        return ORIGIN_FOREIGN;
    if (*text == NULL)
        return ORIGIN_NONE;
    if (is_listed(allowed, *text))
        return ORIGIN_LISTED;
    return is_own(head, scheme, *text) ? ORIGIN_OWN : ORIGIN_FOREIGN;
}
