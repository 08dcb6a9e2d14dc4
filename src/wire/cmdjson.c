/* Jansson reads; what is kept of it is copied, and PHP's rules of what is a key
 * or a number are applied here. */
#include "wire/cmdjson.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "wire/phpjson.h"

#define ID_DIGITS_MAX 10 /* of "4294967295" */

/* Called for every element of a list or object; key is NULL in a list. */
typedef int (*element_cb)(void *out, const char *key, const json_t *value);

/* Anything but a list or an object is -EPROTO. */
static int for_each(json_t *container, element_cb cb, void *out)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_array(container)) {
        json_array_foreach(
            container, i, value) if (cb(out, NULL, value) < 0) return -EPROTO;
        return 0;
    }
    if (!json_is_object(container))
        return -EPROTO;
    json_object_foreach(
        container, key, value) if (cb(out, key, value) < 0) return -EPROTO;
    return 0;
}

static size_t count_of(const json_t *container)
{
    return json_is_array(container) ? json_array_size(container)
                                    : json_object_size(container);
}

/* As PHP's isset(): there, and not null. */
static bool is_set(const json_t *value)
{
    return value && !json_is_null(value);
}

static json_t *load(const void *json, size_t len)
{
    if (len > CMDJSON_MAX_LEN)
        return NULL;
    return json_loadb(json, len, JSON_ALLOW_NUL, NULL);
}

/* Names: uids and groups. */

static void set_name(struct cmdjson_name *n, const char *data, size_t len)
{
    n->data = xmemdup(data, len);
    n->len = len;
}

/* Scalars become what PHP makes of them as an array's key. */
static int add_name(void *out, const char *key, const json_t *value)
{
    struct cmdjson_names *names = out;
    struct cmdjson_name *n = &names->items[names->count];
    char text[32];

    switch (json_typeof(value)) {
    case JSON_STRING:
        set_name(n, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
            json_integer_value(value));
        set_name(n, text, strlen(text));
        n->is_int = true;
        break;
    case JSON_NULL:
        set_name(n, "", 0);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        set_name(n, json_is_true(value) ? "1" : "0", 1);
        n->is_int = true;
        break;
    default:
        return -EPROTO;
    }
    names->count++;
    return 0;
}

static int read_names(struct cmdjson_names *out, json_t *container)
{
    out->items = xcalloc(count_of(container) + 1, sizeof(*out->items));
    return for_each(container, add_name, out);
}

int cmdjson_parse_names(struct cmdjson_names *out, const void *json, size_t len)
{
    struct cmdjson_names names = {0};
    json_t *root = load(json, len);
    int err;

    if (!root)
        return -EPROTO;
    err = read_names(&names, root);
    json_decref(root);
    if (err < 0)
        cmdjson_fini_names(&names);
    else
        *out = names;
    return err;
}

void cmdjson_fini_names(struct cmdjson_names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->items[i].data);
    free(n->items);
}

void cmdjson_put_names(struct buf *out, const struct cmdjson_names *names)
{
    buf_append_byte(out, '[');
    for (size_t i = 0; i < names->count; i++) {
        const struct cmdjson_name *n = &names->items[i];

        if (i > 0)
            buf_append_byte(out, ',');
        if (n->is_int)
            buf_append(out, n->data, n->len);
        else
            phpjson_put_string(out, n->data, n->len);
    }
    buf_append_byte(out, ']');
}

/* Connection ids. */

static int parse_id(uint32_t *out, const char *text, size_t len)
{
    uint64_t id = 0;

    if (len == 0 || len > ID_DIGITS_MAX)
        return -EPROTO;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EPROTO;
        id = id * 10 + (uint64_t)(text[i] - '0');
    }
    if (id > UINT32_MAX)
        return -EPROTO;
    *out = (uint32_t)id;
    return 0;
}

static int add_id_of_value(void *out, const char *key, const json_t *value)
{
    struct cmdjson_ids *ids = out;
    json_int_t id = json_integer_value(value);
    uint32_t *at = &ids->items[ids->count];

    if (json_is_string(value)) {
        if (parse_id(at, json_string_value(value), json_string_length(value)) <
            0)
            return -EPROTO;
    } else if (json_is_integer(value) && id >= 0 && id <= UINT32_MAX) {
        *at = (uint32_t)id;
    } else {
        return -EPROTO;
    }
    ids->count++;
    return 0;
}

static int add_id_of_key(void *out, const char *key, const json_t *value)
{
    struct cmdjson_ids *ids = out;

    if (!key)
        return add_id_of_value(out, key, value);
    if (!is_set(value))
        return 0;
    if (parse_id(&ids->items[ids->count], key, strlen(key)) < 0)
        return -EPROTO;
    ids->count++;
    return 0;
}

static int read_ids(struct cmdjson_ids *out, json_t *container, element_cb cb)
{
    out->items = xcalloc(count_of(container) + 1, sizeof(*out->items));
    return for_each(container, cb, out);
}

/* {"1":1,"3":3}, or [] as PHP writes an empty array. */
static void put_ids(struct buf *out, const struct cmdjson_ids *ids)
{
    if (ids->count == 0) {
        buf_append_str(out, "[]");
        return;
    }
    for (size_t i = 0; i < ids->count; i++) {
        buf_append_str(out, i > 0 ? ",\"" : "{\"");
        phpjson_put_uint(out, ids->items[i]);
        buf_append_str(out, "\":");
        phpjson_put_uint(out, ids->items[i]);
    }
    buf_append_byte(out, '}');
}

/* Who may ask: WORKER_CONNECT and GATEWAY_CLIENT_CONNECT. */

/* *out is a copy of the string, or stays as it is when there is none. */
static int read_string(char **out, const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);

    if (!is_set(value))
        return 0;
    if (!json_is_string(value))
        return -EPROTO;
    free(*out);
    *out = xmemdup(json_string_value(value), json_string_length(value));
    return 0;
}

static int add_feature(void *out, const char *key, const json_t *value)
{
    struct cmdjson_auth *a = out;

    if (!json_is_string(value))
        return -EPROTO;
    a->features[a->nfeatures++] = xstrdup(json_string_value(value));
    return 0;
}

static int read_token(char **out, const json_t *extension, const char *key)
{
    int err = read_string(out, extension, key);

    return *out && strlen(*out) > CMDJSON_TOKEN_MAX ? -EPROTO : err;
}

/* {"version":1,"features":["…"],"process":"…","pair":"…","machine":"…"} */
static int read_extension(struct cmdjson_auth *a, const json_t *extension)
{
    json_t *features = json_object_get(extension, "features");
    json_int_t version =
        json_integer_value(json_object_get(extension, "version"));

    if (!is_set(extension))
        return 0;
    if (version < 1 || version > INT_MAX ||
        count_of(features) > CMDJSON_FEATURES_MAX)
        return -EPROTO;
    a->gwrun = (int)version;
    if (read_token(&a->process, extension, "process") < 0 ||
        read_token(&a->pair, extension, "pair") < 0 ||
        read_token(&a->machine, extension, "machine") < 0)
        return -EPROTO;
    if (!features)
        return 0;
    a->features = xcalloc(count_of(features) + 1, sizeof(*a->features));
    return for_each(features, add_feature, a);
}

static int read_auth(struct cmdjson_auth *a, const json_t *root)
{
    if (!json_is_object(root))
        return -EPROTO;
    a->secret_key = xstrdup("");
    if (read_string(&a->worker_key, root, "worker_key") < 0 ||
        read_string(&a->secret_key, root, "secret_key") < 0)
        return -EPROTO;
    return read_extension(a, json_object_get(root, "gwrun"));
}

int cmdjson_parse_auth(struct cmdjson_auth *out, const void *json, size_t len)
{
    struct cmdjson_auth a = {0};
    /* Keys are C strings: one that holds a NUL is refused. */
    json_t *root =
        len <= CMDJSON_MAX_LEN ? json_loadb(json, len, 0, NULL) : NULL;
    int err;

    if (!root)
        return -EPROTO;
    err = read_auth(&a, root);
    json_decref(root);
    if (err < 0)
        cmdjson_fini_auth(&a);
    else
        *out = a;
    return err;
}

void cmdjson_fini_auth(struct cmdjson_auth *a)
{
    free(a->worker_key);
    free(a->secret_key);
    free(a->process);
    free(a->pair);
    free(a->machine);
    for (size_t i = 0; i < a->nfeatures; i++)
        free(a->features[i]);
    free(a->features);
}

bool cmdjson_has_feature(const struct cmdjson_auth *a, const char *name)
{
    for (size_t i = 0; i < a->nfeatures; i++)
        if (strcmp(a->features[i], name) == 0)
            return true;
    return false;
}

static void put_string(struct buf *out, const char *text)
{
    phpjson_put_string(out, text, strlen(text));
}

static void put_token(struct buf *out, const char *key, const char *token)
{
    if (!token)
        return;
    buf_printf(out, ",\"%s\":", key);
    put_string(out, token);
}

void cmdjson_put_auth(struct buf *out, const char *worker_key,
    const char *secret_key, const char *const *features,
    const struct cmdjson_tokens *tokens)
{
    buf_append_byte(out, '{');
    if (worker_key) {
        buf_append_str(out, "\"worker_key\":");
        put_string(out, worker_key);
        buf_append_byte(out, ',');
    }
    buf_append_str(out, "\"secret_key\":");
    put_string(out, secret_key);
    if (features) {
        buf_append_str(out, ",\"gwrun\":{\"version\":1,\"features\":[");
        for (size_t i = 0; features[i]; i++) {
            if (i > 0)
                buf_append_byte(out, ',');
            put_string(out, features[i]);
        }
        buf_append_byte(out, ']');
        if (tokens) {
            put_token(out, "process", tokens->process);
            put_token(out, "pair", tokens->pair);
            put_token(out, "machine", tokens->machine);
        }
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, '}');
}

/* Who is meant: SEND_TO_ALL and SEND_TO_GROUP. */

static int read_target(struct cmdjson_target *t, const json_t *root)
{
    json_t *connections = json_object_get(root, "connections");
    json_t *exclude = json_object_get(root, "exclude");
    json_t *groups = json_object_get(root, "group");
    int err = 0;

    /* PHP writes an empty array as a list. */
    if (!json_is_object(root) && json_array_size(root) > 0)
        return -EPROTO;
    t->has_connections = is_set(connections);
    /* PHP goes by the values of connections, but by the keys of exclude. */
    if (t->has_connections)
        err = read_ids(&t->connections, connections, add_id_of_value);
    if (err == 0 && is_set(exclude))
        err = read_ids(&t->exclude, exclude, add_id_of_key);
    if (err == 0 && is_set(groups))
        err = read_names(&t->groups, groups);
    return err;
}

int cmdjson_parse_target(
    struct cmdjson_target *out, const void *json, size_t len)
{
    struct cmdjson_target t = {0};
    json_t *root;
    int err;

    if (len == 0) {
        *out = t;
        return 0;
    }
    root = load(json, len);
    if (!root)
        return -EPROTO;
    err = read_target(&t, root);
    json_decref(root);
    if (err < 0)
        cmdjson_fini_target(&t);
    else
        *out = t;
    return err;
}

void cmdjson_fini_target(struct cmdjson_target *t)
{
    free(t->connections.items);
    free(t->exclude.items);
    cmdjson_fini_names(&t->groups);
}

void cmdjson_put_all_target(struct buf *out,
    const struct cmdjson_ids *connections, const struct cmdjson_ids *exclude)
{
    if (connections) {
        buf_append_str(out, "{\"connections\":");
        put_ids(out, connections);
        buf_append_byte(out, '}');
    } else if (exclude && exclude->count > 0) {
        buf_append_str(out, "{\"exclude\":");
        put_ids(out, exclude);
        buf_append_byte(out, '}');
    }
}

void cmdjson_put_group_target(struct buf *out,
    const struct cmdjson_names *groups, const struct cmdjson_ids *exclude)
{
    buf_append_str(out, "{\"group\":");
    cmdjson_put_names(out, groups);
    buf_append_str(out, ",\"exclude\":");
    if (exclude && exclude->count > 0)
        put_ids(out, exclude);
    else
        buf_append_str(out, "null");
    buf_append_byte(out, '}');
}

/* SELECT. */

static int add_field(void *out, const char *key, const json_t *value)
{
    struct cmdjson_select *s = out;
    const char *name = json_string_value(value);

    if (!name)
        return -EPROTO;
    if (strcmp(name, "session") == 0)
        s->session = true;
    else if (strcmp(name, "uid") == 0)
        s->uid = true;
    else if (strcmp(name, "groups") == 0)
        s->groups = true;
    return 0; /* a field that clients do not have */
}

static int read_select(struct cmdjson_select *s, const json_t *root)
{
    json_t *where = json_object_get(root, "where");
    json_t *groups = json_object_get(where, "groups");
    json_t *uids = json_object_get(where, "uid");
    json_t *ids = json_object_get(where, "connection_id");
    int err = for_each(json_object_get(root, "fields"), add_field, s);

    if (err < 0 || !is_set(where))
        return err;
    if (!json_is_object(where) && !json_is_array(where))
        return -EPROTO;
    s->has_where = count_of(where) > 0;
    s->where_mine = json_object_get(where, "mine") != NULL;
    if (is_set(groups))
        err = read_names(&s->where_groups, groups);
    if (err == 0 && is_set(uids))
        err = read_names(&s->where_uids, uids);
    if (err == 0 && is_set(ids))
        err = read_ids(&s->where_ids, ids, add_id_of_value);
    return err;
}

int cmdjson_parse_select(
    struct cmdjson_select *out, const void *json, size_t len)
{
    struct cmdjson_select s = {0};
    json_t *root = load(json, len);
    int err;

    if (!root)
        return -EPROTO;
    err = read_select(&s, root);
    json_decref(root);
    if (err < 0)
        cmdjson_fini_select(&s);
    else
        *out = s;
    return err;
}

void cmdjson_fini_select(struct cmdjson_select *s)
{
    cmdjson_fini_names(&s->where_groups);
    cmdjson_fini_names(&s->where_uids);
    free(s->where_ids.items);
}

/* Begin the next element of a list or object. */
static void put_comma(struct buf *out, bool *first)
{
    if (!*first)
        buf_append_byte(out, ',');
    *first = false;
}

static void put_field(struct buf *out, bool *first, const char *name)
{
    put_comma(out, first);
    put_string(out, name);
}

static void put_where(struct buf *out, const struct cmdjson_select *s)
{
    bool first = true;

    buf_append_byte(out, '{');
    if (s->where_groups.count > 0) {
        put_comma(out, &first);
        buf_append_str(out, "\"groups\":");
        cmdjson_put_names(out, &s->where_groups);
    }
    if (s->where_uids.count > 0) {
        put_comma(out, &first);
        buf_append_str(out, "\"uid\":");
        cmdjson_put_names(out, &s->where_uids);
    }
    if (s->where_mine) {
        put_comma(out, &first);
        buf_append_str(out, "\"mine\":true");
    }
    /* An empty object would mean every client, so nobody is written out. */
    if (s->where_ids.count > 0 || first) {
        put_comma(out, &first);
        buf_append_str(out, "\"connection_id\":");
        put_ids(out, &s->where_ids);
    }
    buf_append_byte(out, '}');
}

void cmdjson_put_select(struct buf *out, const struct cmdjson_select *s)
{
    bool first = true;

    buf_append_str(out, "{\"fields\":[");
    if (s->session)
        put_field(out, &first, "session");
    if (s->uid)
        put_field(out, &first, "uid");
    if (s->groups)
        put_field(out, &first, "groups");
    buf_append_str(out, "],\"where\":");
    if (s->has_where)
        put_where(out, s);
    else
        buf_append_str(out, "[]");
    buf_append_byte(out, '}');
}
