/* The number in the file is above every id that was given, since it is written
 * before the first id of a block is used; until ids wrap. */
#include "gateway/ids.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"
#include "util/secret.h"

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
    *ids = (struct ids){.fd = fd, .first = 1, .next = 1};
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
        last < IDS_BLOCK ? ids->first : ids->next + ids->left);
    n = pwrite(ids->fd, text, IDS_TEXT_LEN, 0);
    if (n != IDS_TEXT_LEN)
        log_error("cannot remember connection ids, they may repeat after a "
                  "restart error=\"%s\"",
            n < 0 ? strerror(errno) : "short write");
}

/* Where no file says where to go on. */
static uint32_t draw(void)
{
    char token[SECRET_TOKEN_SIZE];

    secret_new_token(token);
    token[8] = '\0';
    return (uint32_t)strtoul(token, NULL, 16);
}

void ids_borrow(struct ids *ids, void (*on_low)(void *arg), void *arg)
{
    ids->on_low = on_low;
    ids->arg = arg;
    if (!on_low || ids->first == IDS_OWN)
        return;
    ids->first = IDS_OWN;
    if (ids->next >= IDS_OWN)
        return;
    ids->left = 0;
    ids->next = IDS_OWN + draw() % (IDS_OWN / 2);
}

bool ids_are_low(const struct ids *ids)
{
    return ids->spare.left == 0;
}

/* The spare block takes the place of one that is used up. */
static void renew(struct ids *ids)
{
    ids->lent = ids->spare;
    ids->spare.left = 0;
    if (ids->on_low)
        ids->on_low(ids->arg);
}

void ids_lend(struct ids *ids, uint32_t first, uint32_t count)
{
    ids->spare = (struct ids_block){first, count};
    if (ids->lent.left == 0)
        renew(ids);
}

/* 0: there is none. */
static uint32_t take_lent(struct ids *ids)
{
    uint32_t id = ids->lent.next;

    if (ids->lent.left == 0)
        return 0;
    ids->lent.next++;
    if (--ids->lent.left == 0)
        renew(ids);
    return id;
}

uint32_t ids_take(struct ids *ids)
{
    uint32_t id = take_lent(ids);

    if (id != 0)
        return id;
    if (ids->left == 0)
        reserve(ids);
    id = ids->next;
    ids->left--;
    ids->next = id == UINT32_MAX ? ids->first : id + 1;
    return id;
}
