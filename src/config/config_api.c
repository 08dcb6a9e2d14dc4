/* The push API of a gateway: where it is, who may reach it, and the file of its
 * keys, which is read by the master as TLS keys are: once for all processes,
 * and again at a reload. */
#include "config/config_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/apikeys.h"
#include "net/addr.h"
#include "util/alloc.h"

#define DEFAULT_PATH "/api"

static char *where_of(char out[CONFIG_WHERE_SIZE], size_t i, const char *key)
{
    snprintf(out, CONFIG_WHERE_SIZE, "gateways[%zu].%s", i + 1, key);
    return out;
}

/* "/api", "/internal/push": what needs no escapes and has no empty part. */
static bool is_path(const char *path)
{
    size_t len = strlen(path);

    if (path[0] != '/' || path[len - 1] == '/' || strstr(path, "//"))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)path[i]) && !strchr("/._~-", path[i]))
            return false;
    return true;
}

static void check_networks(
    struct config_load *l, size_t i, const char *const *networks)
{
    char where[CONFIG_WHERE_SIZE];
    struct addr_net net;

    where_of(where, i, "api.allow");
    for (; networks && *networks; networks++)
        if ((*networks)[0] != '\0' && addr_net_parse(&net, *networks) < 0)
            config_complain(l, where,
                "\"%s\" is not a network; give a numeric address, or one with "
                "zeros behind its prefix, such as \"10.0.0.0/8\"",
                *networks);
}

static void check_keys(
    struct config_load *l, size_t i, struct apigate_conf *api)
{
    char where[CONFIG_WHERE_SIZE], err[256];
    const struct config_file *file = config_check_file(
        l, where_of(where, i, "api.keys_file"), api->keys_name);
    struct apikeys *keys;

    if (!file)
        return;
    config_check_secret_mode(l, where, file->name);
    keys = apikeys_parse(file->text, err);
    if (keys)
        api->keys = file->text;
    else
        config_complain(l, where, "%s: %s", file->name, err);
    apikeys_free(keys);
}

void config_check_api(struct config_load *l, size_t i)
{
    struct port_conf *port = &l->c.gateways[i].conf.clients;
    struct apigate_conf *api = &port->api;
    char where[CONFIG_WHERE_SIZE];

    if (!api->keys_name)
        return;
    if (port->protocol && !port->protocol->begins_with_request)
        config_complain(l, where_of(where, i, "api"),
            "works on websocket and http ports only; remove it here");
    if (!api->path)
        api->path = DEFAULT_PATH;
    if (!is_path(api->path))
        config_complain(l, where_of(where, i, "api.path"),
            "\"%s\" is not a path; give letters, digits and \"._~-\" behind "
            "slashes, such as \"/api\"",
            api->path);
    check_networks(l, i, api->allow);
    check_keys(l, i, api);
}

char *config_check_keys(const char *path, const char *text)
{
    struct apikeys *keys;
    struct stat st;
    char err[256];

    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        return xasprintf(
            "%s can be read by other users; run chmod 600 %s", path, path);
    keys = apikeys_parse(text, err);
    if (!keys)
        return xasprintf("%s: %s", path, err);
    apikeys_free(keys);
    return NULL;
}
