/* The names of the protocols, as listen = "name://host:port" has them. */
#include "clients/protocol.h"

#include <string.h>
#include <strings.h>

static const struct protocol_scheme schemes[] = {
    {"websocket://", &proto_websocket, false},
    {"ws://", &proto_websocket, false},
    {"wss://", &proto_websocket, true},
    {"http://", &proto_http, false},
    {"https://", &proto_http, true},
    {"text://", &proto_text, false},
    {"frame://", &proto_frame, false},
    {"tcp://", &proto_tcp, false},
};

const struct protocol_scheme *protocol_find(const char *listen)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncasecmp(listen, schemes[i].prefix, strlen(schemes[i].prefix)) ==
            0)
            return &schemes[i];
    return NULL;
}
