/* The files that a configuration is made of. The master reads each of them once
 * and hands their texts down in memory: an edit that is half done, or a key
 * that only root can read, does not matter to the processes that come later. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_impl.h"
#include "util/alloc.h"

/* In front of each file's name and text. */
struct entry {
    uint32_t name_len;
    uint32_t text_len;
};

struct config_file *config_file_find(struct config_file *list, const char *name)
{
    while (list && strcmp(list->name, name) != 0)
        list = list->next;
    return list;
}

struct config_file *config_file_add(
    struct config_file **list, const char *name, const char *text, size_t len)
{
    struct config_file *f = xcalloc(1, sizeof(*f));

    f->name = xstrdup(name);
    f->text = xcalloc(1, len + 1);
    memcpy(f->text, text, len);
    f->len = len;
    f->next = *list;
    *list = f;
    return f;
}

void config_files_free(struct config_file *list)
{
    while (list) {
        struct config_file *next = list->next;

        explicit_bzero(list->text, list->len);
        free(list->text);
        free(list->name);
        free(list);
        list = next;
    }
}

char *config_path(const struct config *c, const char *path)
{
    if (path[0] == '/')
        return xstrdup(path);
    return xasprintf("%s/%s", c->root, path);
}

int config_file_read(const char *path, char **text, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *data = xcalloc(1, CONFIG_FILE_MAX + 2);
    ssize_t n = 0;
    int err = fd < 0 ? -errno : 0;

    *len = 0;
    while (err == 0 && *len <= CONFIG_FILE_MAX &&
           (n = read(fd, data + *len, CONFIG_FILE_MAX + 1 - *len)) > 0)
        *len += (size_t)n;
    if (n < 0)
        err = -errno;
    else if (*len > CONFIG_FILE_MAX)
        err = -EFBIG;
    if (fd >= 0)
        close(fd);
    if (err == 0)
        *text = data;
    else
        free(data);
    return err;
}

/* All of them, one behind the other. */
static void pack(struct buf *out, const struct config_memory *m)
{
    for (const struct config_file *f = m->files; f; f = f->next) {
        struct entry e = {.name_len = (uint32_t)strlen(f->name),
            .text_len = (uint32_t)f->len};

        buf_append(out, &e, sizeof(e));
        buf_append(out, f->name, e.name_len);
        buf_append(out, f->text, e.text_len);
    }
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int config_keep(const struct config *c)
{
    int fd = memfd_create("gwrun config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct buf all = {0};
    int err;

    if (fd < 0)
        return -errno;
    pack(&all, c->memory);
    err = write_all(fd, all.data, all.len);
    if (all.base)
        explicit_bzero(all.base, all.cap);
    buf_fini(&all);
    if (err == 0 &&
        fcntl(fd, F_ADD_SEALS,
            F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        err = -errno;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

/* The first of len bytes. What it takes of them, 0 when it is not whole. */
static size_t unpack(struct config_memory *m, const char *data, size_t len)
{
    struct entry e;
    char *name;
    size_t used;

    if (len < sizeof(e))
        return 0;
    memcpy(&e, data, sizeof(e));
    used = sizeof(e) + (size_t)e.name_len + e.text_len;
    if (len < used)
        return 0;
    name = xcalloc(1, (size_t)e.name_len + 1);
    memcpy(name, data + sizeof(e), e.name_len);
    config_file_add(&m->files, name, data + sizeof(e) + e.name_len, e.text_len);
    free(name);
    return used;
}

int config_files_take(struct config_memory *m, int fd)
{
    struct stat st;
    size_t len, done = 0, used = 1;
    char *data;

    if (fstat(fd, &st) < 0 || st.st_size <= 0)
        return -EBADMSG;
    len = (size_t)st.st_size;
    data = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return -EBADMSG;
    while (done < len && used > 0) {
        used = unpack(m, data + done, len - done);
        done += used;
    }
    munmap(data, len);
    m->kept = true;
    return used > 0 ? 0 : -EBADMSG;
}
