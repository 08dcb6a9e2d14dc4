/* pages.h - what each process of a machine tells of itself, in memory that all
 * of them map: one page a process.
 *
 * A process writes its numbers down now and then, the master beside them how
 * that process is. Whoever reads asks nobody: a process that is stopped, or
 * dead, has told what it told last, and one that takes its place goes on from
 * there. A writer that is killed at any point leaves what was written before.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_PAGES_H
#define GW_PROC_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGES_NUMBERS  192 /* of one process */
#define PAGES_TEXT_MAX 256 /* bytes, with the NUL; more is cut */

struct pages; /* all of them, mapped */
struct faults;
struct series;
struct tallies;
struct timings;
struct page; /* one process's, in struct pages */

/* Pages for so many processes: a descriptor to hand down, or -errno. */
int pages_create(size_t count);

/* Map the pages of fd, which stays the caller's. NULL: it has none. */
struct pages *pages_open(int fd);
void pages_close(struct pages *p); /* NULL is allowed */

size_t pages_count(const struct pages *p);
struct page *pages_at(const struct pages *p, size_t index); /* < count */

/* Of the process that a page belongs to: its numbers, all at once. */
void page_write(struct page *page, const uint64_t *numbers, size_t count);
/* What was written last; zeros before the first time. */
void page_read(const struct page *page, uint64_t numbers[PAGES_NUMBERS]);

/* What its script counts: it writes, all read. */
struct series *page_series(struct page *page);
/* Where it raises errors, and how long its callbacks took, likewise. */
struct faults *page_faults(struct page *page);
struct timings *page_timings(struct page *page);
/* How its connections to other servers are used, likewise. */
struct tallies *page_tallies(struct page *page);

/* A gateway's largest groups, the largest one first. */
#define PAGES_TOPS 10
#define PAGES_TOP_SIZE                                    \
    65 /* bytes of a name with the NUL; of more the first \
        */
struct page_tops {
    uint32_t count;
    struct page_top {
        uint32_t members;
        char name[PAGES_TOP_SIZE];
    } rows[PAGES_TOPS];
};
void page_write_tops(struct page *page, const struct page_tops *tops);
void page_read_tops(const struct page *page, struct page_tops *tops);

/* The cells of the cluster, as the system's first gateway has seen them. */
#define PAGES_CELLS       64   /* more are counted */
#define PAGES_CELL_SIZE   65   /* bytes of a name with the NUL, and … */
#define PAGES_CELLS_FRESH 5000 /* ms that pages_want_cells() holds */
struct page_cells {
    uint64_t seen;        /* ms, of the machine's monotonic clock; 0: never */
    uint64_t clients;     /* of all cells */
    uint32_t there, gone; /* cells */
    uint32_t count;       /* of rows */
    struct page_cell {
        uint64_t clients;
        uint64_t seconds; /* that it has been there, or gone */
        uint32_t gateways, workers;
        bool there;
        bool here; /* it is this system */
        char name[PAGES_CELL_SIZE];
        char version[32]; /* … of this, too */
    } rows[PAGES_CELLS];
};
void pages_write_cells(struct pages *p, const struct page_cells *cells);
void pages_read_cells(const struct pages *p, struct page_cells *cells);

/* Somebody wants to see them; only then they are looked for. now in ms, of that
 * clock. */
void pages_want_cells(struct pages *p, uint64_t now);
bool pages_cells_are_wanted(const struct pages *p, uint64_t now);

/* What the master knows of a process. */
struct page_child {
    bool runs, answers;
    int32_t pid; /* 0: there is none */
    uint32_t restarts;
    uint64_t began; /* ms, of the machine's monotonic clock */
    char state[24];
    char last_end[PAGES_TEXT_MAX]; /* why another one was started; "" */
};
void page_write_child(struct page *page, const struct page_child *child);
void page_read_child(const struct page *page, struct page_child *child);

/* What the master tells of the whole. */
struct pages_system {
    int32_t pid; /* of the master; 0: it has not written yet */
    uint32_t generation;
    bool stopping;
    uint64_t began; /* as above */
};
void pages_write_system(struct pages *p, const struct pages_system *system);
void pages_read_system(const struct pages *p, struct pages_system *system);

#endif /* GW_PROC_PAGES_H */
