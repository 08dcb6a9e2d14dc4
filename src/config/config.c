/* Loading conf/gwrun.lua: its text, the Lua state that runs it, where its
 * folder and our Lua files are, and what becomes of it all when something is
 * wrong. The keys are in config_fields.c, what they mean in config_check.c. */

#include "config/config.h"

#include <errno.h>
#include <lauxlib.h>
#include <libgen.h>
#include <limits.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_impl.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/secret.h"

/* Where make install puts lua/. */
#ifndef GWRUN_LUA_DIR
#define GWRUN_LUA_DIR "/usr/local/share/gwrun/lua"
#endif

#define PARENTS_MAX    8 /* folders above the executable that are tried */
#define LUA_DIR_MARKER "gateway.lua" /* a file that only our lua/ has */

static void on_too_long(lua_State *L, lua_Debug *ar)
{
    luaL_where(L, 0);
    lua_pushfstring(L, "still running after %d steps; a configuration must end",
        CONFIG_STEPS_MAX);
    lua_concat(L, 2);
    lua_error(L);
}

struct source {
    struct config_load *load; /* borrowed */
    const char *text;         /* borrowed */
};

/* Protected: run the text and read the table that it returns. */
static int read_source(lua_State *L)
{
    struct source *s = lua_touserdata(L, 1);
    struct config_load *l = s->load;
    char shown[CONFIG_SHOW_SIZE];

    if (luaL_loadbufferx(L, s->text, strlen(s->text), "=" CONFIG_CHUNK, "t") !=
        LUA_OK)
        return lua_error(L);
    config_push_sandbox(l, L);
    lua_setupvalue(L, 2, 1);
    lua_settop(L, 2);
    lua_sethook(L, on_too_long, LUA_MASKCOUNT, CONFIG_STEPS_MAX);
    lua_call(L, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    if (!lua_istable(L, -1)) {
        config_complain(l, "", "returns %s; end it with return { … }",
            config_show(shown, L, -1));
        return 0;
    }
    config_read_keys(l, L);
    return 0;
}

static void *allocate(void *ud, void *ptr, size_t old_size, size_t size)
{
    struct config_memory *m = ud;
    size_t old = ptr ? old_size : 0;
    void *p;

    if (size == 0) {
        free(ptr);
        m->lua_used -= old;
        return NULL;
    }
    if (size > old && m->lua_used + (size - old) > CONFIG_MEMORY_MAX)
        return NULL;
    p = realloc(ptr, size);
    if (p)
        m->lua_used = m->lua_used - old + size;
    return p;
}

static void run_source(struct config_load *l, const char *text)
{
    struct source s = {.load = l, .text = text};
    lua_State *L = lua_newstate(allocate, l->memory);
    char *message;

    if (!L)
        fatal("out of memory for a Lua state");
    lua_pushcfunction(L, read_source);
    lua_pushlightuserdata(L, &s);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        message = config_lua_message(L, l->c.path);
        l->ncomplaints++;
        buf_printf(&l->complaints, "%s\n", message);
        free(message);
        lua_settop(L, 0);
    }
    if (l->has_functions)
        l->memory->lua = L;
    else
        lua_close(L);
}

/* The folder above conf/, or the file's own. NULL when there is none. */
static char *find_root(struct config_load *l)
{
    char *copy = xstrdup(l->c.path), real[PATH_MAX];
    char *slash, *root = NULL;

    if (realpath(dirname(copy), real)) {
        slash = strrchr(real, '/');
        if (slash && strcmp(slash, "/conf") == 0)
            slash[slash == real] = '\0';
        root = config_strdup(l->memory, real);
    }
    free(copy);
    return root;
}

/* lua/ in the source tree or share/gwrun/lua of the prefix that the executable
 * lies in. */
static const char *find_lua_dir(struct config_memory *memory)
{
    static const char *const places[] = {"lua", "share/gwrun/lua"};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

    exe[n > 0 ? n : 0] = '\0';
    for (int level = 0; level < PARENTS_MAX && strrchr(exe, '/'); level++) {
        *strrchr(exe, '/') = '\0';
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            char *dir = xasprintf("%s/%s", exe, places[i]);
            char *marker = xasprintf("%s/%s", dir, LUA_DIR_MARKER);
            const char *found = NULL;

            if (access(marker, R_OK) == 0)
                found = config_strdup(memory, dir);
            free(marker);
            free(dir);
            if (found)
                return found;
        }
    }
    return GWRUN_LUA_DIR;
}

/* The file's text, kept from now on. NULL after a complaint. */
static const char *read_text_file(struct config_load *l)
{
    char *text = xcalloc(1, CONFIG_TEXT_MAX + 2);
    FILE *file = fopen(l->c.path, "re");
    const struct config_file *kept = NULL;
    struct stat st;
    size_t len = 0;

    if (file && fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode))
        len = fread(text, 1, CONFIG_TEXT_MAX + 1, file);
    else
        config_complain(l, "",
            "cannot be read: %s; name the file with -c FILE, or make a "
            "project with gwrun new DIR",
            file ? "not a file" : strerror(errno));
    if (len > CONFIG_TEXT_MAX)
        config_complain(
            l, "", "is larger than %d bytes; make it smaller", CONFIG_TEXT_MAX);
    else if (strlen(text) != len)
        config_complain(l, "", "has a zero byte in it; give a text file");
    if (file)
        fclose(file);
    if (l->ncomplaints == 0)
        kept = config_file_add(&l->memory->files, CONFIG_TEXT_NAME, text, len);
    free(text);
    return kept ? kept->text : NULL;
}

void config_default(struct config *out)
{
    struct config_memory *memory = xcalloc(1, sizeof(*memory));

    *out = (struct config){.memory = memory, .warnings = "", .expired = ""};
    config_set_defaults(out);
    out->program_conf.lua_dir = find_lua_dir(memory);
}

/* What a configuration is read for. */
enum purpose {
    TO_SERVE,
    FOR_PROGRAM, /* config_load_program() */
    TO_FIND, /* config_find(): mistakes in what the file says do not count */
};

/* Lines for people as one text. */
static const char *finish_lines(struct config_memory *memory, struct buf *lines)
{
    const char *text;

    buf_append_byte(lines, '\0');
    text = config_strdup(memory, (const char *)lines->data);
    buf_fini(lines);
    return text;
}

/* Run the text, NULL after a complaint, and look at what it says. */
static void read_and_check(
    struct config_load *l, const char *text, enum purpose purpose)
{
    if (text && !l->c.root)
        config_complain(l, "",
            "its folder cannot be found: %s; run gwrun "
            "from a folder that exists",
            strerror(errno));
    if (!text || !l->c.root)
        return;
    run_source(l, text);
    if (purpose == TO_FIND)
        l->ncomplaints = 0;
    else if (config_runs(&l->c) || l->ncomplaints == 0)
        config_check(l);
}

/* What is started from one configuration runs on one machine. The first to
 * read it chooses the token, the others have it from config_keep(). */
static void name_machine(struct config *c, struct config_memory *memory)
{
    const struct config_file *f =
        config_file_find(memory->files, CONFIG_MACHINE_NAME);
    char token[SECRET_TOKEN_SIZE];

    if (!f) {
        secret_new_token(token);
        f = config_file_add(
            &memory->files, CONFIG_MACHINE_NAME, token, strlen(token));
    }
    for (size_t i = 0; i < c->ngateways; i++)
        c->gateways[i].conf.machine = f->text;
    for (size_t i = 0; i < c->nworkers; i++)
        c->workers[i].conf.machine = f->text;
    if (c->engine)
        c->engine->run = f->text;
}

/* Takes memory, which may hold files already. */
static int load(struct config *out, struct config_memory *memory,
    const char *path, enum purpose purpose, char **err)
{
    struct config_load l = {
        .memory = memory, .program = purpose == FOR_PROGRAM};
    const struct config_file *file =
        config_file_find(memory->files, CONFIG_TEXT_NAME);
    const char *text = file ? file->text : NULL;

    *err = NULL;
    l.c.memory = memory;
    config_set_defaults(&l.c);
    l.c.program_conf.lua_dir = find_lua_dir(memory);
    l.c.path = config_strdup(memory, path);
    l.c.root = find_root(&l);
    if (!text && !memory->kept)
        text = read_text_file(&l);
    read_and_check(&l, text, purpose);
    l.c.warnings = finish_lines(memory, &l.warnings);
    l.c.expired = finish_lines(memory, &l.expired);
    name_machine(&l.c, memory);
    if (l.ncomplaints > 0) {
        buf_append_byte(&l.complaints, '\0');
        *err = xstrdup((const char *)l.complaints.data);
        config_free(&l.c);
        memset(out, 0, sizeof(*out));
    } else {
        *out = l.c;
    }
    buf_fini(&l.complaints);
    return *err ? -EINVAL : 0;
}

int config_load(
    struct config *out, const char *path, const char *text, char **err)
{
    struct config_memory *memory = xcalloc(1, sizeof(*memory));

    if (text)
        config_file_add(&memory->files, CONFIG_TEXT_NAME, text, strlen(text));
    return load(out, memory, path, TO_SERVE, err);
}

int config_load_kept(struct config *out, const char *path, int fd, char **err)
{
    struct config_memory *memory = xcalloc(1, sizeof(*memory));

    if (config_files_take(memory, fd) == 0 &&
        config_file_find(memory->files, CONFIG_TEXT_NAME))
        return load(out, memory, path, TO_SERVE, err);
    config_memory_free(memory);
    free(memory);
    *err = xasprintf("no configuration at descriptor %d; only gwrun itself "
                     "starts child processes",
        fd);
    return -EINVAL;
}

int config_load_program(struct config *out, const char *path, char **err)
{
    return load(
        out, xcalloc(1, sizeof(struct config_memory)), path, FOR_PROGRAM, err);
}

int config_find(struct config *out, const char *path, char **err)
{
    return load(
        out, xcalloc(1, sizeof(struct config_memory)), path, TO_FIND, err);
}

bool config_runs(const struct config *c)
{
    return c->has_register || c->ngateways > 0 || config_worker_count(c) > 0 ||
           c->nprograms > 0;
}

unsigned config_worker_count(const struct config *c)
{
    unsigned count = 0;

    for (size_t i = 0; i < c->nworkers; i++)
        count += c->workers[i].count;
    return count;
}

bool config_works_for(const struct config *c, const struct config_gateway *g)
{
    for (size_t i = 0; i < c->nworkers; i++) {
        const struct config_workers *w = &c->workers[i];

        if (w->count > 0 &&
            (!g->conf.workers || strcmp(g->conf.workers, w->conf.name) == 0))
            return true;
    }
    return false;
}

size_t config_shared_keys(const struct config *c)
{
    size_t keys = c->nworkers > 0 ? 0 : c->program_conf.shared_keys;

    for (size_t i = 0; i < c->nworkers; i++) {
        if (c->workers[i].conf.shared_keys > keys)
            keys = c->workers[i].conf.shared_keys;
    }
    return keys;
}

bool config_is_open(const struct config *c)
{
    bool open = c->has_register && c->register_conf.secret_key[0] == '\0';

    for (size_t i = 0; i < c->ngateways; i++)
        open |= c->gateways[i].conf.secret_key[0] == '\0';
    return open;
}

void config_free(struct config *c)
{
    struct config_memory *memory = c->memory;

    if (memory) {
        config_memory_free(memory);
        free(memory);
    }
    memset(c, 0, sizeof(*c));
}
