/* Books: whatever is in a file, it is refused or can be read to its end. Input
 * is words of 8 bytes that are stored, each with its place in front, into a
 * book of two clients; then the file's size. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/book.h"

#define SIZE (256 * 1024)

static int folder = -1;
static uint8_t valid[SIZE];
static size_t valid_size;
static char path[256];

static void clean(void)
{
    rmdir(path);
}

/* A book as a process leaves it. */
static void prepare(void)
{
    const union addr peer = {.in = {.sin_family = AF_INET}};
    const struct book_record r = {{{"session", 7}, {"names", 5}, {"end", 3}}};
    struct book *b;
    uint32_t place;
    ssize_t n;
    const char *tmp = getenv("TMPDIR");
    int fd, err;

    snprintf(path, sizeof(path), "%s/book-fuzz-XXXXXX", tmp ? tmp : P_tmpdir);
    assert(mkdtemp(path));
    atexit(clean);
    folder = book_folder(path);
    err = book_create(&b, folder, "slot");
    assert(err == 0);
    place = book_enter(b, 1, &peer);
    book_enter(b, 2, &peer);
    err = book_write(b, place, &r);
    assert(err == 0);
    fd = openat(folder, book_name(b), O_RDONLY);
    n = read(fd, valid, sizeof(valid));
    assert(n > 0 && (size_t)n == book_size(b));
    valid_size = (size_t)n;
    close(fd);
    while (book_count(b) > 0)
        book_leave(b, book_next(b, 0));
    book_close(b);
}

static void store(const uint8_t *data, size_t len)
{
    static uint8_t copy[SIZE];
    size_t size = valid_size;
    ssize_t n;
    int fd;

    memcpy(copy, valid, valid_size);
    for (; len >= 11; data += 11, len -= 11) {
        size_t at = (size_t)(data[0] | data[1] << 8 | data[2] << 16) % SIZE;

        memcpy(copy + (at < SIZE - 8 ? at : SIZE - 8), data + 3, 8);
    }
    if (len > 1)
        size = (size_t)(data[0] | data[1] << 8) * 64 % SIZE;
    fd = openat(folder, "slot.x", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert(fd >= 0);
    n = write(fd, copy, size);
    assert(n == (ssize_t)size);
    close(fd);
}

static void read_all(struct book *b)
{
    struct book_entry e;
    volatile uint8_t sum = 0; /* so that each byte is read */

    for (uint32_t at = 0; (at = book_next(b, at)) != 0;) {
        book_read(b, at, &e);
        assert(book_has(b, at, e.id));
        for (size_t i = 0; i < BOOK_PARTS; i++)
            for (size_t k = 0; k < e.record.part[i].len; k++)
                sum += ((const uint8_t *)e.record.part[i].data)[k];
    }
    (void)sum;
    while (book_count(b) > 0)
        book_leave(b, book_next(b, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bookmarks *m;
    struct book *b;

    if (folder < 0)
        prepare();
    store(data, len);
    if (bookmarks_open(&m, folder, "slot.x") == 0) {
        for (uint32_t place = 0; place < SIZE / 16; place += 7)
            bookmarks_begin(m, place, 1, BOOKMARK_CLOSED);
        bookmarks_close(m);
    }
    if (book_inherit(&b, folder, "slot.x") == 0) {
        read_all(b);
        book_close(b);
    }
    return 0;
}
