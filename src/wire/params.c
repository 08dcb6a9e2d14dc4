/* Names build a tree of nodes in one array; the tree is then written as PHP's
 * serialized arrays and freed. */
#include "wire/params.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "wire/phpser.h"

#define NONE UINT32_MAX /* no node */

/* A value, or an array of them. Nodes lie in one array and name each other by
 * index; node 0 is the outermost array. */
struct node {
    char *key;      /* borrowed from the decoded text, or owned if own_key */
    char *value;    /* borrowed; NULL: an array */
    size_t key_len; /* bytes */
    size_t value_len;
    uint32_t first, last, next; /* children, sibling */
    uint32_t count;             /* children */
    int64_t next_index;         /* the key that [] gets */
    bool own_key;
};

struct params {
    struct node *nodes; /* owned */
    size_t count, cap;
    size_t left_out; /* names: too many, or too deep */
};

static uint32_t node_new(struct params *p)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->nodes = xrealloc(p->nodes, p->cap * sizeof(*p->nodes));
    }
    p->nodes[p->count] =
        (struct node){.first = NONE, .last = NONE, .next = NONE};
    return (uint32_t)p->count++;
}

static void params_fini(struct params *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->nodes[i].own_key)
            free(p->nodes[i].key);
    free(p->nodes);
}

/* Keep [] above every whole number used as a key: PHP's next free index. */
static void note_index(struct node *array, const char *key, size_t len)
{
    int64_t value = 0;

    if (len == 0 || len > 18 || (key[0] == '0' && len > 1))
        return;
    for (size_t i = 0; i < len; i++) {
        if (key[i] < '0' || key[i] > '9')
            return;
        value = value * 10 + (key[i] - '0');
    }
    if (value >= array->next_index)
        array->next_index = value + 1;
}

/* The child of array with this key, made when there is none. key NULL is the
 * next free index. */
static uint32_t child(
    struct params *p, uint32_t array, char *key, size_t key_len)
{
    bool own_key = key == NULL;
    uint32_t i;

    if (own_key) {
        key = xasprintf("%lld", (long long)p->nodes[array].next_index);
        key_len = strlen(key);
    }
    for (i = p->nodes[array].first; i != NONE; i = p->nodes[i].next)
        if (p->nodes[i].key_len == key_len &&
            memcmp(p->nodes[i].key, key, key_len) == 0)
            break;
    if (i != NONE) {
        if (own_key)
            free(key);
        return i;
    }
    i = node_new(p);
    p->nodes[i].key = key;
    p->nodes[i].key_len = key_len;
    p->nodes[i].own_key = own_key;
    if (p->nodes[array].last == NONE)
        p->nodes[array].first = i;
    else
        p->nodes[p->nodes[array].last].next = i;
    p->nodes[array].last = i;
    p->nodes[array].count++;
    note_index(&p->nodes[array], key, key_len);
    return i;
}

/* Give node i a value in place of what it held; the node keeps its place. */
static void set_value(struct params *p, uint32_t i, char *value, size_t len)
{
    p->nodes[i].value = value;
    p->nodes[i].value_len = len;
    p->nodes[i].first = p->nodes[i].last = NONE;
    p->nodes[i].count = 0;
    p->nodes[i].next_index = 0;
}

/* A part of a name: where it is, and what is behind it. */
struct key {
    char *text; /* NULL for [] */
    size_t len;
};

/* Take "name[a][][b]" apart, in place. The number of keys; 0: not a name;
 * -E2BIG: too deep. */
static int split_name(struct key keys[PARAMS_DEPTH_MAX], char *name)
{
    int n = 0;
    char *at;

    while (*name == ' ')
        name++;
    for (at = name; *at && *at != '['; at++)
        if (*at == ' ' || *at == '.')
            *at = '_';
    if (at == name)
        return 0;
    keys[n++] = (struct key){name, (size_t)(at - name)};
    while (*at == '[') {
        char *start = at + 1;
        char *end = strchr(start, ']');

        if (!end) {
            if (n > 1) /* what is left of "a[b][c" is dropped */
                break;
            for (; *at; at++) /* "a[b" is the name "a_b" */
                if (*at == '[' || *at == ' ' || *at == '.')
                    *at = '_';
            keys[0].len = (size_t)(at - name);
            break;
        }
        if (n == PARAMS_DEPTH_MAX)
            return -E2BIG;
        at = end + 1;
        if (isspace((unsigned char)*start) && start + 1 == end)
            start++;
        keys[n].text = start == end ? NULL : start;
        keys[n++].len = (size_t)(end - start);
    }
    return n;
}

static void set_nested(struct params *p, char *name, char *value, size_t len)
{
    struct key keys[PARAMS_DEPTH_MAX];
    int n = split_name(keys, name);
    uint32_t at = 0;

    if (n < 0)
        p->left_out++;
    if (n <= 0)
        return;
    for (int i = 0; i < n; i++) {
        if (p->nodes[at].value)
            set_value(p, at, NULL, 0); /* a value becomes an array */
        at = child(p, at, keys[i].text, keys[i].len);
    }
    set_value(p, at, value, len);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; text ends with a NUL before and after. Returns the new length. */
static size_t url_decode(char *text)
{
    char *to = text;

    for (const char *at = text; *at; at++) {
        if (*at == '+') {
            *to++ = ' ';
        } else if (*at == '%' && hex_digit(at[1]) >= 0 &&
                   hex_digit(at[2]) >= 0) {
            *to++ = (char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
            at += 2;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}

/* Recursion is bounded by PARAMS_DEPTH_MAX. */
static void put_node(struct buf *out, const struct params *p, uint32_t at)
{
    const struct node *n = &p->nodes[at];

    if (n->value) {
        phpser_put_string(out, n->value, n->value_len);
        return;
    }
    phpser_put_array(out, n->count);
    for (uint32_t i = n->first; i != NONE; i = p->nodes[i].next) {
        phpser_put_key(out, p->nodes[i].key, p->nodes[i].key_len);
        put_node(out, p, i);
    }
    phpser_put_end(out);
}

/* "name=value" or "name". False: part is neither and does not count. */
static bool add_variable(struct params *p, char *part)
{
    char *value = strchr(part, '=');

    if (*part == '\0')
        return false;
    if (value)
        *value++ = '\0';
    else
        value = part + strlen(part);
    url_decode(part);
    set_nested(p, part, value, url_decode(value));
    return true;
}

/* "name=value"; blanks around the name do not belong to it. */
static bool add_cookie(struct params *p, char *part)
{
    char *equals = strchr(part, '=');
    char *end = equals;

    if (!equals)
        return false;
    while (part < end && isspace((unsigned char)*part))
        part++;
    while (end > part && isspace((unsigned char)end[-1]))
        end--;
    set_value(p, child(p, 0, part, (size_t)(end - part)), equals + 1,
        strlen(equals + 1));
    return true;
}

/* Append the array of what add() makes of the parts between separators. How
 * many names did not get in. */
static size_t put_parts(struct buf *out, const char *list,
    const char *separator, bool (*add)(struct params *p, char *part))
{
    char *text = xstrdup(list); /* nodes point into it */
    struct params p = {0};
    char *rest = text;
    size_t vars = 0;
    char *part;

    node_new(&p);
    while ((part = strsep(&rest, separator))) {
        if (vars < PARAMS_VARS_MAX)
            vars += add(&p, part);
        else
            p.left_out += part[strspn(part, " ")] != '\0';
    }
    put_node(out, &p, 0);
    params_fini(&p);
    free(text);
    return p.left_out;
}

size_t params_put_query(struct buf *out, const char *query)
{
    return put_parts(out, query, "&", add_variable);
}

size_t params_put_cookies(struct buf *out, const char *header)
{
    return put_parts(out, header, ";", add_cookie);
}
