/* A line hook in each state of a script marks lines in a table by file.
 * Scripts run the same file again and again, so the file of the last line is
 * looked at first. */
#include "testing/coverage.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/list.h"

#define WATCH_KEY "gwrun.testing.coverage"

/* Lines of one file that have run. */
struct file {
    struct list node;
    char *path;  /* owned */
    bool *lines; /* owned; by number */
    size_t size; /* of lines */
};

struct coverage {
    struct list files;
    struct file *last; /* borrowed; the file of the last line, or NULL */
};

struct coverage *coverage_new(void)
{
    struct coverage *c = xcalloc(1, sizeof(*c));

    list_init(&c->files);
    return c;
}

void coverage_free(struct coverage *c)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &c->files) {
        struct file *f = LIST_ENTRY(node, struct file, node);

        free(f->path);
        free(f->lines);
        free(f);
    }
    free(c);
}

static struct file *find(struct coverage *c, const char *path)
{
    struct list *node;
    struct file *f;

    if (c->last && strcmp(c->last->path, path) == 0)
        return c->last;
    LIST_FOREACH (node, &c->files) {
        f = LIST_ENTRY(node, struct file, node);
        if (strcmp(f->path, path) == 0)
            return f;
    }
    f = xcalloc(1, sizeof(*f));
    f->path = xstrdup(path);
    list_init(&f->node);
    list_push_back(&c->files, &f->node);
    return f;
}

static void on_line(lua_State *L, lua_Debug *ar)
{
    struct coverage *c;
    size_t line = (size_t)ar->currentline, size;

    if (!lua_getinfo(L, "S", ar) || ar->source[0] != '@' ||
        !lua_checkstack(L, 1))
        return;
    lua_getfield(L, LUA_REGISTRYINDEX, WATCH_KEY);
    c = lua_touserdata(L, -1);
    lua_pop(L, 1);
    c->last = find(c, ar->source + 1);
    if (line >= c->last->size) {
        size = line * 2 + 64;
        c->last->lines = xrealloc(c->last->lines, size * sizeof(bool));
        memset(c->last->lines + c->last->size, 0,
            (size - c->last->size) * sizeof(bool));
        c->last->size = size;
    }
    c->last->lines[line] = true;
}

void coverage_watch(struct coverage *c, lua_State *L)
{
    lua_pushlightuserdata(L, c);
    lua_setfield(L, LUA_REGISTRYINDEX, WATCH_KEY);
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
}

void coverage_push(const struct coverage *c, lua_State *L)
{
    const struct list *node;

    lua_newtable(L);
    LIST_FOREACH (node, &c->files) {
        const struct file *f = LIST_ENTRY(node, struct file, node);

        lua_newtable(L);
        for (size_t i = 0; i < f->size; i++) {
            if (!f->lines[i])
                continue;
            lua_pushboolean(L, true);
            lua_rawseti(L, -2, (lua_Integer)i);
        }
        lua_setfield(L, -2, f->path);
    }
}
