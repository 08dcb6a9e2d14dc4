/* Files lie one behind the other in a buffer, each with its lengths in front,
 * and as such in the memory file that outlives the worker. What stands there is
 * checked before it is used: a worker that crashed may have been writing. */
#include "worker/sources.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/log.h"
#include "worker/vm_impl.h"

/* In front of each file's path and text. */
struct entry {
    uint32_t path_len;
    uint32_t text_len;
};

/* The text of path in s; NULL when it is not there. */
static const char *find(const struct sources *s, const char *path, size_t *len)
{
    const uint8_t *p = s->files.data;
    const uint8_t *end = p + s->files.len;
    struct entry e;

    while (p < end) {
        memcpy(&e, p, sizeof(e));
        p += sizeof(e);
        *len = e.text_len;
        if (e.path_len == strlen(path) && memcmp(p, path, e.path_len) == 0)
            return (const char *)p + e.path_len;
        p += e.path_len + e.text_len;
    }
    return NULL;
}

/* Read the file and keep it. Its text; NULL when it is kept already, or cannot
 * be. */
static const char *collect(struct sources *s, const char *path, size_t *len)
{
    struct entry e = {.path_len = (uint32_t)strlen(path)};
    size_t start = s->files.len;
    FILE *file;
    size_t n;

    if (s->too_large || find(s, path, &n))
        return NULL;
    file = fopen(path, "rb");
    if (!file)
        return NULL;
    buf_append(&s->files, &e, sizeof(e));
    buf_append(&s->files, path, e.path_len);
    do {
        n = fread(buf_reserve(&s->files, BUFSIZ), 1, BUFSIZ, file);
        buf_commit(&s->files, n);
        e.text_len += (uint32_t)n;
        s->too_large = s->files.len > SOURCES_MAX;
    } while (n > 0 && !s->too_large);
    fclose(file);
    memcpy(s->files.data + start, &e, sizeof(e));
    *len = e.text_len;
    return s->too_large
               ? NULL
               : (const char *)s->files.data + start + sizeof(e) + e.path_len;
}

/* As luaL_loadfilex() does with a file: no byte order mark, and of a first line
 * for the shell only its end. */
static int load_text(lua_State *L, const char *path, const char *text, size_t n)
{
    const char *end = text + n;
    int status;

    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    if (text < end && *text == '#') {
        while (text < end && *text != '\n')
            text++;
    }
    lua_pushfstring(L, "@%s", path);
    status = luaL_loadbufferx(
        L, text, (size_t)(end - text), lua_tostring(L, -1), "t");
    lua_remove(L, -2);
    return status;
}

int sources_load(lua_State *L, const char *path)
{
    struct sources *s = vm_of(L)->sources;
    const char *text = NULL;
    size_t len = 0;

    if (s->mode == SOURCES_COLLECTED)
        text =
            collect(s, path, &len); /* read once: what is kept is what runs */
    else if (s->mode == SOURCES_REPLAYED)
        text = find(s, path, &len);
    if (text)
        return load_text(L, path, text, len);
    return luaL_loadfilex(L, path, "t"); /* or what is wrong */
}

int sources_loadfile(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    lua_settop(L, 3);
    if (sources_load(L, path) != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (!lua_isnil(L, 3)) {
        lua_pushvalue(L, 3);
        if (!lua_setupvalue(L, -2, 1))
            lua_pop(L, 1);
    }
    return 1;
}

int sources_has(lua_State *L)
{
    const struct sources *s = vm_of(L)->sources;
    const char *path = luaL_checkstring(L, 1);
    size_t len;

    lua_pushboolean(L, s->mode == SOURCES_REPLAYED && find(s, path, &len));
    return 1;
}

/* In fd: the number of bytes, which is 0 while they are being written, and the
 * bytes. */

bool sources_replay(struct sources *s, int fd)
{
    uint32_t len = 0;
    struct stat st;

    if (fd == 0 || fstat(fd, &st) < 0 ||
        pread(fd, &len, sizeof(len), 0) != sizeof(len) || len == 0 ||
        (size_t)st.st_size != sizeof(len) + len)
        return false;
    if (pread(fd, buf_extend(&s->files, len), len, sizeof(len)) != len) {
        sources_close(s);
        return false;
    }
    s->mode = SOURCES_REPLAYED;
    return true;
}

bool sources_differ(const struct sources *s, int fd)
{
    struct sources kept = {0};
    bool differ =
        sources_replay(&kept, fd) &&
        (kept.files.len != s->files.len ||
            memcmp(kept.files.data, s->files.data, kept.files.len) != 0);

    sources_close(&kept);
    return differ;
}

static bool write_at(int fd, const void *data, size_t len, off_t at)
{
    return pwrite(fd, data, len, at) == (ssize_t)len;
}

void sources_keep(const struct sources *s, int fd)
{
    const uint32_t none = 0;
    uint32_t len = (uint32_t)s->files.len;

    if (s->mode != SOURCES_COLLECTED)
        return;
    if (ftruncate(fd, 0) == 0 && !s->too_large &&
        write_at(fd, &none, sizeof(none), 0) &&
        write_at(fd, s->files.data, len, sizeof(len)) &&
        write_at(fd, &len, sizeof(len), 0))
        return;
    log_warn("the script is not kept, a worker that crashes after a refused "
             "reload will not have it bytes=%u",
        len);
}

void sources_close(struct sources *s)
{
    buf_fini(&s->files);
    *s = (struct sources){0};
}
