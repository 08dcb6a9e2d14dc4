/* A memory file, mapped by all. Each thing that is told has two places and a
 * version: a writer fills the place that is not valid, then counts the version
 * up, which makes it the valid one. So a reader never waits for a writer, and
 * one that was killed while it wrote has changed nothing. Each thing has one
 * writer: the process itself, the master, or of the cells the first gateway. */
#include "proc/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/faults.h"
#include "proc/series.h"
#include "proc/timings.h"
#include "util/alloc.h"
#include "util/tallies.h"

#define MAGIC      0x47575041u /* "GWPA" */
#define READ_TRIES 100         /* a writer comes about once a second */

struct numbers {
    uint64_t at[PAGES_NUMBERS];
};

struct page {
    _Atomic uint32_t numbers_version, child_version, tops_version;
    struct numbers numbers[2];
    struct page_child child[2];
    struct page_tops tops[2];
    struct series series;
    struct faults faults;
    struct timings timings;
    struct tallies tallies;
};

struct area {
    uint32_t magic;
    uint32_t count;
    _Atomic uint32_t system_version;
    struct pages_system system[2];
    _Atomic uint64_t cells_wanted; /* when; ms */
    _Atomic uint32_t cells_version;
    struct page_cells cells[2];
    struct page pages[];
};

struct pages {
    struct area *area; /* mapped */
    size_t size;       /* bytes of it */
    size_t count;      /* of pages; in there anybody may have changed it */
};

static size_t size_for(size_t count)
{
    return sizeof(struct area) + count * sizeof(struct page);
}

/* The fence keeps what the next write() changes behind the version of this
 * one. */
static void tell(
    _Atomic uint32_t *version, void *places, const void *what, size_t size)
{
    uint32_t next = atomic_load_explicit(version, memory_order_relaxed) + 1;

    memcpy((char *)places + (next & 1) * size, what, size);
    atomic_store_explicit(version, next, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
}

static void hear(
    const _Atomic uint32_t *version, const void *places, void *out, size_t size)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t seen = atomic_load_explicit(version, memory_order_acquire);

        memcpy(out, (const char *)places + (seen & 1) * size, size);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(version, memory_order_relaxed) == seen)
            break;
    }
}

int pages_create(size_t count)
{
    const struct area head = {.magic = MAGIC, .count = (uint32_t)count};
    int fd = memfd_create("gwrun pages", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int err;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size_for(count)) == 0 &&
        pwrite(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    err = errno;
    close(fd);
    return -err;
}

struct pages *pages_open(int fd)
{
    struct pages *p;
    struct stat st;
    struct area *area;

    if (fstat(fd, &st) < 0 || (size_t)st.st_size < sizeof(*area))
        return NULL;
    area = mmap(
        NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (area == MAP_FAILED)
        return NULL;
    if (area->magic != MAGIC || (size_t)st.st_size != size_for(area->count)) {
        munmap(area, (size_t)st.st_size);
        return NULL;
    }
    p = xcalloc(1, sizeof(*p));
    p->area = area;
    p->size = (size_t)st.st_size;
    p->count = ((size_t)st.st_size - size_for(0)) / sizeof(struct page);
    return p;
}

void pages_close(struct pages *p)
{
    if (!p)
        return;
    munmap(p->area, p->size);
    free(p);
}

size_t pages_count(const struct pages *p)
{
    return p->count;
}

struct page *pages_at(const struct pages *p, size_t index)
{
    return &p->area->pages[index];
}

void page_write(struct page *page, const uint64_t *numbers, size_t count)
{
    struct numbers all = {0};

    memcpy(all.at, numbers, count * sizeof(*numbers));
    tell(&page->numbers_version, page->numbers, &all, sizeof(all));
}

void page_read(const struct page *page, uint64_t numbers[PAGES_NUMBERS])
{
    hear(
        &page->numbers_version, page->numbers, numbers, sizeof(struct numbers));
}

struct series *page_series(struct page *page)
{
    return &page->series;
}

struct faults *page_faults(struct page *page)
{
    return &page->faults;
}

struct timings *page_timings(struct page *page)
{
    return &page->timings;
}

struct tallies *page_tallies(struct page *page)
{
    return &page->tallies;
}

void page_write_tops(struct page *page, const struct page_tops *tops)
{
    tell(&page->tops_version, page->tops, tops, sizeof(*tops));
}

void page_read_tops(const struct page *page, struct page_tops *tops)
{
    hear(&page->tops_version, page->tops, tops, sizeof(*tops));
    if (tops->count > PAGES_TOPS)
        tops->count = PAGES_TOPS;
    for (size_t i = 0; i < tops->count; i++)
        tops->rows[i].name[PAGES_TOP_SIZE - 1] = '\0';
}

void pages_write_cells(struct pages *p, const struct page_cells *cells)
{
    tell(&p->area->cells_version, p->area->cells, cells, sizeof(*cells));
}

void pages_read_cells(const struct pages *p, struct page_cells *cells)
{
    hear(&p->area->cells_version, p->area->cells, cells, sizeof(*cells));
    if (cells->count > PAGES_CELLS)
        cells->count = PAGES_CELLS;
    for (size_t i = 0; i < cells->count; i++) {
        struct page_cell *c = &cells->rows[i];

        c->name[sizeof(c->name) - 1] = '\0';
        c->version[sizeof(c->version) - 1] = '\0';
    }
}

void pages_want_cells(struct pages *p, uint64_t now)
{
    atomic_store(&p->area->cells_wanted, now);
}

bool pages_cells_are_wanted(const struct pages *p, uint64_t now)
{
    uint64_t wanted = atomic_load(&p->area->cells_wanted);

    return wanted > 0 && now < wanted + PAGES_CELLS_FRESH;
}

void page_write_child(struct page *page, const struct page_child *child)
{
    tell(&page->child_version, page->child, child, sizeof(*child));
}

void page_read_child(const struct page *page, struct page_child *child)
{
    hear(&page->child_version, page->child, child, sizeof(*child));
    child->state[sizeof(child->state) - 1] = '\0';
    child->last_end[sizeof(child->last_end) - 1] = '\0';
}

void pages_write_system(struct pages *p, const struct pages_system *system)
{
    tell(&p->area->system_version, p->area->system, system, sizeof(*system));
}

void pages_read_system(const struct pages *p, struct pages_system *system)
{
    hear(&p->area->system_version, p->area->system, system, sizeof(*system));
}
