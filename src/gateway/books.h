/* books.h - what a gateway writes into its book of who is there (proc/book.h),
 * and the books that it inherited from earlier processes.
 *
 * A client has an entry from before its ON_CONNECT leaves until a worker has
 * begun its ON_CLOSE. Both events tell workers of this machine where the entry
 * is, and they ask it before they begin (FRAME_FLAG_BOOK). With others an event
 * counts as begun when it leaves. Those of gwrun on other machines know
 * themselves whom they have when a gateway is lost, PHP's do not.
 *
 * Where no book can be kept all of this does nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_BOOKS_H
#define GW_GATEWAY_BOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/close_info.h"
#include "gateway/roster.h"
#include "proc/book.h"
#include "wire/frame.h"

#define BOOKS_OWN    0    /* number of the process's own book; */
#define BOOKS_MAX    32   /* books at a time, with inherited ones */
#define BOOKS_GROUPS 4096 /* bytes of a client's groups; no more are kept */
#define BOOKS_GIVES  1    /* bit of book_entry.worker: see books_bind() */

struct books;

struct books_conf {
    const char *folder; /* borrowed; NULL or "": no book is kept */
    const char *slot;   /* whose books are inherited; copied */
    size_t session_max; /* bytes of a session that is kept; larger: none is */
};

struct books *books_new(const struct books_conf *conf);

/* Files with entries stay, for whoever comes next. */
void books_free(struct books *b);

/* NULL when no book can be kept. */
bool books_are_kept(const struct books *b);

/* c has come; what it has already (uid, session) is written, too. */
void books_enter(struct books *b, struct client *c);

/* It was not let in after all. */
void books_cancel(struct books *b, struct client *c);

/* Write changes of c's names or session from now on. */
void books_watch(struct books *b, struct roster *roster);

/* c is bound to a worker: the hash of its key; gives: should this process be
 * killed the next one gives c's ON_CLOSE, for that worker does not know itself
 * whom it has. */
void books_bind(
    struct books *b, const struct client *c, uint64_t key_hash, bool gives);

/* c has ended like that; end is as close_info_put_end() writes it. */
void books_end(struct books *b, struct client *c, const struct buf *end);

/* f, ON_CONNECT or ON_CLOSE of c, is about to leave for a worker that asks, or
 * does not. */
void books_put(
    struct books *b, const struct client *c, struct frame *f, bool asks);

/* f, which a lost worker was given, has begun there. */
bool books_have_begun(const struct books *b, const struct frame *f);

/* c's event f has not begun, and goes to another worker than the lost one. */
void books_take_back(
    struct books *b, const struct client *c, const struct frame *f);

/* Once in a while: end the entries whose ON_CLOSE has begun; make an own book
 * where there was no room for it before. */
void books_tend(struct books *b);

/* Names of the books, for a worker that asks. Changes with books_serial(). */
typedef void (*books_name_cb)(unsigned number, const char *name, void *arg);
void books_each(const struct books *b, books_name_cb each, void *arg);
unsigned books_serial(const struct books *b);

/* Inherit what earlier processes left: how many are new. *wait is set when
 * there is one whose process still lives. */
size_t books_inherit(struct books *b, bool *wait);

/* An inherited book, or NULL. */
struct book *books_inherited(const struct books *b, unsigned number);

/* Its entry at place was given to somebody; it ends as others do. */
void books_given(struct books *b, unsigned number, uint32_t place);

/* Its entry at place is over: no onClose is due. The book may go with it. */
void books_over(struct books *b, unsigned number, uint32_t place);

struct books_counts {
    size_t entries;    /* own and inherited */
    size_t inherited;  /* of them; … */
    size_t given;      /* … and of those, by books_given() */
    size_t bytes;      /* of the files */
    uint64_t left_out; /* clients that there was no room for, … */
    uint64_t cut;      /* … and what did not fit of others */
};
struct books_counts books_counts(const struct books *b);

#endif /* GW_GATEWAY_BOOKS_H */
