/* Client ids: what is accepted is written again, in lower case. */
#include "fuzz.h"

#include <strings.h>

#include "wire/client_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[CLIENT_ID_LEN + 1];
    struct client_id id;

    if (client_id_parse(&id, (const char *)data, len) < 0)
        return 0;
    client_id_format(text, &id);
    assert(len == CLIENT_ID_LEN);
    assert(strncasecmp(text, (const char *)data, len) == 0);
    return 0;
}
