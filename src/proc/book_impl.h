/* book_impl.h - how a book lies in its file.
 *
 * The file is made of blocks. The first is the head; each other one has places
 * or cells of one size, and says so in its first word. A place is where it is
 * in the file, in units, and so is a record's cell.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_BOOK_IMPL_H
#define GW_PROC_BOOK_IMPL_H

#include <stddef.h>

#include "proc/book.h"

#define BOOK_BLOCK 65536 /* bytes */
#define BOOK_UNIT  16    /* bytes */
#define BOOK_MAGIC "gwrbook2"

#define BOOK_KIND_PLACES 1
#define BOOK_KIND_CELLS  2 /* and the class's number */

struct book_head {
    char magic[8];
    char boot[48]; /* of the machine, NUL-terminated */
    uint32_t block, place;
    uint8_t salt[16]; /* of this book, for the checks of all that is in it */
    uint64_t family;  /* of book_sign(); 0: nobody's */
    uint16_t gateway_port;
    uint16_t spare;
    uint32_t check;  /* of what is above */
    uint32_t blocks; /* that the file has, with this one */
};

/* One client. Free: mark is 0. */
struct book_place {
    uint64_t mark;
    uint64_t worker;
    uint8_t ip[16];
    uint16_t port;
    uint16_t family; /* 4 or 6 */
    uint32_t record; /* of its cell; 0: none */
    uint32_t note;
    uint32_t check; /* of whose it is, and of where */
};
_Static_assert(sizeof(struct book_place) == 48, "no padding");
_Static_assert(sizeof(struct book_place) % BOOK_UNIT == 0, "whole units");

struct book_cell {
    uint32_t check; /* of whose it is, and of all that follows */
    uint32_t len[BOOK_PARTS];
    uint8_t data[];
};

#define BOOK_CELLS_AT 64 /* of the first cell in its block */

/* Places or cells that are free: some given back, and a row never used. */
struct book_room {
    uint32_t *back; /* owned */
    size_t count, cap;
    uint32_t next, end; /* units */
};

#define BOOK_CLASSES 20

struct book {
    int fd;     /* with the lock */
    int folder; /* owned */
    uint8_t *base;
    size_t size, mapped; /* bytes of the file, and of addresses */
    size_t count;
    size_t garbled; /* what was not valid when it was inherited */
    bool old;       /* of another boot */
    struct book_room places;
    struct book_room cells[BOOK_CLASSES];
    char name[BOOK_NAME_MAX];
};

static inline void *book_at(const struct book *b, uint32_t unit)
{
    return b->base + (size_t)unit * BOOK_UNIT;
}

static inline struct book_head *book_head(const struct book *b)
{
    return (struct book_head *)b->base;
}

/* book_file.c: one more block of that kind; where it is, in units, or 0. */
uint32_t book_grow(struct book *b, uint32_t kind);

/* book.c: bytes of a cell of that class. */
size_t book_cell_size(size_t class);

/* book_check.c: the numbers that say that nothing else was written there. */
uint32_t book_check_of_head(const struct book_head *head);
uint32_t book_check_of_place(const struct book *b, uint32_t unit, uint32_t id);
uint32_t book_check_of_cell(
    const struct book *b, const struct book_cell *cell, uint32_t id);

/* book_check.c: take out of the file what is not as it may be, count that, and
 * the entries. */
void book_sift(struct book *b);

/* book_check.c: is there a place at that unit of a file that large? */
bool book_is_place(const uint8_t *base, size_t size, uint32_t unit);

#endif /* GW_PROC_BOOK_IMPL_H */
