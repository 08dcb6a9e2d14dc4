/* What is in a book: places, records, and which of both are free. That is known
 * to the process that keeps the book and is in no file: who inherits it only
 * takes entries out.
 *
 * The order of stores is what counts here. An entry is there once its mark is
 * set, and gone once that is 0; a record is its entry's once the place names
 * its cell. A cell is given back only when no place names it. */
#include "proc/book.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proc/book_impl.h"
#include "util/alloc.h"

#define PLACE_UNITS (sizeof(struct book_place) / BOOK_UNIT)
#define BLOCK_UNITS (BOOK_BLOCK / BOOK_UNIT)

/* 32, 48, 64, 96, 128, … 32768 */
size_t book_cell_size(size_t class)
{
    size_t power = (size_t)32 << (class / 2);

    return class % 2 ? power + power / 2 : power;
}

/* ---- what is free ---- */

static uint32_t take(struct book_room *room, size_t size)
{
    uint32_t unit = room->next;

    if (room->count > 0)
        return room->back[--room->count];
    if (room->end - room->next < size / BOOK_UNIT)
        return 0;
    room->next += (uint32_t)(size / BOOK_UNIT);
    return unit;
}

static void give_back(struct book_room *room, uint32_t unit)
{
    if (room->count == room->cap) {
        room->cap = room->cap > 0 ? room->cap * 2 : 64;
        room->back = xrealloc(room->back, room->cap * sizeof(*room->back));
    }
    room->back[room->count++] = unit;
}

static uint32_t take_or_grow(struct book *b, struct book_room *room,
    uint32_t kind, size_t first, size_t size)
{
    uint32_t unit = take(room, size);
    uint32_t block;

    if (unit != 0)
        return unit;
    block = book_grow(b, kind);
    if (block == 0)
        return 0;
    room->next = block + (uint32_t)(first / BOOK_UNIT);
    room->end = block + BLOCK_UNITS;
    return take(room, size);
}

static struct book_place *place_at(const struct book *b, uint32_t place)
{
    return book_at(b, place);
}

static size_t record_size(const struct book_record *r)
{
    size_t size = sizeof(struct book_cell);

    for (size_t i = 0; i < BOOK_PARTS; i++)
        size += r->part[i].len;
    return size;
}

static size_t class_of(size_t size)
{
    size_t bits, lower;

    if (size <= 32)
        return 0;
    bits = 63 - (size_t)__builtin_clzll(size - 1); /* 5 for 33 to 64 */
    lower = 2 * (bits - 5);
    return size <= book_cell_size(lower + 1) ? lower + 1 : lower + 2;
}

static size_t cell_class(const struct book *b, uint32_t cell)
{
    const uint32_t *kind = book_at(b, cell / BLOCK_UNITS * BLOCK_UNITS);

    return *kind - BOOK_KIND_CELLS;
}

/* ---- entries ---- */

static void put_peer(struct book_place *p, const union addr *peer)
{
    bool v6 = peer->sa.sa_family == AF_INET6;

    memset(p->ip, 0, sizeof(p->ip));
    if (v6)
        memcpy(p->ip, &peer->in6.sin6_addr, sizeof(p->ip));
    else
        memcpy(p->ip, &peer->in.sin_addr, sizeof(peer->in.sin_addr));
    p->port = addr_port(peer);
    p->family = v6 ? 6 : 4;
}

static void get_peer(const struct book_place *p, union addr *peer)
{
    memset(peer, 0, sizeof(*peer));
    if (p->family == 6) {
        peer->in6.sin6_family = AF_INET6;
        memcpy(&peer->in6.sin6_addr, p->ip, sizeof(p->ip));
    } else {
        peer->in.sin_family = AF_INET;
        memcpy(&peer->in.sin_addr, p->ip, sizeof(peer->in.sin_addr));
    }
    addr_set_port(peer, p->port);
}

uint32_t book_enter(struct book *b, uint32_t id, const union addr *peer)
{
    uint32_t place = take_or_grow(b, &b->places, BOOK_KIND_PLACES,
        sizeof(struct book_place), sizeof(struct book_place));
    struct book_place *p;

    if (place == 0)
        return 0;
    p = place_at(b, place);
    put_peer(p, peer);
    p->worker = 0;
    p->note = 0;
    p->record = 0;
    p->check = book_check_of_place(b, place, id);
    __atomic_store_n(&p->mark, bookmark_new(id), __ATOMIC_RELEASE);
    b->count++;
    return place;
}

static void free_cell(struct book *b, uint32_t cell)
{
    if (cell != 0)
        give_back(&b->cells[cell_class(b, cell)], cell);
}

void book_leave(struct book *b, uint32_t place)
{
    struct book_place *p = place_at(b, place);

    __atomic_store_n(&p->mark, 0, __ATOMIC_RELEASE);
    free_cell(b, p->record);
    give_back(&b->places, place);
    b->count--;
}

uint64_t *book_mark(const struct book *b, uint32_t place)
{
    return &place_at(b, place)->mark;
}

void book_bind(struct book *b, uint32_t place, uint64_t worker)
{
    __atomic_store_n(&place_at(b, place)->worker, worker, __ATOMIC_RELEASE);
}

int book_write(struct book *b, uint32_t place, const struct book_record *record)
{
    size_t size = record_size(record);
    size_t class = class_of(size);
    uint32_t old = place_at(b, place)->record;
    struct book_record r = *record;
    const uint8_t *base = b->base;
    struct book_cell *cell;
    uint32_t unit;
    uint8_t *at;

    if (size > BOOK_RECORD_MAX)
        return -EMSGSIZE;
    unit = take_or_grow(b, &b->cells[class], BOOK_KIND_CELLS + (uint32_t) class,
        BOOK_CELLS_AT, book_cell_size(class));
    if (unit == 0)
        return -ENOSPC;
    cell = book_at(b, unit);
    at = cell->data;
    for (size_t i = 0; i < BOOK_PARTS; i++) {
        const uint8_t *data = r.part[i].data;

        if (b->base != base && old != 0 && data >= base &&
            data < base + b->size) /* of the old record, which has moved */
            data = b->base + (data - base);
        cell->len[i] = (uint32_t)r.part[i].len;
        if (r.part[i].len > 0)
            memcpy(at, data, r.part[i].len);
        at += r.part[i].len;
    }
    cell->check =
        book_check_of_cell(b, cell, bookmark_id(place_at(b, place)->mark));
    __atomic_store_n(&place_at(b, place)->record, unit, __ATOMIC_RELEASE);
    free_cell(b, old);
    return 0;
}

static void get_record(
    const struct book *b, uint32_t cell, struct book_record *out)
{
    const struct book_cell *c;
    const uint8_t *at;

    *out = (struct book_record){0};
    if (cell == 0)
        return;
    c = book_at(b, cell);
    at = c->data;
    for (size_t i = 0; i < BOOK_PARTS; i++) {
        out->part[i] = (struct book_bytes){at, c->len[i]};
        at += c->len[i];
    }
}

void book_read(const struct book *b, uint32_t place, struct book_entry *out)
{
    const struct book_place *p = place_at(b, place);

    out->place = place;
    out->id = bookmark_id(bookmark_get(&p->mark));
    out->worker = p->worker;
    get_peer(p, &out->peer);
    get_record(b, p->record, &out->record);
}

void book_note(struct book *b, uint32_t place, uint32_t word)
{
    place_at(b, place)->note = word;
}

uint32_t book_noted(const struct book *b, uint32_t place)
{
    return place_at(b, place)->note;
}

static bool is_taken(const struct book *b, uint32_t place)
{
    return bookmark_get(&place_at(b, place)->mark) != 0;
}

/* Blocks of places, one after the other. */
uint32_t book_next(const struct book *b, uint32_t place)
{
    uint32_t end = (uint32_t)(b->size / BOOK_UNIT);
    uint32_t block = place / BLOCK_UNITS * BLOCK_UNITS;
    uint32_t at = place > 0 ? place + PLACE_UNITS : 0;

    for (; block < end; block += BLOCK_UNITS, at = 0) {
        if (block == 0 || *(uint32_t *)book_at(b, block) != BOOK_KIND_PLACES)
            continue;
        if (at <= block)
            at = block + PLACE_UNITS;
        for (; at + PLACE_UNITS <= block + BLOCK_UNITS; at += PLACE_UNITS)
            if (is_taken(b, at))
                return at;
    }
    return 0;
}

bool book_has(const struct book *b, uint32_t place, uint32_t id)
{
    return book_is_place(b->base, b->size, place) &&
           bookmark_id(bookmark_get(&place_at(b, place)->mark)) == id;
}
