/* The number in the file is above every id that was given, since it is written
 * before the first id of a block is used; until ids wrap. */
#include "gateway/ids.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"

/* "4294967295\n"; always this long, so that no old digit stays behind. */
#define IDS_TEXT_LEN 11

static int parse(uint32_t *out, const char *text, size_t len)
{
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < len && text[i] >= '0' && text[i] <= '9' && i < 10; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    if (i == 0 || value > UINT32_MAX)
        return -EINVAL;
    if (i < len && text[i] != '\n')
        return -EINVAL;
    *out = value == 0 ? 1 : (uint32_t)value;
    return 0;
}

/* next stays as it is when the file is empty. */
static int read_next(uint32_t *next, int fd)
{
    char text[IDS_TEXT_LEN + 1];
    ssize_t n = pread(fd, text, sizeof(text), 0);

    if (n < 0)
        return -errno;
    return n == 0 ? 0 : parse(next, text, (size_t)n);
}

int ids_check(int fd)
{
    uint32_t next;

    return read_next(&next, fd);
}

int ids_init(struct ids *ids, int fd)
{
    *ids = (struct ids){.fd = fd, .next = 1};
    return fd < 0 ? 0 : read_next(&ids->next, fd);
}

void ids_fini(struct ids *ids)
{
    if (ids->fd >= 0)
        close(ids->fd);
    ids->fd = -1;
}

/* Remember the id behind the block that starts at ids->next. */
static void reserve(struct ids *ids)
{
    uint32_t last = UINT32_MAX - ids->next; /* ids up to the wrap, less one */
    char text[IDS_TEXT_LEN + 1];
    ssize_t n;

    ids->left = last < IDS_BLOCK ? last + 1 : IDS_BLOCK;
    if (ids->fd < 0)
        return;
    snprintf(text, sizeof(text), "%010u\n",
        last < IDS_BLOCK ? 1 : ids->next + ids->left);
    n = pwrite(ids->fd, text, IDS_TEXT_LEN, 0);
    if (n != IDS_TEXT_LEN)
        log_error("cannot remember connection ids, they may repeat after a "
                  "restart error=\"%s\"",
            n < 0 ? strerror(errno) : "short write");
}

uint32_t ids_take(struct ids *ids)
{
    uint32_t id;

    if (ids->left == 0)
        reserve(ids);
    id = ids->next;
    ids->left--;
    ids->next = id == UINT32_MAX ? 1 : id + 1;
    return id;
}
