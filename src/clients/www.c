/* Paths are resolved before anything is opened: what lies outside of the
 * folder, or has a hidden name in it, does not exist for clients. */
#include "clients/www.h"

#include <errno.h>
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

struct encoding {
    const char *ext, *name;
};

/* A regular file; -ENOENT, or -EMFILE: it may be there, but not be opened now.
 * A pipe must not hold up the one who opens it. */
static int open_regular(const char *path, struct stat *st, int fd_max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -EMFILE
                                                                     : -ENOENT;
    if (fd >= fd_max || fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        close(fd);
        return fd >= fd_max ? -EMFILE : -ENOENT;
    }
    return fd;
}

/* Take the encoded one beside it in its place, if there is one and the client
 * takes it. False: no descriptor was left to look. */
static bool try_encoding(struct www_file *file, const char *real,
    const struct httphead *head, const struct encoding *as, int fd_max)
{
    char *path = xasprintf("%s%s", real, as->ext);
    struct stat st;
    int fd = open_regular(path, &st, fd_max);

    free(path);
    if (fd < 0)
        return fd != -EMFILE;
    file->varies = true;
    if (file->encoding != NULL || !httpcond_accepts(head, as->name)) {
        close(fd);
        return true;
    }
    close(file->fd);
    file->fd = fd;
    file->size = (uint64_t)st.st_size;
    file->modified = st.st_mtim;
    file->encoding = as->name;
    return true;
}

static int open_file(struct www_file *file, const char *real,
    const struct httphead *head, int fd_max)
{
    static const struct encoding br = {".br", "br"}, gzip = {".gz", "gzip"};
    struct stat st;
    int fd = open_regular(real, &st, fd_max);

    if (fd < 0)
        return fd;
    file->fd = fd;
    file->size = (uint64_t)st.st_size;
    file->modified = st.st_mtim;
    file->type = content_type(real);
    if (try_encoding(file, real, head, &br, fd_max) &&
        try_encoding(file, real, head, &gzip, fd_max))
        return 0;
    www_close(file);
    return -EMFILE;
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

static int find(struct www_file *out, const char *root, char *path,
    const struct httphead *head, int fd_max)
{
    char *named = NULL, *real;
    struct stat st;
    int rc = -ENOENT;

    if (path[0] != '/' || !remove_dots(path) || is_hidden(path))
        return rc;
    if (path[strlen(path) - 1] == '/')
        named = xasprintf("%sindex.html", path);
    real = resolve(root, named != NULL ? named : path);
    if (real != NULL)
        rc = open_file(out, real, head, fd_max);
    if (rc == -ENOENT && real != NULL && named == NULL &&
        stat(real, &st) == 0 && S_ISDIR(st.st_mode) && has_page(root, path))
        rc = 0;
    free(named);
    free(real);
    return rc;
}

int www_find(struct www_file *out, const char *root,
    const struct httphead *head, int fd_max)
{
    char *path = decode_path(head->target);
    int rc;

    *out = (struct www_file){.fd = -1};
    rc = find(out, root, path, head, fd_max);
    free(path);
    return rc;
}

int www_open(struct www_file *out, const char *root, const char *path,
    const struct httphead *head, int fd_max)
{
    char *joined = xasprintf("/%s", path);
    char *real = NULL;
    int rc = -ENOENT;

    *out = (struct www_file){.fd = -1};
    if (path[0] != '/' && !is_hidden(joined))
        real = resolve(root, joined);
    if (real != NULL)
        rc = open_file(out, real, head, fd_max);
    free(real);
    free(joined);
    return rc;
}

void www_close(struct www_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
