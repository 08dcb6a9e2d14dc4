/* Paths are resolved before anything is opened: what lies outside of the
 * folder, or has a hidden name in it, does not exist for clients. */
#include "clients/www.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "util/alloc.h"
#include "wire/httpcond.h"

static const char *content_type(const char *path)
{
    static const struct {
        const char *ext, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".wasm", "application/wasm"},
        {".mp3", "audio/mpeg"},
        {".mp4", "video/mp4"},
    };
    const char *ext = strrchr(path, '.');

    for (size_t i = 0; ext != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(ext, types[i].ext) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* Names that begin with a dot (.env, .git/) are not meant for strangers, but
 * for the folder that RFC 8615 wants open. A link's name counts, not where it
 * leads: whoever makes one wants it followed. */
static bool is_hidden(const char *path)
{
    static const char open[] = "/.well-known/";

    if (strncmp(path, open, strlen(open)) == 0)
        path += strlen(open) - 1;
    return strstr(path, "/.") != NULL;
}

/* What path means under root, with links followed as long as they stay inside,
 * or NULL. The caller frees it. */
static char *resolve(const char *root, const char *path)
{
    size_t len = strlen(root);
    char *joined = xasprintf("%s%s", root, path);
    char *real = realpath(joined, NULL);

    free(joined);
    if (real != NULL && (strncmp(real, root, len) != 0 ||
                            (real[len] != '/' && real[len] != '\0' &&
                                strcmp(root, "/") != 0))) {
        free(real);
        return NULL;
    }
    return real;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path of a target as text; the caller frees it. */
static char *decode_path(const char *target)
{
    size_t len = strcspn(target, "?");
    char *path = xmalloc(len + 1);
    char *to = path;

    for (const char *p = target; p < target + len; p++) {
        int high = *p == '%' ? hex_value(p[1]) : -1;
        int low = high >= 0 ? hex_value(p[2]) : -1;

        if (low >= 0) {
            *to++ = (char)(high << 4 | low);
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
    return path;
}

/* Take "." and ".." out of a path (RFC 3986 section 5.2.4), in place. False: it
 * leads out of the folder. */
static bool remove_dots(char *path)
{
    char *to = path;
    const char *p = path;

    while (*p != '\0') {
        size_t len = 1 + strcspn(p + 1, "/"); /* "/name" */
        bool up = len == 3 && p[1] == '.' && p[2] == '.';
        bool stays = len == 2 && p[1] == '.';

        if (up && to == path)
            return false;
        while (up && *--to != '/')
            ;
        if (!up && !stays)
            to = (char *)memmove(to, p, len) + len;
        p += len;
        if ((up || stays) && *p == '\0')
            *to++ = '/';
    }
    *to = '\0';
    return true;
}

/* A regular file, or -1. A pipe must not hold up the one who opens it. */
static int open_regular(const char *path, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd >= 0 && (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Take the encoded one beside it in its place, if there is one and the client
 * takes it. */
static void try_encoding(struct www_file *file, const char *real,
    const struct httphead *head, const char *ext, const char *encoding)
{
    char *path = xasprintf("%s%s", real, ext);
    struct stat st;
    int fd = open_regular(path, &st);

    free(path);
    if (fd < 0)
        return;
    file->varies = true;
    if (file->encoding != NULL || !httpcond_accepts(head, encoding)) {
        close(fd);
        return;
    }
    close(file->fd);
    file->fd = fd;
    file->size = (uint64_t)st.st_size;
    file->modified = st.st_mtim;
    file->encoding = encoding;
}

static bool open_file(
    struct www_file *file, const char *real, const struct httphead *head)
{
    struct stat st;

    file->fd = open_regular(real, &st);
    if (file->fd < 0)
        return false;
    file->size = (uint64_t)st.st_size;
    file->modified = st.st_mtim;
    file->type = content_type(real);
    try_encoding(file, real, head, ".br", "br");
    try_encoding(file, real, head, ".gz", "gzip");
    return true;
}

/* Whether the folder at real has a page, for those who ask for its slash. */
static bool has_page(const char *root, const char *path)
{
    char *page = xasprintf("%s/index.html", path);
    char *real = resolve(root, page);
    struct stat st;
    bool has = real != NULL && stat(real, &st) == 0 && S_ISREG(st.st_mode);

    free(real);
    free(page);
    return has;
}

static bool find(struct www_file *out, const char *root, char *path,
    const struct httphead *head)
{
    char *named = NULL, *real;
    struct stat st;
    bool found = false;

    if (path[0] != '/' || !remove_dots(path) || is_hidden(path))
        return false;
    if (path[strlen(path) - 1] == '/')
        named = xasprintf("%sindex.html", path);
    real = resolve(root, named != NULL ? named : path);
    if (real != NULL)
        found = open_file(out, real, head);
    if (!found && real != NULL && named == NULL && stat(real, &st) == 0 &&
        S_ISDIR(st.st_mode))
        found = has_page(root, path);
    free(named);
    free(real);
    return found;
}

bool www_find(
    struct www_file *out, const char *root, const struct httphead *head)
{
    char *path = decode_path(head->target);
    bool found;

    *out = (struct www_file){.fd = -1};
    found = find(out, root, path, head);
    free(path);
    return found;
}

bool www_open(struct www_file *out, const char *root, const char *path,
    const struct httphead *head)
{
    char *joined = xasprintf("/%s", path);
    char *real = NULL;
    bool found = false;

    *out = (struct www_file){.fd = -1};
    if (path[0] != '/' && !is_hidden(joined))
        real = resolve(root, joined);
    if (real != NULL)
        found = open_file(out, real, head);
    free(real);
    free(joined);
    return found;
}

void www_close(struct www_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
