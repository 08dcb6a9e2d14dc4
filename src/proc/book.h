/* book.h - a gateway's book: who is there, in a file that outlives its process.
 *
 * The file lies on tmpfs and is mapped into memory, so an entry costs no system
 * call. Each process of a gateway keeps a book of its own and holds its file's
 * lock while it lives; whoever gets that lock afterwards has inherited the book
 * and can read it.
 *
 * An entry has a place, which stays, and up to one record of bytes. A record is
 * written aside, then one word makes it the entry's: a process can be killed
 * between any two stores. What is in an inherited file is checked like a peer's
 * bytes before anything of it is used: what is not as it was written is no
 * client's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_BOOK_H
#define GW_PROC_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "proc/bookmark.h"

#define BOOK_NAME_MAX   96            /* bytes of a file's name */
#define BOOK_RECORD_MAX (24 * 1024)   /* bytes of a record; more is -EMSGSIZE */
#define BOOK_SIZE_MAX   (16ull << 30) /* bytes of a file; more is -ENOSPC */

struct book;

/* Make the folder with mode 0700, if it is not there. A descriptor of it, or
 * -errno; -EPERM when it is another user's, or others may write to it. */
int book_folder(const char *path);

/* A number of that folder: which boot of the machine, which file system, which
 * path. Books in folders with the same one lie together. */
uint64_t book_where(int folder, const char *path);

/* Is name that of a book of this gateway? (slot: a word without dots.) */
bool book_is_of(const char *name, const char *slot);

/* A new book in that folder, with the lock. 0 or -errno. */
int book_create(struct book **out, int folder, const char *slot);

/* Who may take it over, should its gateway not come again: those with the same
 * number, not 0. And the port that its clients know. */
void book_sign(struct book *b, uint64_t family, uint16_t gateway_port);
uint64_t book_family(const struct book *b);
uint16_t book_gateway_port(const struct book *b);

/* Has no process that book, and which family may take it over? 0; -EAGAIN: its
 * process lives; another -errno: it is none, or gone. */
int book_probe(int folder, const char *name, uint64_t *family);

/* Inherit a book. 0; -EAGAIN: its process lives; -ENOENT: it is gone, or nobody
 * was in it yet; -EPROTO: all of it is garbled, the file is removed; another
 * -errno: there is no room for it at present. */
int book_inherit(struct book **out, int folder, const char *name);

/* Is the inherited book of another boot of the machine? It lay on a disk then,
 * and what was written last may be missing. */
bool book_is_old(const struct book *b);

/* Entries, records and blocks of an inherited book that were not valid, and are
 * not there any more. */
size_t book_garbled(const struct book *b);

/* Variable of the environment, for tests: the boot of the machine is called so
 * for all processes that have it. */
#define BOOK_TEST_BOOT "GWRUN_TEST_BOOT"

/* Remove the file, if nobody is in it; else whoever comes next inherits it. */
void book_close(struct book *b);

const char *book_name(const struct book *b);
size_t book_count(const struct book *b); /* entries */
size_t book_size(const struct book *b);  /* bytes of the file */

/* An entry of a new book: its place, or 0: there is no room. */
uint32_t book_enter(struct book *b, uint32_t id, const union addr *peer);

/* The entry is over; its place may be another's. */
void book_leave(struct book *b, uint32_t place);

/* The word that says what has begun. Borrowed until the next book_enter() or
 * book_write(). */
uint64_t *book_mark(const struct book *b, uint32_t place);

/* Is the entry at place that client's? place may be any number. */
bool book_has(const struct book *b, uint32_t place, uint32_t id);

/* Whose the entry is at present: any number of the caller's. */
void book_bind(struct book *b, uint32_t place, uint64_t worker);

struct book_bytes {
    const void *data; /* borrowed */
    size_t len;
};
#define BOOK_PARTS 3
struct book_record {
    struct book_bytes part[BOOK_PARTS];
};

/* Replace the entry's record; parts may be borrowed from the old one. 0;
 * -ENOSPC, -EMSGSIZE: the old one stays. */
int book_write(
    struct book *b, uint32_t place, const struct book_record *record);

struct book_entry {
    uint32_t place;
    uint32_t id;
    uint64_t worker;
    union addr peer;
    struct book_record record; /* borrowed as book_mark() */
};
void book_read(const struct book *b, uint32_t place, struct book_entry *out);

/* The next place behind this one that is taken, from 0; 0: there is none. */
uint32_t book_next(const struct book *b, uint32_t place);

/* A word of the entry for the process that reads an inherited book: at first 0,
 * or what another process had left there. */
void book_note(struct book *b, uint32_t place, uint32_t word);
uint32_t book_noted(const struct book *b, uint32_t place);

/* The same file, of which a worker only changes the words. */
struct bookmarks;
int bookmarks_open(struct bookmarks **out, int folder, const char *name);
void bookmarks_close(struct bookmarks *m);
const char *bookmarks_name(const struct bookmarks *m);

/* As bookmark_begin(). False as well when there is no such place. */
bool bookmarks_begin(
    struct bookmarks *m, uint32_t place, uint32_t id, enum bookmark bit);

#endif /* GW_PROC_BOOK_H */
