/* A fingerprint is a sum over name, inode, size and time of all files, so that
 * their order does not count. Folders too deep and files too many are left
 * out, hidden ones too. */
#include "cli/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/hash.h"

struct walk {
    uint64_t sum; /* over all files, in any order */
    unsigned files;
};

static void add_file(struct walk *w, const char *name, const struct stat *st)
{
    struct {
        uint64_t name, inode, size, seconds, nanoseconds;
    } seen = {
        .name = hash_bytes(name, strlen(name)),
        .inode = st->st_ino,
        .size = (uint64_t)st->st_size,
        .seconds = (uint64_t)st->st_mtim.tv_sec,
        .nanoseconds = (uint64_t)st->st_mtim.tv_nsec,
    };

    w->sum += hash_bytes(&seen, sizeof(seen));
}

static void walk_folder(struct walk *w, int parent, const char *name, int depth)
{
    int fd = openat(parent, name,
        O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0));
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(dir)) && w->files < WATCH_FILES_MAX) {
        size_t len = strlen(e->d_name);
        struct stat st;

        if (e->d_name[0] == '.')
            continue;
        w->files++;
        if (fstatat(fd, e->d_name, &st, 0) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < WATCH_DEPTH_MAX)
            walk_folder(w, fd, e->d_name, depth + 1);
        else if (len > 4 && strcmp(e->d_name + len - 4, ".lua") == 0)
            add_file(w, e->d_name, &st);
    }
    closedir(dir);
}

uint64_t watch_fingerprint(const char *folder)
{
    struct walk w = {0};

    walk_folder(&w, AT_FDCWD, folder, 0);
    return w.sum;
}
