/* The list that registers gave last, in a file that outlives the process: who
 * finds none of them dials those. Whoever learns a list writes it down, all
 * workers of a machine into one file. A file that is not whole, as after a kill
 * or when two have written at once, is none; the next change makes a new one.
 * Entries that are out of date only cost tries to connect. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "discovery/discovery_impl.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"

#define HEAD     "gwrun gateways 1\n"
#define SUM_LEN  21            /* "sum ", 16 digits, "\n" */
#define FILE_MAX (1024 * 1024) /* bytes; more is no list */

/* FNV-1a. Nobody forges it: the folder is the system's own. */
static uint64_t sum_of(const uint8_t *data, size_t len)
{
    uint64_t sum = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ data[i]) * 0x100000001b3u;
    return sum;
}

/* What comes before the addresses: a list is of use to those only who would ask
 * the same registers. */
static void put_head(struct buf *out, const char *const *registers)
{
    buf_append_str(out, HEAD);
    for (; *registers; registers++) {
        buf_append_str(out, "register ");
        buf_append_str(out, *registers);
        buf_append_str(out, "\n");
    }
}

static void put_sum(struct buf *out)
{
    char line[SUM_LEN + 1];

    snprintf(line, sizeof(line), "sum %016" PRIx64 "\n",
        sum_of(out->data, out->len));
    buf_append_str(out, line);
}

/* All of the file. */
static void read_file(int fd, struct buf *out)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0 || st.st_size > FILE_MAX || st.st_size == 0)
        return;
    buf_reserve(out, (size_t)st.st_size);
    n = pread(fd, out->data, (size_t)st.st_size, 0);
    if (n > 0)
        buf_commit(out, (size_t)n);
}

static bool is_whole(const struct buf *file)
{
    struct buf copy = {0};
    bool whole = file->len > SUM_LEN;

    if (whole) {
        buf_append(&copy, file->data, file->len - SUM_LEN);
        put_sum(&copy);
        whole = memcmp(copy.data, file->data, file->len) == 0;
    }
    buf_fini(&copy);
    return whole;
}

char *discovery_kept_read(int fd, const char *const *registers)
{
    struct buf file = {0}, head = {0};
    char *lines = NULL;

    read_file(fd, &file);
    put_head(&head, registers);
    if (is_whole(&file) && file.len - SUM_LEN >= head.len &&
        memcmp(file.data, head.data, head.len) == 0)
        lines = xstrndup(
            (const char *)file.data + head.len, file.len - SUM_LEN - head.len);
    buf_fini(&head);
    buf_fini(&file);
    return lines;
}

static bool is_same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && a->len > 0 &&
           memcmp(a->data, b->data, a->len) == 0;
}

static int write_file(int fd, const struct buf *file)
{
    ssize_t n = pwrite(fd, file->data, file->len, 0);

    if (n < 0)
        return -errno;
    if ((size_t)n < file->len)
        return -ENOSPC;
    return ftruncate(fd, (off_t)file->len) < 0 ? -errno : 0;
}

static void complain(int err)
{
    static bool complained;

    if (!complained)
        log_warn("cannot keep the list of gateways in run_dir, a worker that "
                 "starts while the registers are away will find none err=%s",
            strerror(-err));
    complained = true;
}

void discovery_kept_write(int fd, const char *const *registers,
    const char *const *addresses, size_t count)
{
    struct buf file = {0}, before = {0};
    int err = 0;

    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
        return;
    put_head(&file, registers);
    for (size_t i = 0; i < count; i++) {
        buf_append_str(&file, addresses[i]);
        buf_append_str(&file, "\n");
    }
    put_sum(&file);
    read_file(fd, &before);
    if (file.len > FILE_MAX)
        err = -EFBIG;
    else if (!is_same(&file, &before))
        err = write_file(fd, &file);
    if (err < 0)
        complain(err);
    buf_fini(&before);
    buf_fini(&file);
}
