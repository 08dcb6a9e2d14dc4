/* books.h - what a gateway writes into its book of who is there (proc/book.h),
 * and the books that it inherited from earlier processes.
 *
 * A client has an entry from before its ON_CONNECT leaves until a worker has
 * begun its ON_CLOSE. Both events tell workers of this machine where the entry
 * is, and they ask it before they begin (FRAME_FLAG_BOOK). Those of gwrun on
 * other machines tell what they have begun; with PHP's an event counts as begun
 * when it leaves.
 *
 * A gateway that does not come again is inherited from by another one of the
 * same machine, if its clients may have the same workers (books_adopt()).
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

#define BOOKS_OWN      0    /* number of the process's own book; */
#define BOOKS_MAX      32   /* books at a time, with inherited ones */
#define BOOKS_ADOPTED  16   /* from this number on they were other gateways' */
#define BOOKS_ADOPT_MS 2000 /* that a gateway has to come again */
#define BOOKS_GROUPS   4096 /* bytes of a client's groups; no more are kept */

/* Bits of book_entry.worker, see books_bind(). */
#define BOOKS_GIVES                                                            \
    1                 /* should this process be killed, the next one gives the \
                         client's ON_CLOSE */
#define BOOKS_TELLS 2 /* what the worker has begun shows when it says so */
#define BOOKS_FLAGS 3

struct books;

struct books_conf {
    const char *folder; /* borrowed; NULL or "": no book is kept */
    const char *slot;   /* whose books are inherited; copied */
    size_t session_max; /* bytes of a session that is kept; larger: none is */
    uint64_t family;    /* gateways with the same one adopt; 0: none does */
    uint16_t gateway_port; /* that clients know */
};

struct books *books_new(const struct books_conf *conf);

/* Files with entries stay, for whoever comes next. */
void books_free(struct books *b);

/* NULL when no book can be kept. */
bool books_are_kept(const struct books *b);

/* The number that tells whose books lie together: book_where(). */
uint64_t books_where(const struct books *b);

/* c has come; what it has already (uid, session) is written, too. */
void books_enter(struct books *b, struct client *c);

/* It was not let in after all. */
void books_cancel(struct books *b, struct client *c);

/* Write changes of c's names or session from now on. */
void books_watch(struct books *b, struct roster *roster);

/* c is bound to a worker: the hash of its key, and bits of BOOKS_FLAGS. */
void books_bind(
    struct books *b, const struct client *c, uint64_t key_hash, unsigned flags);

/* c has ended like that; end is as close_info_put_end() writes it. */
void books_end(struct books *b, struct client *c, const struct buf *end);

/* How it becomes known that a worker has begun such an event. */
enum books_worker {
    BOOKS_IS_SILENT, /* not at all: what has left counts as begun */
    BOOKS_MAY_ASK,   /* it changes the word of the entry itself */
    BOOKS_WILL_TELL, /* it says so: books_begun() */
};

/* f, ON_CONNECT or ON_CLOSE of c, is about to leave for a worker. */
void books_put(struct books *b, const struct client *c, struct frame *f,
    enum books_worker worker);

/* f has begun, says the worker that was given it. */
void books_begun(struct books *b, const struct frame *f);

/* f, which a lost worker was given, has begun there. */
bool books_have_begun(const struct books *b, const struct frame *f);

/* An ON_CLOSE was given to a worker that tells, which was lost before it did:
 * it is to be given again. */
struct books_orphan {
    uint8_t number; /* of the book */
    bool certain;   /* it has not begun */
    uint32_t place;
    uint32_t id;
    uint64_t since; /* the taker's own */
};
void books_put_orphan(struct books *b, const struct books_orphan *o);

/* The one that was put first; false: there is none. */
bool books_take_orphan(struct books *b, struct books_orphan *out);

/* Whether its entry is still there, and nothing has begun its ON_CLOSE. */
bool books_awaits(const struct books *b, const struct books_orphan *o);
struct book *books_number(const struct books *b, unsigned number);

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
 * there is one whose process still lives, or that cannot be read at present. */
size_t books_inherit(struct books *b, bool *wait);

/* Inherit what gateways left that have been away for BOOKS_ADOPT_MS, by the
 * caller's clock: how many are new. To be called once in a while. */
size_t books_adopt(struct books *b, uint64_t now);

/* The number is that of a book which was another gateway's. */
static inline bool books_is_adopted(unsigned number)
{
    return number >= BOOKS_ADOPTED;
}

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
    size_t orphans;    /* own and inherited, by books_put_orphan() */
    size_t bytes;      /* of the files */
    uint64_t left_out; /* clients that there was no room for, … */
    uint64_t cut;      /* … and what did not fit of others */
    uint64_t garbled;  /* what was not valid in inherited ones */
};
struct books_counts books_counts(const struct books *b);

#endif /* GW_GATEWAY_BOOKS_H */
