/* gwrun new: a folder with a project in it, ready to start. The files are
 * those of lua/new/ with some words filled in. A folder that has something in
 * it is never written to, and the key of the inner ports is random and its
 * owner's alone. */

#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/buf.h"

#define READ_ROOM   4096          /* bytes offered to one read */
#define SECRET_FILE "conf/secret" /* as lua/new/conf/gwrun.lua names it */
#define SECRET_LEN  32            /* bytes; it has two digits for each */
#define LINE        "  %-22s %s\n"

static const char help[] =
    "usage: gwrun new [-t TEMPLATE] DIR\n"
    "\n"
    "Makes a project in DIR: configuration, script, its tests, a page, and what\n"
    "editors and luacheck want to know. DIR may be there, if it is empty.\n"
    "\n"
    "  -t, --template chat|push|device|game\n"
    "                     what it begins as: people who talk (that is usual);\n"
    "                     pages that listen and programs that push; devices and\n"
    "                     their operators; matches of two players\n";

/* What a project consists of, in lua/new/ and in the new folder. */
struct file {
    const char *path;
    const char *what; /* NULL: not worth a line */
};

/* Of a template, lua/new-NAME/ has what differs from lua/new/. */
static const struct template
{
    const char *name;
    struct file more[3];
    struct file keys[3]; /* made at random, with what stands in front of them */
}
templates[] = {
    {"chat", {{0}}, {{0}}},
    {"push", {{"scripts/token.lua", "makes tokens for visitors"}},
        {{"conf/token-key", ""}, {"conf/api-keys", "site "}}},
    {"device",
        {{"scripts/operators.lua", "what operators see and order"},
            {"scripts/key.lua", "the key of a device"}},
        {{"conf/device-key", ""}}},
    {"game", {{"scripts/rules.lua", "the rules"}}, {{0}}},
};

#define TEMPLATES (sizeof(templates) / sizeof(templates[0]))

static const struct file files[] = {
    {"conf/gwrun.lua", "what runs where"},
    {"scripts/events.lua", "what happens to clients"},
    {"spec/events_spec.lua", "the script's tests"},
    {"www/index.html", "what browsers get"},
    {"README.md", "how to run it"},
    {".busted", NULL},
    {".gitignore", NULL},
    {".luacheckrc", NULL},
    {".luarc.json", NULL},
};

#define FILES (sizeof(files) / sizeof(files[0]))

/* What the words between @ in the files stand for. */
struct words {
    const char *name;    /* @NAME@: the project's */
    const char *lua_dir; /* @LUA_DIR@: as it is within a JSON string */
};

static int fail(const char *what, const char *path)
{
    cli_error("new: cannot %s %s: %s", what, path, strerror(errno));
    return CLI_FAILED;
}

/* The whole file behind out. 0, or the exit status. */
static int read_file(struct buf *out, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;

    while (
        fd >= 0 && (n = read(fd, buf_reserve(out, READ_ROOM), READ_ROOM)) > 0)
        buf_commit(out, (size_t)n);
    if (n < 0)
        fail("read", path);
    if (fd >= 0)
        close(fd);
    return n < 0 ? CLI_FAILED : CLI_DONE;
}

static int write_file(const char *path, const struct buf *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    size_t done = 0;
    int status = CLI_DONE;

    if (fd < 0)
        return fail("make", path);
    while (status == CLI_DONE && done < text->len) {
        ssize_t n = write(fd, text->data + done, text->len - done);

        if (n < 0)
            status = fail("write", path);
        else
            done += (size_t)n;
    }
    close(fd);
    return status;
}

/* Text with its words replaced, behind out. */
static void fill_in(
    struct buf *out, const struct buf *text, const struct words *words)
{
    const struct {
        const char *mark, *word;
    } marks[] = {{"@NAME@", words->name}, {"@LUA_DIR@", words->lua_dir}};

    for (size_t i = 0; i < text->len;) {
        const char *word = NULL;
        size_t skip = 1;

        for (size_t k = 0; k < sizeof(marks) / sizeof(marks[0]); k++) {
            size_t len = strlen(marks[k].mark);

            if (text->len - i >= len &&
                memcmp(text->data + i, marks[k].mark, len) == 0) {
                word = marks[k].word;
                skip = len;
            }
        }
        if (word)
            buf_append_str(out, word);
        else
            buf_append_byte(out, text->data[i]);
        i += skip;
    }
}

/* Where a file of the project comes from; the caller frees it. */
static char *find_file(
    const char *lua_dir, const struct template *t, const char *path)
{
    char *own = xasprintf("%s/new-%s/%s", lua_dir, t->name, path);

    if (access(own, F_OK) == 0)
        return own;
    free(own);
    return xasprintf("%s/new/%s", lua_dir, path);
}

/* One file of the project; the current folder is its root. */
static int make_file(const char *lua_dir, const struct template *t,
    const char *path, const struct words *words)
{
    char *from = find_file(lua_dir, t, path);
    char *copy = xstrdup(path);
    char *folder = dirname(copy);
    struct buf text = {0}, filled = {0};
    int status;

    if (mkdir(folder, 0777) < 0 && errno != EEXIST)
        status = fail("make", folder);
    else
        status = read_file(&text, from);
    if (status == CLI_DONE) {
        fill_in(&filled, &text, words);
        status = write_file(path, &filled, 0666);
    }
    buf_fini(&text);
    buf_fini(&filled);
    free(copy);
    free(from);
    return status;
}

/* Make the folder, or see that it is empty, and go there. */
static int enter(const char *path)
{
    const struct dirent *e;
    int status = CLI_DONE;
    DIR *dir;

    if (mkdir(path, 0777) < 0 && errno != EEXIST)
        return fail("make", path);
    dir = opendir(path);
    if (!dir)
        return fail("open", path);
    while (status == CLI_DONE && (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        cli_error(
            "new: %s is not empty; name a folder that is, or a new one", path);
        status = CLI_WRONG;
    }
    closedir(dir);
    if (status == CLI_DONE && chdir(path) < 0)
        status = fail("enter", path);
    return status;
}

/* A path as it is written in JSON; the caller frees it. */
static char *quote_json(const char *path)
{
    char *quoted = xcalloc(2, strlen(path) + 1);
    char *to = quoted;

    for (; *path; path++) {
        if (*path == '"' || *path == '\\')
            *to++ = '\\';
        *to++ = *path;
    }
    return quoted;
}

/* A key, which others who have an account on the machine must not read, behind
 * the text before. */
static int make_key(const char *path, const char *before)
{
    uint8_t bytes[SECRET_LEN];
    struct buf text = {0};
    int status;

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return fail("make", path);
    buf_append_str(&text, before);
    for (size_t i = 0; i < sizeof(bytes); i++)
        buf_printf(&text, "%02x", bytes[i]);
    buf_append_byte(&text, '\n');
    status = write_file(path, &text, 0600);
    buf_fini(&text);
    return status;
}

static int make_project(const char *lua_dir, const struct template *t)
{
    char *root = realpath(".", NULL);
    char *quoted = quote_json(lua_dir);
    struct words words = {root ? basename(root) : ".", quoted};
    int status = CLI_DONE;

    for (size_t i = 0; status == CLI_DONE && i < FILES; i++)
        status = make_file(lua_dir, t, files[i].path, &words);
    for (size_t i = 0; status == CLI_DONE && t->more[i].path; i++)
        status = make_file(lua_dir, t, t->more[i].path, &words);
    if (status == CLI_DONE)
        status = make_key(SECRET_FILE, ""); /* of the inner ports */
    for (size_t i = 0; status == CLI_DONE && t->keys[i].path; i++)
        status = make_key(t->keys[i].path, t->keys[i].what);
    free(quoted);
    free(root);
    return status;
}

static void print_made(const char *path, const struct template *t)
{
    printf("made %s:\n", path);
    for (size_t i = 0; i < FILES; i++) {
        if (files[i].what)
            printf(LINE, files[i].path, files[i].what);
    }
    for (size_t i = 0; t->more[i].path; i++)
        printf(LINE, t->more[i].path, t->more[i].what);
    printf(LINE, SECRET_FILE, "the key of the inner ports; not for others");
    for (size_t i = 0; t->keys[i].path; i++)
        printf(LINE, t->keys[i].path, "a key, see README.md; not for others");
    printf("\nNow:\n");
    if (strcmp(path, ".") != 0)
        printf(strchr(path, ' ') ? "  cd \"%s\"\n" : "  cd %s\n", path);
    printf("  gwrun dev              then open http://127.0.0.1:8283/\n"
           "  gwrun test             runs spec/\n");
}

/* The template of that name (NULL: the first); NULL: there is none. */
static const struct template *find_template(const char *name)
{
    for (size_t i = 0; i < TEMPLATES; i++) {
        if (!name || strcmp(name, templates[i].name) == 0)
            return &templates[i];
    }
    return NULL;
}

int cmd_new(int argc, char **argv)
{
    const struct template *t;
    struct cli_options o;
    struct config c;
    int status = cli_parse(&o, argc, argv, "t", 1, help);

    if (status >= 0)
        return status;
    t = find_template(o.template);
    if (!t) {
        cli_error("new: there is no template \"%.64s\"; gwrun new --help lists "
                  "them",
            o.template);
        return CLI_WRONG;
    }
    if (o.nwords == 0) {
        cli_error("new: name a folder; gwrun new --help tells more");
        return CLI_WRONG;
    }
    config_default(&c);
    status = enter(o.words[0]);
    if (status == CLI_DONE)
        status = make_project(c.program_conf.lua_dir, t);
    if (status == CLI_DONE)
        print_made(o.words[0], t);
    config_free(&c);
    return status;
}
