/* One line of JSON into a struct that owns its copies (regmsg_fini()), and
 * back. Names of events stand in one table. */
#include "wire/regmsg.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "wire/phpjson.h"

static const char *const event_names[] = {
    [REGMSG_GATEWAY_CONNECT] = "gateway_connect",
    [REGMSG_WORKER_CONNECT] = "worker_connect",
    [REGMSG_PING] = "ping",
    [REGMSG_BROADCAST_ADDRESSES] = "broadcast_addresses",
};

static int parse_event(enum regmsg_event *out, const json_t *root)
{
    const char *name = json_string_value(json_object_get(root, "event"));

    if (!name)
        return -EPROTO;
    for (size_t i = 0; i < sizeof(event_names) / sizeof(event_names[0]); i++) {
        if (strcmp(name, event_names[i]) == 0) {
            *out = (enum regmsg_event)i;
            return 0;
        }
    }
    return -EPROTO;
}

static int parse_secret_key(struct regmsg *m, const json_t *root)
{
    const json_t *key = json_object_get(root, "secret_key");

    if (key && !json_is_null(key) && !json_is_string(key))
        return -EPROTO;
    m->secret_key = xstrdup(json_is_string(key) ? json_string_value(key) : "");
    return 0;
}

static int parse_address(struct regmsg *m, const json_t *root)
{
    const char *address = json_string_value(json_object_get(root, "address"));

    if (!address || !*address)
        return -EPROTO;
    m->address = xstrdup(address);
    return 0;
}

static int add_address(struct regmsg *m, const json_t *item)
{
    const char *address = json_string_value(item);

    if (!address || !*address)
        return -EPROTO;
    m->addresses[m->count++] = xstrdup(address);
    return 0;
}

/* A list, or an object: array_unique() leaves holes in the indexes of PHP's
 * array, and json_encode() then writes them as keys. */
static int parse_addresses(struct regmsg *m, json_t *root)
{
    json_t *list = json_object_get(root, "addresses");
    const char *key;
    json_t *item;
    size_t i;

    if (json_is_array(list)) {
        m->addresses = xcalloc(json_array_size(list) + 1, sizeof(char *));
        json_array_foreach(
            list, i, item) if (add_address(m, item) < 0) return -EPROTO;
        return 0;
    }
    if (!json_is_object(list))
        return -EPROTO;
    m->addresses = xcalloc(json_object_size(list) + 1, sizeof(char *));
    json_object_foreach(
        list, key, item) if (add_address(m, item) < 0) return -EPROTO;
    return 0;
}

static int parse_root(struct regmsg *m, json_t *root)
{
    int err = parse_event(&m->event, root);

    if (err == 0)
        err = parse_secret_key(m, root);
    if (err == 0 && m->event == REGMSG_GATEWAY_CONNECT)
        err = parse_address(m, root);
    if (err == 0 && m->event == REGMSG_BROADCAST_ADDRESSES)
        err = parse_addresses(m, root);
    return err;
}

int regmsg_parse(struct regmsg *out, const void *line, size_t len)
{
    struct regmsg m = {0};
    json_t *root;
    int err;

    root = len <= REGMSG_MAX_LEN ? json_loadb(line, len, 0, NULL) : NULL;
    if (!root)
        return -EPROTO;
    err = parse_root(&m, root);
    json_decref(root);
    if (err < 0)
        regmsg_fini(&m);
    else
        *out = m;
    return err;
}

void regmsg_fini(struct regmsg *m)
{
    free(m->secret_key);
    free(m->address);
    for (size_t i = 0; i < m->count; i++)
        free(m->addresses[i]);
    free(m->addresses);
}

static void put_event(struct buf *out, enum regmsg_event event)
{
    buf_append_str(out, "{\"event\":\"");
    buf_append_str(out, event_names[event]);
    buf_append_byte(out, '"');
}

static void put_field(struct buf *out, const char *key, const char *value)
{
    buf_append_str(out, ",\"");
    buf_append_str(out, key);
    buf_append_str(out, "\":");
    phpjson_put_string(out, value, strlen(value));
}

static void put_end(struct buf *out)
{
    buf_append_str(out, "}\n");
}

void regmsg_put_gateway_connect(
    struct buf *out, const char *address, const char *secret_key)
{
    put_event(out, REGMSG_GATEWAY_CONNECT);
    put_field(out, "address", address);
    put_field(out, "secret_key", secret_key);
    put_end(out);
}

void regmsg_put_worker_connect(struct buf *out, const char *secret_key)
{
    put_event(out, REGMSG_WORKER_CONNECT);
    put_field(out, "secret_key", secret_key);
    put_end(out);
}

void regmsg_put_ping(struct buf *out)
{
    put_event(out, REGMSG_PING);
    put_end(out);
}

void regmsg_put_broadcast_addresses(
    struct buf *out, const char *const *addresses, size_t count)
{
    put_event(out, REGMSG_BROADCAST_ADDRESSES);
    buf_append_str(out, ",\"addresses\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append_byte(out, ',');
        phpjson_put_string(out, addresses[i], strlen(addresses[i]));
    }
    buf_append_byte(out, ']');
    put_end(out);
}
