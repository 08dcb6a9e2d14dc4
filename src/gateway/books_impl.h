/* books_impl.h - what a gateway's books are made of, for books.c and
 * books_adopt.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_BOOKS_IMPL_H
#define GW_GATEWAY_BOOKS_IMPL_H

#include <dirent.h>

#include "gateway/books.h"
#include "util/buf.h"
#include "util/log.h"

/* An entry whose ON_CLOSE is on its way. */
struct books_closing {
    uint32_t place;
    unsigned number; /* of the book */
};

/* Whose the clients of an adopted book were. */
struct books_home {
    uint32_t ip;
    uint16_t port;
};

/* A book that nobody has. */
struct books_candidate {
    char name[BOOK_NAME_MAX];
    uint64_t since; /* it was seen so first, by the caller's clock */
    bool seen;      /* in this pass */
};

#define CANDIDATES (BOOKS_MAX - BOOKS_ADOPTED)

struct books_ring {
    struct books_closing *items; /* owned; a power of two of them */
    size_t first, count, cap;
};

struct books {
    int folder;       /* below 0: no book is kept */
    const char *path; /* borrowed, of the folder */
    char slot[BOOK_NAME_MAX];
    size_t session_max;
    uint64_t family;
    uint16_t gateway_port;
    struct book *book[BOOKS_MAX];      /* owned; NULL: none with that number */
    struct books_home home[BOOKS_MAX]; /* of adopted ones */
    struct books_candidate candidates[CANDIDATES];
    size_t ncandidates;
    struct books_ring closing;
    struct books_orphan *orphans; /* owned; a queue with its first one at … */
    size_t first_orphan, norphans, orphans_cap;
    size_t given;     /* inherited ones in it */
    struct buf names; /* scratch */
    unsigned serial;
    uint64_t left_out, cut, garbled;
    struct log_share full;
};

/* books.c: is there one of that file? */
bool books_have(const struct books *b, const char *name);

/* books.c: a number that is free, from first on and below end, or NULL. */
struct book **books_free_number(struct books *b, size_t first, size_t end);

/* books.c: inherit that file as *book (NULL: there is no room): how many are
 * new. *wait is set when its process still lives. */
size_t books_take_over(
    struct books *b, struct book **book, const char *name, bool *wait);

/* books.c: all files; NULL: no books are kept. To be closed. */
DIR *books_list(const struct books *b);

#endif /* GW_GATEWAY_BOOKS_IMPL_H */
