/* From the Lua table of conf/gwrun.lua to C structures, by the tables of
 * fields in config_fields.c. Types, ranges and unknown keys are judged here and
 * nothing else. Memory belongs to the configuration as a whole and is freed
 * with it. */

#include "config/config_impl.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "util/typos.h"

#define WANT_SIZE 512

struct config_block {
    struct config_block *next;
    _Alignas(max_align_t) char data[];
};

void *config_alloc(struct config_memory *m, size_t size)
{
    struct config_block *b = xcalloc(1, sizeof(*b) + size);

    b->next = m->blocks;
    m->blocks = b;
    return b->data;
}

char *config_strdup(struct config_memory *m, const char *s)
{
    size_t len = strlen(s);

    return memcpy(config_alloc(m, len + 1), s, len);
}

void config_memory_free(struct config_memory *m)
{
    struct config_block *b = m->blocks;

    if (m->lua)
        lua_close(m->lua);
    m->lua = NULL;
    while (b) {
        struct config_block *next = b->next;

        free(b);
        b = next;
    }
    m->blocks = NULL;
    config_files_free(m->files);
    config_files_free(m->fresh);
    m->files = m->fresh = NULL;
}

char *config_lua_message(lua_State *L, const char *path)
{
    const char *message = lua_type(L, -1) == LUA_TSTRING
                              ? lua_tostring(L, -1)
                              : "ends with an error that is not a text";
    size_t n = strlen(CONFIG_CHUNK);

    if (strncmp(message, CONFIG_CHUNK ":", n + 1) == 0)
        return xasprintf("%s%s", path, message + n);
    return xasprintf("%s: %s", path, message);
}

void config_complain(
    struct config_load *l, const char *where, const char *fmt, ...)
{
    char line[2048];
    va_list ap;

    if (l->ncomplaints++ >= CONFIG_COMPLAINTS_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    buf_printf(&l->complaints, "%s: %s%s%s\n", l->c.path, where,
        where[0] ? ": " : "", line);
    if (l->ncomplaints == CONFIG_COMPLAINTS_MAX)
        buf_printf(&l->complaints, "%s: and more\n", l->c.path);
}

void config_warn(struct config_load *l, struct buf *lines, const char *where,
    const char *fmt, ...)
{
    char line[2048];
    va_list ap;

    if (l->memory->kept)
        return; /* the master said so */
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    buf_printf(
        lines, "%s: %s%s%s\n", l->c.path, where, where[0] ? ": " : "", line);
}

const char *config_show(char out[CONFIG_SHOW_SIZE], lua_State *L, int index)
{
    char quoted[LOG_QUOTE_SIZE];
    const char *text;
    size_t len;

    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        snprintf(out, CONFIG_SHOW_SIZE, "%s", log_quote(quoted, text, len));
        break;
    case LUA_TNUMBER:
        snprintf(out, CONFIG_SHOW_SIZE, "%.14g", lua_tonumber(L, index));
        break;
    case LUA_TBOOLEAN:
        snprintf(out, CONFIG_SHOW_SIZE, "%s",
            lua_toboolean(L, index) ? "true" : "false");
        break;
    default:
        snprintf(out, CONFIG_SHOW_SIZE, "a %s", luaL_typename(L, index));
        break;
    }
    return out;
}

/* What a field takes, in words. */
static const char *show_want(
    char out[WANT_SIZE], const struct config_field *field)
{
    size_t n = 0;

    if (field->want) {
        snprintf(out, WANT_SIZE, "%s", field->want);
        return out;
    }
    switch (field->kind) {
    case CONFIG_TEXT:
        snprintf(out, WANT_SIZE, "a string of %.0f to %.0f bytes", field->min,
            field->max);
        break;
    case CONFIG_TEXTS:
        snprintf(out, WANT_SIZE, "a string or a list of strings");
        break;
    case CONFIG_SIZE:
    case CONFIG_COUNT:
    case CONFIG_PORT:
        snprintf(out, WANT_SIZE, "a whole number from %.0f to %.0f", field->min,
            field->max);
        break;
    case CONFIG_SECONDS:
        snprintf(out, WANT_SIZE, "a number of seconds from %.14g to %.14g",
            field->min, field->max);
        break;
    case CONFIG_BOOL:
        snprintf(out, WANT_SIZE, "true or false");
        break;
    case CONFIG_WORD:
    case CONFIG_EITHER:
        for (size_t i = 0; field->words[i]; i++)
            n += (size_t)snprintf(out + n, WANT_SIZE - n, "%s\"%s\"",
                i == 0                ? ""
                : field->words[i + 1] ? ", "
                                      : " or ",
                field->words[i]);
        break;
    case CONFIG_TABLE:
    case CONFIG_ELSEWHERE:
        snprintf(out, WANT_SIZE, "a table { key = value, … }");
        break;
    }
    return out;
}

/* The string at index as a C string of min … max bytes, or NULL. */
static const char *read_text(
    struct config_load *l, lua_State *L, double min, double max)
{
    const char *text;
    size_t len;

    if (lua_type(L, -1) != LUA_TSTRING)
        return NULL;
    text = lua_tolstring(L, -1, &len);
    if (strlen(text) != len || (double)len < min || (double)len > max)
        return NULL;
    return config_strdup(l->memory, text);
}

/* A whole number from min to max, or -1. min is never below 0. */
static lua_Integer read_whole(lua_State *L, double min, double max)
{
    lua_Integer n;
    int whole = 0;

    if (lua_type(L, -1) != LUA_TNUMBER)
        return -1;
    n = lua_tointegerx(L, -1, &whole);
    return whole && (double)n >= min && (double)n <= max ? n : -1;
}

static int read_word(lua_State *L, const char *const *words)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        return -1;
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], lua_tostring(L, -1)) == 0)
            return i;
    }
    return -1;
}

/* Does the table on top have more than its first count entries? */
static bool has_more(lua_State *L, size_t count)
{
    size_t keys = 0;

    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        keys++;
    return keys > count;
}

/* One string or a list of them. NULL when it is neither. */
static const char *const *read_texts(struct config_load *l, lua_State *L,
    const char *where, const struct config_field *field)
{
    bool list = lua_type(L, -1) == LUA_TTABLE;
    size_t count = list ? lua_rawlen(L, -1) : 1;
    const char **texts;

    if (count == 0 || count > CONFIG_LIST_MAX || (list && has_more(L, count)))
        return NULL;
    texts = config_alloc(l->memory, (count + 1) * sizeof(*texts));
    for (size_t i = 0; i < count; i++) {
        char shown[CONFIG_SHOW_SIZE];

        if (list)
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
        texts[i] = read_text(l, L, field->min, field->max);
        if (!texts[i] && !list)
            return NULL;
        if (!texts[i])
            config_complain(l, where, "entry %zu is %s; give a string", i + 1,
                config_show(shown, L, -1));
        if (!texts[i])
            texts[i] = "";
        if (list)
            lua_pop(L, 1);
    }
    return texts;
}

/* Store a number of any kind at out. False when it is not one in range. */
static bool read_number(
    lua_State *L, const struct config_field *field, void *out)
{
    lua_Integer n = -1;
    double d;

    if (field->kind == CONFIG_SECONDS) {
        d = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(d >= field->min && d <= field->max)) /* also not a number */
            return false;
        *(double *)out = d;
        return true;
    }
    n = read_whole(L, field->min, field->max);
    if (n < 0)
        return false;
    if (field->kind == CONFIG_SIZE)
        *(size_t *)out = (size_t)n;
    else if (field->kind == CONFIG_COUNT)
        *(unsigned *)out = (unsigned)n;
    else
        *(uint16_t *)out = (uint16_t)n;
    return true;
}

/* Store the value on top of the stack at out. False when it is not what the
 * field takes. */
static bool read_scalar(struct config_load *l, lua_State *L, const char *where,
    const struct config_field *field, void *out)
{
    const char *text;
    const char *const *texts;
    int word;

    switch (field->kind) {
    case CONFIG_TEXT:
        text = read_text(l, L, field->min, field->max);
        if (text)
            *(const char **)out = text;
        return text != NULL;
    case CONFIG_TEXTS:
        texts = read_texts(l, L, where, field);
        if (texts)
            *(const char *const **)out = texts;
        return texts != NULL;
    case CONFIG_BOOL:
        if (lua_type(L, -1) != LUA_TBOOLEAN)
            return false;
        *(bool *)out = lua_toboolean(L, -1);
        return true;
    case CONFIG_WORD:
    case CONFIG_EITHER:
        word = read_word(L, field->words);
        if (word >= 0 && field->kind == CONFIG_EITHER)
            *(bool *)out = word == 1;
        else if (word >= 0)
            *(int *)out = word;
        return word >= 0;
    default:
        return read_number(L, field, out);
    }
}

/* The known key that someone who wrote this one meant, or NULL. */
static const char *find_similar(
    const char *key, const struct config_field *fields)
{
    const char *found = NULL;
    size_t fewest = TYPOS_MAX + 1;

    for (; fields->key; fields++) {
        size_t typos = typos_count(key, fields->key);

        if (typos < fewest && typos < strlen(fields->key) / 2 + 1) {
            fewest = typos;
            found = fields->key;
        }
    }
    return found;
}

static void join_where(
    char out[CONFIG_WHERE_SIZE], const char *where, const char *key)
{
    snprintf(
        out, CONFIG_WHERE_SIZE, "%s%s%.60s", where, where[0] ? "." : "", key);
}

static void complain_unknown(struct config_load *l, const char *where,
    const char *key, const struct config_field *fields)
{
    const char *similar = find_similar(key, fields);
    char quoted[LOG_QUOTE_SIZE];

    log_quote(quoted, key, strlen(key));
    if (similar)
        config_complain(
            l, where, "unknown key %s; did you mean \"%s\"?", quoted, similar);
    else
        config_complain(l, where,
            "unknown key %s; remove it (docs/configuration.md lists the keys)",
            quoted);
}

static void check_keys(struct config_load *l, lua_State *L, const char *where,
    const struct config_field *fields)
{
    char shown[CONFIG_SHOW_SIZE];

    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const struct config_field *f = fields;

        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            config_complain(l, where, "has an entry [%s]; write key = value",
                config_show(shown, L, -1));
            continue;
        }
        while (f->key && strcmp(f->key, lua_tostring(L, -1)) != 0)
            f++;
        if (!f->key)
            complain_unknown(l, where, lua_tostring(L, -1), fields);
    }
}

static void read_field(struct config_load *l, lua_State *L, const char *where,
    const struct config_field *field, void *base)
{
    char shown[CONFIG_SHOW_SIZE], want[WANT_SIZE];

    if (field->kind == CONFIG_ELSEWHERE)
        return;
    if (lua_isnil(L, -1)) {
        if (field->required)
            config_complain(
                l, where, "is missing; give %s", show_want(want, field));
    } else if (field->take_function && lua_isfunction(L, -1)) {
        field->take_function(l, L, base);
    } else if (field->kind == CONFIG_TABLE && lua_istable(L, -1)) {
        config_read_table(l, L, where, field->fields, base);
    } else if (field->kind == CONFIG_TABLE ||
               !read_scalar(l, L, where, field, (char *)base + field->offset)) {
        config_complain(l, where, "is %s; give %s", config_show(shown, L, -1),
            show_want(want, field));
    }
}

void config_read_table(struct config_load *l, lua_State *L, const char *where,
    const struct config_field *fields, void *base)
{
    luaL_checkstack(L, 8, "configuration");
    for (const struct config_field *f = fields; f->key; f++) {
        char path[CONFIG_WHERE_SIZE];

        join_where(path, where, f->key);
        lua_pushstring(L, f->key);
        lua_rawget(L, -2);
        read_field(l, L, path, f, base);
        lua_pop(L, 1);
    }
    check_keys(l, L, where, fields);
}
