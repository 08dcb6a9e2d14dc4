/* What is in an inherited file, before anything of it is used. On a disk it may
 * have been garbled, cut, or be older in one place than in another: the machine
 * lost power while it was written. So head, entries and records carry a number
 * that is made of what they say and of one of their book. What does not fit to
 * its number is taken out and counted: an entry with the client, a record only
 * with what was known of it. */
#include <string.h>

#include "proc/book_impl.h"

#define BLOCK_UNITS (BOOK_BLOCK / BOOK_UNIT)
#define PLACE_UNITS (sizeof(struct book_place) / BOOK_UNIT)

static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t mix_words(const uint64_t words[2], uint64_t h, uint64_t salt)
{
    return mix(words[0] ^ salt, words[1] ^ h);
}

/* Against disks and stray writes, not against those who choose the bytes: a
 * SipHash, or zlib's CRC, of a session costs more instructions than all else
 * that is done to write it. */
static uint32_t check_of(const void *data, size_t len, const uint8_t salt[16])
{
    const uint8_t *p = data;
    uint64_t key[2], words[2];
    uint64_t h, all = len;

    memcpy(key, salt, sizeof(key));
    h = key[0];
    for (; len >= sizeof(words); len -= sizeof(words), p += sizeof(words)) {
        memcpy(words, p, sizeof(words));
        h = mix_words(words, h, key[1]);
    }
    memset(words, 0, sizeof(words));
    memcpy(words, p, len);
    h = mix_words(words, h, key[1]);
    h = mix(h ^ all, key[0]);
    return (uint32_t)(h ^ h >> 32);
}

uint32_t book_check_of_head(const struct book_head *head)
{
    return check_of(head, offsetof(struct book_head, check), head->salt);
}

uint32_t book_check_of_place(const struct book *b, uint32_t unit, uint32_t id)
{
    const struct book_place *p = book_at(b, unit);
    struct {
        uint32_t unit, id;
        uint8_t ip[16];
        uint16_t port, family;
    } said = {.unit = unit, .id = id, .port = p->port, .family = p->family};

    memcpy(said.ip, p->ip, sizeof(said.ip));
    return check_of(&said, sizeof(said), book_head(b)->salt);
}

uint32_t book_check_of_cell(
    const struct book *b, const struct book_cell *cell, uint32_t id)
{
    size_t size = sizeof(cell->len);

    for (size_t i = 0; i < BOOK_PARTS; i++)
        size += cell->len[i];
    return id ^ check_of(cell->len, size, book_head(b)->salt);
}

bool book_is_place(const uint8_t *base, size_t size, uint32_t unit)
{
    uint32_t block = unit / BLOCK_UNITS * BLOCK_UNITS;
    uint32_t kind;

    if (block == 0 || ((size_t)block + BLOCK_UNITS) * BOOK_UNIT > size ||
        unit == block || (unit - block) % PLACE_UNITS != 0 ||
        unit + PLACE_UNITS > block + BLOCK_UNITS)
        return false;
    memcpy(&kind, base + (size_t)block * BOOK_UNIT, sizeof(kind));
    return kind == BOOK_KIND_PLACES;
}

/* A cell that is whole, and that client's. */
static bool is_cell(const struct book *b, uint32_t unit, uint32_t id)
{
    uint32_t block = unit / BLOCK_UNITS * BLOCK_UNITS;
    size_t at = (size_t)(unit - block) * BOOK_UNIT;
    uint32_t kind;
    const struct book_cell *cell;
    size_t size, sum = sizeof(*cell);

    if (block == 0 || ((size_t)block + BLOCK_UNITS) * BOOK_UNIT > b->size)
        return false;
    kind = *(uint32_t *)book_at(b, block);
    if (kind < BOOK_KIND_CELLS || kind >= BOOK_KIND_CELLS + BOOK_CLASSES)
        return false;
    size = book_cell_size(kind - BOOK_KIND_CELLS);
    if (at < BOOK_CELLS_AT || (at - BOOK_CELLS_AT) % size != 0 ||
        at + size > BOOK_BLOCK)
        return false;
    cell = book_at(b, unit);
    for (size_t i = 0; i < BOOK_PARTS; i++)
        sum += cell->len[i];
    return sum <= size && cell->check == book_check_of_cell(b, cell, id);
}

static bool is_entry(const struct book *b, uint32_t unit)
{
    const struct book_place *p = book_at(b, unit);
    uint64_t mark = bookmark_get(&p->mark);
    uint32_t id = bookmark_id(mark);

    return id != 0 && !(mark & UINT32_MAX & ~(uint64_t)BOOKMARK_BITS) &&
           p->check == book_check_of_place(b, unit, id);
}

/* Blocks of no kind (only the last one may have been without one when its
 * process ended), and an end that is missing. */
static size_t count_bad_blocks(const struct book *b)
{
    size_t have = b->size / BOOK_BLOCK;
    size_t bad = book_head(b)->blocks > have;

    for (size_t i = 1; i < have; i++) {
        uint32_t kind = *(uint32_t *)book_at(b, (uint32_t)(i * BLOCK_UNITS));

        bad += kind >= BOOK_KIND_CELLS + BOOK_CLASSES ||
               (kind == 0 && i + 1 < have);
    }
    return bad;
}

void book_sift(struct book *b)
{
    b->garbled = count_bad_blocks(b);
    b->count = 0;
    for (uint32_t at = 0; (at = book_next(b, at)) != 0;) {
        struct book_place *p = book_at(b, at);

        if (!is_entry(b, at)) {
            __atomic_store_n(&p->mark, 0, __ATOMIC_RELEASE);
            b->garbled++;
            continue;
        }
        b->count++;
        if (p->record == 0 || is_cell(b, p->record, bookmark_id(p->mark)))
            continue;
        p->record = 0;
        b->garbled++;
    }
}
